import { afterEach, expect, test } from "vitest";

import { RoomcastError, type Message } from "../../src/client";
import { Unsent, type UnsentMessage } from "../../src/store/unsent";
import type { Shelf } from "../../src/store/unsentshelf";
import { asMessage, unsentOf } from "../../src/store/unsentview";
import { message } from "../support/objects";
import { until } from "../support/wait";

const me = { id: "me", name: "Me" };
const all: Unsent[] = [];

afterEach(() => all.splice(0).forEach((unsent) => unsent.stop()));

class MemoryShelf implements Shelf {
  readonly rows = new Map<string, UnsentMessage>();

  all(): Promise<UnsentMessage[]> {
    return Promise.resolve([...this.rows.values()]);
  }

  put(row: UnsentMessage): Promise<void> {
    this.rows.set(row.clientId, row);
    return Promise.resolve();
  }

  remove(clientId: string): Promise<void> {
    this.rows.delete(clientId);
    return Promise.resolve();
  }

  clear(): Promise<void> {
    this.rows.clear();
    return Promise.resolve();
  }
}

/** A server that has stored what it was sent, and can be away, deaf, or refuse. */
class Server {
  readonly stored: Message[] = [];
  readonly asked: string[] = [];
  connected = true;
  /** It stores what it is sent, and its answer is lost. */
  deaf = false;
  readonly refusals = new Map<string, RoomcastError>();
  private readonly wakes = new Set<() => void>();

  send = (row: UnsentMessage): Promise<Message> => {
    if (!this.connected) return Promise.reject(new RoomcastError("disconnected", "not connected"));
    this.asked.push(row.text);
    const refusal = this.refusals.get(row.text);
    if (refusal) return Promise.reject(refusal);
    const known = this.stored.find(({ clientId }) => clientId === row.clientId);
    const kept = known ?? message(this.stored.length + 1, { text: row.text, clientId: row.clientId, author: me, fromMe: true, chatId: row.chatId });
    if (!known) this.stored.push(kept);
    return this.deaf ? Promise.reject(new RoomcastError("timeout", "no answer")) : Promise.resolve(kept);
  };

  hurry = (wake: () => void): (() => void) => {
    this.wakes.add(wake);
    return () => this.wakes.delete(wake);
  };

  back(): void {
    this.connected = true;
    for (const wake of [...this.wakes]) wake();
  }

  texts(): (string | null)[] {
    return this.stored.map(({ text }) => text);
  }
}

async function page(server: Server, shelf: Shelf): Promise<Unsent> {
  const unsent = new Unsent({ shelf, send: server.send, stored: () => undefined, connected: () => server.connected, hurry: server.hurry });
  all.push(unsent);
  await unsent.load();
  return unsent;
}

const write = (unsent: Unsent, text: string, chatId = "x"): Promise<void> =>
  unsent.add({ sessionId: "a", chatId, clientId: `id of ${text}`, text, replyTo: null, after: 7 });

const texts = (unsent: Unsent): string[] => unsent.all.value.map(({ text }) => text);

test("is there at once, is sent, and is gone when the server has it", async () => {
  const [server, shelf] = [new Server(), new MemoryShelf()];
  const unsent = await page(server, shelf);
  void write(unsent, "hello");
  expect(texts(unsent)).toEqual(["hello"]);
  await until("sent", () => unsent.all.value.length === 0);
  expect(server.texts()).toEqual(["hello"]);
  expect(shelf.rows.size).toBe(0);
});

test("waits for a connection, over a reload, and goes out once and in order", async () => {
  const [server, shelf] = [new Server(), new MemoryShelf()];
  server.connected = false;
  const before = await page(server, shelf);
  for (const text of ["one", "two", "three"]) await write(before, text);
  before.stop();
  const after = await page(server, shelf);
  expect(texts(after)).toEqual(["one", "two", "three"]);
  server.back();
  await until("sent", () => after.all.value.length === 0);
  expect(server.texts()).toEqual(["one", "two", "three"]);
  expect(server.asked).toEqual(["one", "two", "three"]);
});

test("a lost answer is asked for again, and nothing is sent twice, not by two tabs either", async () => {
  const [server, shelf] = [new Server(), new MemoryShelf()];
  server.deaf = true;
  const [one, other] = [await page(server, shelf), await page(server, shelf)];
  await write(one, "hello");
  await write(one, "more");
  await until("asked", () => server.asked.length > 0);
  server.deaf = false;
  server.back();
  await until("sent", () => one.all.value.length === 0 && other.all.value.length === 0);
  expect(server.texts()).toEqual(["hello", "more"]);
});

