import { signal } from "@preact/signals";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { ClientEvents, RoomcastClient } from "../../src/client";
import type { Address } from "../../src/store/address";
import { Attendance, spoken } from "../../src/store/attendance";
import { session } from "../support/objects";

const place = { sessionId: "a", chatId: "x" };
const since = "2026-02-06T12:00:00.000Z";

class FakeClient {
  readonly viewed: unknown[] = [];
  private readonly listeners = new Map<string, (value: never) => void>();

  on = ((name: string, listener: (value: never) => void) => {
    this.listeners.set(name, listener);
    return () => this.listeners.delete(name);
  }) as RoomcastClient["on"];

  view = (chat: Address | null): void => void this.viewed.push(chat && chat.chatId);

  tell<Name extends keyof ClientEvents>(name: Name, value: ClientEvents[Name]): void {
    this.listeners.get(name)?.(value as never);
  }
}

const opened = signal<Address | null>(null);
const visible = signal(true);
let client: FakeClient;
let attendance: Attendance;

beforeEach(() => {
  vi.useFakeTimers();
  opened.value = null;
  visible.value = true;
  client = new FakeClient();
  attendance = new Attendance(client, { id: "me", name: "Me" }, opened, visible);
});

afterEach(() => {
  attendance.stop();
  vi.useRealTimers();
});

test("the chat that is open is looked at, unless the tab is hidden", () => {
  opened.value = place;
  visible.value = false;
  visible.value = true;
  opened.value = { ...place, chatId: "y" };
  opened.value = null;
  expect(client.viewed).toEqual([null, "x", null, "x", "y", null]);
});

test("others are told apart, and oneself is left out", () => {
  const who = [
    { id: "me", name: "Me", kind: "agent", action: "typing" },
    { id: "ann", name: "Ann", kind: "agent", action: "typing" },
    // A contact may have the same id as an agent.
    { id: "me", name: null, kind: "contact", action: "recording" },
  ] as const;
  client.tell("typing", { ...place, who, expiresInMs: 1 });
  expect(attendance.answering(place).map(({ id }) => id)).toEqual(["ann"]);
  expect(attendance.writing(place).map(({ action }) => action)).toEqual(["recording"]);
  client.tell("typing", { ...place, who: [], expiresInMs: 0 });
  expect(attendance.answering(place)).toEqual([]);
});

test("the team is whoever looks at any chat, each person once", () => {
  const ann = { id: "ann", name: "Ann", since };
  client.tell("viewers", { ...place, agents: [ann, { id: "me", name: "Me", since }], expiresInMs: 1 });
  client.tell("viewers", { ...place, chatId: "y", agents: [ann, { id: "bob", name: null, since }], expiresInMs: 1 });
  expect(attendance.team.value.map(({ id }) => id)).toEqual(["ann", "bob"]);
  expect(attendance.in(place).value.agents.map(({ id }) => id)).toEqual(["ann"]);
  client.tell("viewers", { ...place, chatId: "y", agents: [], expiresInMs: 0 });
  expect(attendance.team.value.map(({ id }) => id)).toEqual(["ann"]);
});

test("accounts that are disconnected or logged out need attention, others do not", () => {
  const broken = (): string[] => attendance.broken.value.map(({ sessionId }) => sessionId);
  client.tell("session", session("a"));
  client.tell("session", session("b", { connection: { state: "logged_out", detail: null, since } }));
  client.tell("session", session("c", { connection: { state: "connecting", detail: null, since } }));
  expect(broken()).toEqual(["b"]);
  client.tell("session", session("b", { connection: { state: "connected", detail: null, since } }));
  expect(broken()).toEqual([]);
});

test("ears are told that somebody begins, but not again and again", () => {
  const words = signal("");
  const { text, stop } = spoken(words);
  const said: string[] = [];
  const done = text.subscribe((value) => value !== "" && said.push(value));
  for (let n = 0; n < 20; n += 1) {
    words.value = n % 2 ? "" : "Alice is typing";
    vi.advanceTimersByTime(1_000);
  }
  expect(said.length).toBeLessThanOrEqual(2);
  vi.advanceTimersByTime(60_000);
  words.value = "Bob is typing";
  vi.advanceTimersByTime(1_000);
  expect(said.at(-1)).toBe("Bob is typing");
  done();
  stop();
});
