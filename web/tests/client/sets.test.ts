import { afterEach, beforeEach, expect, test } from "vitest";

import { RoomcastClient, type TypingPayload } from "../../src/client";
import { FakeEnvironment } from "../support/environment";
import { session } from "../support/objects";
import { FakeServer } from "../support/server";
import { pause, until } from "../support/wait";

let server: FakeServer;
let client: RoomcastClient;

beforeEach(async () => {
  server = await new FakeServer().start();
  const backoff = { delayMs: 20, delayMaxMs: 100, jitter: 0.5 };
  client = new RoomcastClient({ url: server.url, token: "good", backoff, ackTimeoutMs: 300, environment: new FakeEnvironment() });
  client.connect();
  await until("connected", () => client.state.name === "connected");
});

afterEach(async () => {
  client.close();
  await server.stop();
});

const place = { sessionId: "a", chatId: "c" };
const typing = (ids: string[], expiresInMs = 15_000): TypingPayload => ({
  ...place,
  who: ids.map((id) => ({ id, name: null, kind: "agent", action: "typing" })),
  expiresInMs,
});
const shown = (): string[] => client.people("typing", "a", "c").map(({ id }) => id);

test("a set replaces the one before it, and an empty one ends it", async () => {
  const seen: string[][] = [];
  client.on("typing", ({ who }) => seen.push(who.map(({ id }) => id)));
  server.tell("typing", typing(["ann", "bob"]));
  server.tell("typing", { ...typing(["eve"]), chatId: "other" });
  server.tell("typing", typing(["bob"]));
  await until("bob", () => shown().join() === "bob");
  server.tell("typing", typing([]));
  await until("nobody", () => shown().length === 0);
  expect(seen).toEqual([["ann", "bob"], ["eve"], ["bob"], []]);
  expect(client.people("typing", "a", "other").map(({ id }) => id)).toEqual(["eve"]);
  expect(client.people("viewers", "a", "c")).toEqual([]);
});

test("a set that is not repeated expires by itself, also while there is no connection", async () => {
  const seen: number[] = [];
  client.on("viewers", ({ agents }) => seen.push(agents.length));
  server.tell("viewers", { ...place, agents: [{ id: "ann", name: null, since: "2026-02-06T12:00:00.000Z" }], expiresInMs: 200 });
  await until("ann", () => client.people("viewers", "a", "c").length === 1);
  await server.stop();
  await until("nobody", () => seen.length === 2);
  expect(seen).toEqual([1, 0]);
  expect(client.people("viewers", "a", "c")).toEqual([]);
});

test("a repeated set does not expire meanwhile", async () => {
  const seen: number[] = [];
  client.on("typing", ({ who }) => seen.push(who.length));
  server.tell("typing", typing(["ann"], 300));
  server.tell("typing", typing(["ann"]));
  await until("both", () => seen.length === 2);
  await pause(400);
  expect(seen).not.toContain(0);
  expect(shown()).toEqual(["ann"]);
});

test("the chat that is shown is told again on every connection, and no longer once it is not shown", async () => {
  const told = (): unknown[] => server.received.filter(({ event }) => event === "view").map(({ payload }) => payload);
  client.view(place);
  await until("told", () => told().length === 1);
  server.cut();
  await until("told again", () => told().length === 2);
  client.view(null);
  await until("told that there is none", () => told().length === 3);
  server.cut();
  await until("connected again", () => server.connections === 3 && client.state.name === "connected");
  await pause(50);
  expect(told()).toEqual([place, place, { sessionId: "a", chatId: null }]);
});

test("what is known of a session is handed on", async () => {
  const seen: unknown[] = [];
  client.on("session", (payload) => seen.push(payload));
  server.tell("session", session("a"));
  await until("told", () => seen.length === 1);
  expect(seen).toEqual([session("a")]);
});
