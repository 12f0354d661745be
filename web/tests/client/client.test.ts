import { createServer, type AddressInfo, type Socket } from "node:net";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { RoomcastClient, type ClientOptions, type DurableEvent } from "../../src/client";
import { FakeEnvironment } from "../support/environment";
import { chat, message } from "../support/objects";
import { FakeServer } from "../support/server";
import { pause, until } from "../support/wait";

let server: FakeServer;
let environment: FakeEnvironment;
const open: RoomcastClient[] = [];

beforeEach(async () => {
  server = await new FakeServer().start();
  environment = new FakeEnvironment();
});

afterEach(async () => {
  for (const client of open.splice(0)) client.close();
  await server.stop();
});

interface Followed {
  client: RoomcastClient;
  events: DurableEvent[];
  states: string[];
  resets: string[];
  texts: (sessionId?: string) => (string | null)[];
}

function follow(options: Partial<ClientOptions> = {}): Followed {
  const client = new RoomcastClient({
    url: server.url,
    token: "good",
    backoff: { delayMs: 20, delayMaxMs: 100, jitter: 0.5 },
    ackTimeoutMs: 300,
    probeTimeoutMs: 150,
    environment,
    ...options,
  });
  open.push(client);
  const followed: Followed = {
    client,
    events: [],
    states: [],
    resets: [],
    texts: (sessionId) =>
      followed.events
        .filter((event) => !sessionId || event.sessionId === sessionId)
        .map((event) => ("message" in event ? event.message.text : null)),
  };
  client.on("event", (event) => followed.events.push(event));
  client.on("state", (state) => followed.states.push(state.name));
  client.on("reset", ({ sessionId }) => followed.resets.push(sessionId));
  client.connect();
  return followed;
}

const connected = (client: RoomcastClient): Promise<void> => until("connected", () => client.state.name === "connected");

describe.each([["websocket"], ["polling"]] as const)("over %s", (transport) => {
  const transports: ClientOptions["transports"] = [transport];

  test("brings each event once, in order, of the sessions and chats asked for and no others", async () => {
    const { client, events, texts } = follow({ transports });
    await Promise.all([client.subscribe("a"), client.subscribe("b", "chat-1")]);
    server.post("a", "chat-1", "one");
    server.post("b", "chat-1", "two");
    server.post("b", "chat-2", "not asked for");
    server.post("c", "chat-1", "not asked for");
    server.post("a", "chat-2", "three");
    await until("three events", () => events.length >= 3);
    await pause(50);
    expect(texts()).toEqual(["one", "two", "three"]);
    expect(client.position("a")).toEqual({ epoch: "e1", seq: 2 });
    expect(client.position("b")).toEqual({ epoch: "e1", seq: 1 });
  });

  test("comes back after a cut with its position and misses nothing, repeats nothing", async () => {
    const { client, events, texts, resets } = follow({ transports });
    await client.subscribe("a");
    server.post("a", "x", "before");
    await until("the first event", () => events.length === 1);
    // Between two polls there is nothing to cut.
    for (; client.state.name === "connected"; await pause(5)) server.cut();
    for (let n = 1; n <= 50; n += 1) server.post("a", "x", `missed ${n}`);
    await until("51 events", () => events.length === 51);
    server.post("a", "x", "after");
    await until("52 events", () => events.length === 52);
    expect(events.map((event) => event.seq)).toEqual(Array.from({ length: 52 }, (_, index) => index + 1));
    expect(texts().at(-1)).toBe("after");
    expect(resets).toEqual([]);
    const again = server.received.filter(({ event }) => event === "subscribe").at(-1);
    expect(again?.payload).toEqual({ sessionId: "a", position: { epoch: "e1", seq: 1 } });
  });

  test("begins at the position that a list gave", async () => {
    for (let n = 1; n <= 5; n += 1) server.post("a", "x", `message ${n}`);
    const { client, events, texts } = follow({ transports });
    const answer = await client.subscribe("a", undefined, { epoch: "e1", seq: 3 });
    expect(answer).toEqual({ recovered: true, position: { epoch: "e1", seq: 5 } });
    await until("two events", () => events.length === 2);
    expect(texts()).toEqual(["message 4", "message 5"]);
  });
});

test("events that come twice or late are left out", async () => {
  const { client, events } = follow();
  await client.subscribe("a");
  server.post("a", "x", "one");
  server.post("a", "x", "two");
  await until("two events", () => events.length === 2);
  server.repeat("a");
  server.post("a", "x", "three");
  await until("three events", () => events.length === 3);
  expect(events.map((event) => event.seq)).toEqual([1, 2, 3]);
});