test("chats do not wait for each other, but the messages of a chat do", async () => {
  const [server, shelf] = [new Server(), new MemoryShelf()];
  const unsent = await page(server, shelf);
  server.refusals.set("first", new RoomcastError("unavailable", "no database"));
  await write(unsent, "first", "x");
  await write(unsent, "second", "x");
  await write(unsent, "elsewhere", "y");
  await until("the other chat", () => server.texts().includes("elsewhere"));
  expect(server.asked).not.toContain("second");
  server.refusals.clear();
  server.back();
  await until("sent", () => unsent.all.value.length === 0);
  expect(server.texts()).toEqual(["elsewhere", "first", "second"]);
});

test("a conflict keeps the text and what was written after it, until somebody decides", async () => {
  const [server, shelf] = [new Server(), new MemoryShelf()];
  const other = message(9, { text: "I have answered", author: { id: "ann", name: "Ann" } });
  server.refusals.set("hello", new RoomcastError("conflict", "", { details: { message: other } }));
  const unsent = await page(server, shelf);
  await write(unsent, "hello");
  await write(unsent, "more");
  await until("refused", () => unsent.all.value[0]?.refused !== null);
  expect(unsent.all.value[0]?.refused).toEqual({ code: "conflict", other });
  expect(server.asked).toEqual(["hello"]);
  // It is so after a reload, too.
  unsent.stop();
  const after = await page(server, shelf);
  expect(after.all.value[0]?.refused?.code).toBe("conflict");
  expect(server.asked).toEqual(["hello"]);
  server.refusals.clear();
  await after.again("id of hello", 9);
  await until("sent", () => after.all.value.length === 0);
  expect(server.texts()).toEqual(["hello", "more"]);
});

test("what is refused for good does not hold up the next; discarded, it is never sent", async () => {
  const [server, shelf] = [new Server(), new MemoryShelf()];
  server.refusals.set("bad", new RoomcastError("invalid", "no"));
  const unsent = await page(server, shelf);
  await write(unsent, "bad");
  await write(unsent, "good");
  await until("the good one", () => server.texts().includes("good"));
  expect(texts(unsent)).toEqual(["bad"]);
  await unsent.discard("id of bad");
  expect([texts(unsent), shelf.rows.size]).toEqual([[], 0]);
  server.refusals.clear();
  server.back();
  expect(server.texts()).toEqual(["good"]);
});

test("what another tab has discarded is not sent by this one", async () => {
  const [server, shelf] = [new Server(), new MemoryShelf()];
  server.connected = false;
  const one = await page(server, shelf);
  await write(one, "hello");
  const other = await page(server, shelf);
  await one.discard("id of hello");
  server.back();
  await until("looked again", () => other.all.value.length === 0);
  expect(server.stored).toEqual([]);
});

test("moves with its chat, and is forgotten on request", async () => {
  const [server, shelf] = [new Server(), new MemoryShelf()];
  server.connected = false;
  const unsent = await page(server, shelf);
  await write(unsent, "hello");
  unsent.moved({ sessionId: "a", chatId: "x" }, { sessionId: "a", chatId: "y" });
  expect(unsent.all.value[0]?.chatId).toBe("y");
  await unsent.forget();
  server.back();
  expect([unsent.all.value, shelf.rows.size, server.stored]).toEqual([[], 0, []]);
});

test("has one bubble, also while a list has brought the stored message already", async () => {
  const unsent = await page(Object.assign(new Server(), { connected: false }), new MemoryShelf());
  await write(unsent, "hello");
  const address = { sessionId: "a", chatId: "x" };
  const [row] = unsentOf(unsent.all.value, address, []);
  expect(asMessage(row!, me)).toBe(asMessage(row!, me));
  expect(asMessage(row!, me)).toMatchObject({ text: "hello", status: "pending", author: me, fromMe: true });
  expect(unsentOf(unsent.all.value, address, [message(1, { text: "hello", clientId: "id of hello" })])).toEqual([]);
  expect(unsentOf(unsent.all.value, { sessionId: "a", chatId: "z" }, [])).toEqual([]);
});
