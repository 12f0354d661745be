import { signal } from "@preact/signals";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { RoomcastError, type ClientState, type DurableEvent } from "../../src/client";
import { Desk, type DeskOptions } from "../../src/store/desk";
import { Drafts } from "../../src/store/drafts";
import type { Shelf } from "../../src/store/unsentshelf";
import { chat, message } from "../support/objects";
import { until } from "../support/wait";

const [ann, x, y] = [{ id: "ann", name: "Ann" }, { sessionId: "a", chatId: "x" }, { sessionId: "a", chatId: "y" }];
const nowhere: Shelf = {
  all: () => Promise.resolve(null),
  put: () => Promise.resolve(),
  remove: () => Promise.resolve(),
  clear: () => Promise.resolve(),
};

let desk: Desk;
let drafts: Drafts;
let put: ReturnType<typeof vi.fn>;
let state: ClientState;
const listeners = new Map<string, Set<(value: never) => void>>();
const client = {
  on: (name: string, listener: (value: never) => void) => {
    listeners.set(name, (listeners.get(name) ?? new Set()).add(listener));
    return () => listeners.get(name)?.delete(listener);
  },
  get state() {
    return state;
  },
  sendMessage: vi.fn(),
  retryMessage: vi.fn(),
  cancelMessage: vi.fn(),
  assignChat: vi.fn(),
  setChatState: vi.fn(),
  typing: vi.fn(),
};
const api = { sendMessage: vi.fn() };

beforeEach(() => {
  vi.stubGlobal("addEventListener", () => undefined);
  vi.stubGlobal("removeEventListener", () => undefined);
  vi.resetAllMocks();
  client.typing.mockResolvedValue(undefined);
  listeners.clear();
  state = { name: "connected" };
  put = vi.fn();
  drafts = new Drafts("ann");
  const inbox = { chat: () => chat("x", 7), put, log: signal(null) };
  desk = new Desk({ client, api, inbox, drafts, shelf: nowhere, me: ann } as unknown as DeskOptions);
});

afterEach(() => {
  desk.stop();
  vi.unstubAllGlobals();
});

const tell = (event: DurableEvent): void => listeners.get("event")?.forEach((listener) => listener(event as never));

test("a draft is sent with what its author has seen, and is empty at once", async () => {
  client.sendMessage.mockResolvedValue(message(8));
  drafts.set(x, { text: " yes \n", replyTo: "m1" });
  desk.send(x, drafts.get(x));
  expect(drafts.get(x)).toEqual({ text: "", replyTo: null });
  expect(desk.unsent.all.value).toMatchObject([{ text: "yes", replyTo: "m1", after: 7 }]);
  await until("sent", () => desk.unsent.all.value.length === 0 || client.sendMessage.mock.calls.length > 0);
  expect(client.sendMessage).toHaveBeenCalledWith(expect.objectContaining({ ...x, text: "yes", replyTo: "m1", after: 7 }));
  await until("stored", () => put.mock.calls.length > 0);
  expect(put).toHaveBeenCalledWith({ message: message(8) });
});

test("what does not fit into a packet goes over HTTP", async () => {
  api.sendMessage.mockResolvedValue(message(8));
  desk.send(x, { text: "字".repeat(20_000), replyTo: null });
  await until("sent", () => api.sendMessage.mock.calls.length > 0);
  expect(client.sendMessage).not.toHaveBeenCalled();
});

test("the author's own message takes the place of the unsent one, another's does not", () => {
  state = { name: "offline", retryAt: null };
  desk.send(x, { text: "yes", replyTo: null });
  const [{ clientId } = { clientId: "" }] = desk.unsent.all.value;
  const event = (author: { id: string; name: string | null }): DurableEvent => {
    const stored = message(8, { clientId, author, fromMe: true });
    return { event: "new_message", ...x, seq: 8, message: stored, chat: chat("x", 8) };
  };
  tell(event({ id: "ben", name: null }));
  expect(desk.unsent.all.value).toHaveLength(1);
  tell(event(ann));
  expect(desk.unsent.all.value).toHaveLength(0);
});

test("drafts and unsent messages follow their chat when it is merged", () => {
  state = { name: "offline", retryAt: null };
  drafts.set(x, { text: "a draft" });
  desk.send(x, { text: "yes", replyTo: null });
  drafts.set(x, { text: "a draft" });
  tell({ event: "chat_merged", ...y, from: "x", seq: 9, chat: chat("y", 9) });
  expect(drafts.get(y).text).toBe("a draft");
  expect(desk.unsent.all.value.map(({ chatId }) => chatId)).toEqual(["y"]);
});

test("whoever takes a chat that somebody else has by now is told who", async () => {
  const taken = chat("x", 9, { assignee: { id: "ben", name: "Ben" } });
  client.assignChat.mockRejectedValue(new RoomcastError("conflict", "", { details: { chat: taken } }));
  await desk.assign(chat("x", 7), ann);
  expect(client.assignChat).toHaveBeenCalledWith("a", "x", ann, null);
  expect(put).toHaveBeenCalledWith({ chat: taken });
  expect(desk.notice.value).toEqual({ key: "takenBy", places: { name: "Ben" } });
  client.setChatState.mockRejectedValue(new RoomcastError("disconnected", ""));
  expect(await desk.setState(taken, "closed")).toBe(false);
  expect(desk.notice.value?.key).toBe("notDone");
});

test("typing is told every few seconds, and that it has stopped once", () => {
  vi.useFakeTimers();
  for (let key = 0; key < 12; key += 1) {
    desk.typing(x, true);
    vi.advanceTimersByTime(1_000);
  }
  desk.typing(x, false);
  desk.typing(x, false);
  vi.useRealTimers();
  expect(client.typing.mock.calls.map(([, , action]) => action)).toEqual(["typing", "typing", "typing", "stopped"]);
});