test("several chats of one session are recovered together, none past the other", async () => {
  const { client, events, texts } = follow();
  await Promise.all([client.subscribe("a", "x"), client.subscribe("a", "y")]);
  server.post("a", "x", "x1");
  await until("one event", () => events.length === 1);
  server.cut();
  server.post("a", "y", "y2");
  server.post("a", "z", "not asked for");
  server.post("a", "x", "x4");
  await until("three events", () => events.length === 3);
  await pause(50);
  expect(texts()).toEqual(["x1", "y2", "x4"]);
  const again = server.received.filter(({ event }) => event === "subscribe").slice(-2);
  expect(again.map(({ payload }) => payload["position"])).toEqual([undefined, { epoch: "e1", seq: 1 }]);
});

test("an empty position event moves the position, of another epoch it does not", async () => {
  const { client } = follow();
  await client.subscribe("a");
  server.tell("position", { sessionId: "a", position: { epoch: "other", seq: 90 } });
  server.tell("position", { sessionId: "a", position: { epoch: "e1", seq: 7 } });
  await until("the position", () => client.position("a")?.seq === 7);
  expect(client.position("a")).toEqual({ epoch: "e1", seq: 7 });
});

test.each([
  ["a restored database", () => server.restore()],
  ["events no longer kept", () => (server.keptFrom = 2)],
])("%s: says that the lists have to be loaded, and goes on from the answer's position", async (_, break_) => {
  const { client, events, resets } = follow();
  await client.subscribe("a");
  server.post("a", "x", "one");
  await until("one event", () => events.length === 1);
  break_();
  server.cut();
  server.post("a", "x", "lost");
  server.post("a", "x", "lost too");
  await until("the reset", () => resets.length === 1);
  expect(client.position("a")).toEqual(server.position("a"));
  server.post("a", "x", "next");
  await until("the next event", () => events.length === 2);
  expect(events.at(-1)).toMatchObject({ event: "new_message", seq: 4 });
  expect(client.state.name).toBe("connected");
});

test("is catching up until the position of the answer is reached", async () => {
  const { client, states } = follow();
  await client.subscribe("a");
  await connected(client);
  states.length = 0;
  server.cut();
  for (let n = 0; n < 20; n += 1) server.post("a", "x", "missed");
  await until("all of them", () => client.position("a")?.seq === 20);
  expect(states).toEqual(["reconnecting", "reconnecting", "catching_up", "connected"]);
});

test("a server that ends the connection is come back to", async () => {
  const { client, states } = follow();
  await client.subscribe("a");
  server.kick();
  await until("lost", () => states.includes("reconnecting"));
  await connected(client);
  expect(server.connections).toBe(2);
});

test("a server that is restarted is found again, and the state tells when the next try is", async () => {
  const { client, events } = follow();
  const tries: (number | null)[] = [];
  client.on("state", (state) => state.name === "reconnecting" && tries.push(state.retryAt));
  await client.subscribe("a");
  await server.stop();
  await until("a few tries", () => tries.length > 5);
  expect(tries.some((at) => at !== null && at > Date.now() - 5_000)).toBe(true);
  await server.start();
  await connected(client);
  server.post("a", "x", "back");
  await until("the event", () => events.length === 1);
});

test("a bad token ends in unauthorized and is not tried again; a new one starts again", async () => {
  const { client, states } = follow({ token: "bad" });
  await until("unauthorized", () => client.state.name === "unauthorized");
  await pause(200);
  expect(states).toEqual(["unauthorized"]);
  await client.authenticate("good");
  await connected(client);
});

test("a token that is refused on a live connection is not kept", async () => {
  const { client } = follow();
  await connected(client);
  server.refusals.push({ event: "authenticate", code: "forbidden" });
  await expect(client.authenticate("other")).rejects.toMatchObject({ code: "forbidden" });
  expect(client.token).toBe("good");
  await client.authenticate("newer");
  expect(client.token).toBe("newer");
});

test("without an answer in time a request fails with timeout, without a connection with disconnected", async () => {
  const { client } = follow();
  await connected(client);
  server.post("a", "x", "one");
  expect(await client.markRead("a", "x", 1)).toMatchObject({ readSeq: 1, unreadCount: 0 });
  server.deaf.add("mark_read");
  await expect(client.markRead("a", "x", 1)).rejects.toMatchObject({ name: "RoomcastError", code: "timeout" });
  const waiting = client.markRead("a", "x", 1);
  server.cut();
  await expect(waiting).rejects.toMatchObject({ code: "disconnected" });
  await expect(client.markRead("a", "x", 1)).rejects.toMatchObject({ code: "disconnected" });
});

test("a subscription that is forbidden is given up, the others stay", async () => {
  const { client, events } = follow();
  const lost: unknown[] = [];
  client.on("lost", ({ sessionId, chatId }) => lost.push([sessionId, chatId]));
  server.refusals.push({ event: "subscribe", code: "forbidden" });
  await expect(client.subscribe("secret")).rejects.toMatchObject({ code: "forbidden" });
  await client.subscribe("a");
  server.cut();
  server.post("a", "x", "one");
  server.post("secret", "x", "no");
  await until("the event", () => events.length === 1);
  await connected(client);
  expect(lost).toEqual([["secret", null]]);
  expect(events.map((event) => event.sessionId)).toEqual(["a"]);
});

test("a subscription that cannot be had just now is asked for again", async () => {
  const { client, events } = follow({ random: () => 1 });
  server.refusals.push({ event: "subscribe", code: "unavailable" });
  await client.subscribe("a");
  server.post("a", "x", "one");
  await until("the event", () => events.length === 1);
});

describe("when the server says that it has no database", () => {
  const away = async (): Promise<Followed> => {
    const followed = follow();
    await followed.client.subscribe("a");
    await connected(followed.client);
    followed.states.length = 0;
    server.tell("service", { available: false });
    await until("unavailable", () => followed.client.state.name === "unavailable");
    expect(followed.client.state).toEqual({ name: "unavailable", retryAt: null });
    return followed;
  };

  test("it is unavailable, said once, until the server says that it has it again", async () => {
    const { client, states } = await away();
    server.tell("service", { available: false });
    server.tell("service", { available: true });
    await connected(client);
    expect(states).toEqual(["unavailable", "connected"]);
    expect(server.connections).toBe(1);
  });

  test.each([
    ["an event", () => server.post("a", "x", "one")],
    ["an event of before", () => server.repeat("a")],
  ])("%s is as good a sign that it has it again", async (_, show) => {
    server.post("a", "x", "before");
    const { client, states } = await away();
    show();
    await connected(client);
    expect(states).toEqual(["unavailable", "connected"]);
  });

  test("a position says nothing of it", async () => {
    const { client, states } = await away();
    server.tell("position", { sessionId: "a", position: server.position("a") });
    server.tell("service", { available: false });
    server.tell("service", { available: true });
    await connected(client);
    expect(states).toEqual(["unavailable", "connected"]);
  });

  test("the next connection begins without that", async () => {
    const { client, states } = await away();
    server.cut();
    await connected(client);
    expect(states.at(-1)).toBe("connected");
    expect(server.connections).toBe(2);
  });
});

test("unsubscribing ends the events, now and after a reconnect", async () => {
  const { client, events, texts } = follow();
  await Promise.all([client.subscribe("a"), client.subscribe("b")]);
  client.unsubscribe("a");
  await until("told", () => server.received.some(({ event }) => event === "unsubscribe"));
  server.post("a", "x", "unwanted");
  server.cut();
  server.post("a", "x", "unwanted");
  server.post("b", "x", "wanted");
  await until("the event", () => events.length === 1);
  await pause(50);
  expect(texts()).toEqual(["wanted"]);
});

describe("signs from outside", () => {
  const slow = { backoff: { delayMs: 60_000, delayMaxMs: 60_000, jitter: 0 } };

  test.each(["online", "wake"] as const)("on %s the next try is made at once", async (sign) => {
    const { client } = follow(slow);
    await client.subscribe("a");
    server.cut();
    await until("waiting", () => client.state.name === "reconnecting");
    environment.show(sign);
    await connected(client); // which waits for less than the delay
  });

  test("a connection that leads nowhere is found out after a wake", async () => {
    const { client, events } = follow(slow);
    await client.subscribe("a");
    server.freeze();
    server.post("a", "x", "into the void");
    await pause(30);
    expect(client.state.name).toBe("connected");
    environment.show("wake");
    await until("the event", () => events.length === 1, 2_000);
    expect(server.connections).toBe(2);
  });

  test("a connection that answers is left alone", async () => {
    const { client, states } = follow(slow);
    await connected(client);
    states.length = 0;
    environment.show("wake");
    environment.show("online");
    environment.show("wake");
    await pause(300);
    expect(states).toEqual([]);
    expect(server.received.map(({ event }) => event)).toEqual(["authenticate"]);
  });

  test("without a network it says so, and still tries", async () => {
    const { client } = follow();
    await connected(client);
    environment.online = false;
    await server.stop();
    await until("offline", () => client.state.name === "offline");
    await server.start();
    await connected(client);
  });

  test("retryNow does not wait", async () => {
    const { client } = follow(slow);
    await connected(client);
    server.cut();
    await until("waiting", () => client.state.name === "reconnecting");
    client.retryNow();
    await connected(client);
  });
});

test("a server that never finishes the handshake is given up", async () => {
  const taken: Socket[] = [];
  const silent = createServer((socket) => taken.push(socket));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as AddressInfo;
  const { client } = follow({ connectTimeoutMs: 100, url: `http://127.0.0.1:${port}` });
  await until("a third try", () => taken.length >= 3);
  expect(client.state.name).toBe("reconnecting");
  client.close();
  for (const socket of taken) socket.destroy();
  await new Promise((resolve) => silent.close(resolve));
});

test("a closed client lets go of everything", async () => {
  const { client } = follow();
  await connected(client);
  const waiting = client.subscribe("a");
  client.close();
  await expect(waiting).rejects.toMatchObject({ code: "disconnected" });
  expect(client.state.name).toBe("closed");
  expect(environment.watchers).toBe(0);
  client.connect();
  expect(client.state.name).toBe("closed");
});

test("a listener that throws does not keep the others from hearing", async () => {
  const { client, events } = follow();
  const thrown: unknown[] = [];
  // The test runner listens for these, too: for as long as this test runs they are ours.
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException").once("uncaughtException", (error) => thrown.push(error));
  client.on("event", () => {
    throw new Error("of a listener");
  });
  const late: unknown[] = [];
  client.on("event", (event) => late.push(event));
  await client.subscribe("a");
  server.post("a", "x", "one");
  await until("the event", () => late.length === 1);
  await until("the error", () => thrown.length === 1);
  for (const other of others) process.on("uncaughtException", other);
  expect(events.length).toBe(1);
});

describe("answering", () => {
  test("each call is one request, and resolves to what was stored", async () => {
    const { client } = follow();
    await connected(client);
    const [stored, kept] = [message(1), chat("x", 1)];
    for (const event of ["send_message", "retry_message", "cancel_message"]) server.answers.set(event, { message: stored });
    for (const event of ["assign_chat", "set_chat_state"]) server.answers.set(event, { chat: kept });
    server.answers.set("typing", {});
    const sent = { sessionId: "a", chatId: "x", clientId: "c", text: "yes", after: 7 };
    expect(await client.sendMessage(sent)).toEqual(stored);
    expect(await client.retryMessage("a", "x", "m1")).toEqual(stored);
    expect(await client.cancelMessage("a", "x", "m1")).toEqual(stored);
    expect(await client.assignChat("a", "x", { id: "ann", name: "Ann" }, null)).toEqual(kept);
    expect(await client.assignChat("a", "x", null)).toEqual(kept);
    expect(await client.setChatState("a", "x", "closed")).toEqual(kept);
    await client.typing("a", "x", "typing");
    const place = { sessionId: "a", chatId: "x" };
    expect(server.received.slice(-7)).toEqual([
      { event: "send_message", payload: sent },
      { event: "retry_message", payload: { ...place, messageId: "m1" } },
      { event: "cancel_message", payload: { ...place, messageId: "m1" } },
      { event: "assign_chat", payload: { ...place, assignee: { id: "ann", name: "Ann" }, expected: null } },
      { event: "assign_chat", payload: { ...place, assignee: null } },
      { event: "set_chat_state", payload: { ...place, state: "closed" } },
      { event: "typing", payload: { ...place, action: "typing" } },
    ]);
  });

  test("a conflict says what stands against it", async () => {
    const { client } = follow();
    await connected(client);
    server.refusals.push({ event: "send_message", code: "conflict", details: { message: message(9) } });
    const sent = client.sendMessage({ sessionId: "a", chatId: "x", clientId: "c", text: "yes" });
    await expect(sent).rejects.toMatchObject({ code: "conflict", details: { message: { seq: 9 } } });
  });

  test("without a connection it says so at once", async () => {
    const { client } = follow();
    await connected(client);
    client.close();
    const sent = client.sendMessage({ sessionId: "a", chatId: "x", clientId: "c", text: "yes" });
    await expect(sent).rejects.toMatchObject({ code: "disconnected" });
  });
});
