import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { effect, signal } from "@preact/signals";

import { RoomcastApi, RoomcastClient } from "../../src/client";
import { Inbox } from "../../src/store/inbox";
import type { SavedSession } from "../../src/store/sessionstore";
import { readWhatIsSeen } from "../../src/store/reader";
import { FakeEnvironment } from "../support/environment";
import { FakeServer } from "../support/server";
import { pause, until } from "../support/wait";

let server: FakeServer;
const open: Inbox[] = [];

beforeEach(async () => {
  server = await new FakeServer().start();
});

afterEach(async () => {
  for (const inbox of open.splice(0)) inbox.stop();
  await server.stop();
});

function start(mayGrow = false, saved: readonly SavedSession[] = []): Inbox {
  const backoff = { delayMs: 20, delayMaxMs: 100, jitter: 0.5 };
  const environment = new FakeEnvironment();
  const client = new RoomcastClient({ url: server.url, token: "good", backoff, environment });
  const inbox = new Inbox(client, new RoomcastApi({ url: server.url, token: () => client.token }), {
    mayGrow,
    saved: Promise.resolve(saved),
  });
  open.push(inbox);
  inbox.start();
  return inbox;
}

const connected = (inbox: Inbox): Promise<void> =>
  until("connected", () => inbox.ready.value && inbox.connection.value.name === "connected");

const lines = (inbox: Inbox): string[] =>
  inbox.chats.value.map(({ chatId, unreadCount, lastMessage }) => `${chatId} ${unreadCount} ${lastMessage?.text}`);

/** As a page does that shows the end of the open chat, or the message with this seq as the last in view. */
function lookAt(inbox: Inbox, seq?: number): () => void {
  return effect(() => {
    const log = inbox.log.value;
    const last = log?.messages.value.at(-1)?.seq;
    if (log?.ready.value && last !== undefined) log.inView.value = { seq: seq ?? last, end: seq === undefined };
  });
}

const texts = (inbox: Inbox) => inbox.log.value?.messages.value.map(({ text }) => text);

test("shows what is there and then what comes", async () => {
  server.post("a", "x", "one");
  server.post("a", "y", "two");
  const inbox = start();
  await connected(inbox);
  expect(lines(inbox)).toEqual(["y 1 two", "x 1 one"]);
  server.post("a", "x", "three");
  await until("the message", () => inbox.unread.value === 3);
  expect(lines(inbox)).toEqual(["x 2 three", "y 1 two"]);
});

test("loses nothing that comes between reading the list and following the session", async () => {
  server.post("a", "x", "one");
  let waiting = true;
  server.beforeList = (path) => {
    // Read already, and not yet answered.
    if (waiting && path.endsWith("/chats")) {
      waiting = false;
      server.post("a", "y", "between");
    }
  };
  const inbox = start();
  await until("both", () => inbox.chats.value.length === 2);
  expect(lines(inbox)).toEqual(["y 1 between", "x 1 one"]);
});

test("loses nothing that comes while the messages of a chat are read", async () => {
  server.post("a", "x", "one");
  const inbox = start();
  await connected(inbox);
  server.beforeList = async (path) => {
    if (!path.endsWith("/messages")) return;
    server.post("a", "x", "between");
    server.update("a", "m1", { text: "one, changed" });
    await pause(50);
  };
  inbox.open({ sessionId: "a", chatId: "x" });
  await until("both", () => texts(inbox)?.length === 2);
  expect(texts(inbox)).toEqual(["one, changed", "between"]);
});

/** A chat of so many messages, all read, that is open. */
async function openedAtTheEnd(count: number): Promise<ReturnType<typeof start>> {
  for (let n = 1; n <= count; n += 1) server.post("a", "x", `${n}`);
  server.markRead("a", "x", count);
  const inbox = start();
  await connected(inbox);
  inbox.open({ sessionId: "a", chatId: "x" });
  await until("the newest page", () => inbox.log.value?.loaded.value === true);
  return inbox;
}

test("reads older pages until the beginning", async () => {
  const inbox = await openedAtTheEnd(150);
  expect(texts(inbox)?.length).toBe(60);
  inbox.loadOlder();
  inbox.loadOlder();
  await until("the page before", () => texts(inbox)?.length === 120);
  inbox.loadOlder();
  await until("the first page", () => texts(inbox)?.length === 150);
  expect(inbox.log.value?.hasMore.value).toBe(false);
  expect(texts(inbox)).toEqual(Array.from({ length: 150 }, (_, index) => `${index + 1}`));
});

test("loads all chats of an account of many pages", async () => {
  for (let n = 0; n < 450; n += 1) server.post("a", `chat-${n}`, "hello");
  const inbox = start();
  await until("all of them", () => inbox.chats.value.length === 450);
  expect(inbox.unread.value).toBe(450);
});

test.each([
  ["the same numbers", () => (server.keptFrom = 3)],
  ["other numbers", () => server.restore()],
])("when the client cannot recover, it reads everything anew: %s", async (_, break_) => {
  server.post("a", "x", "one");
  const inbox = start();
  await connected(inbox);
  inbox.open({ sessionId: "a", chatId: "x" });
  await until("the chat", () => texts(inbox)?.length === 1);
  server.beforeList = () => pause(20);
  break_();
  server.cut();
  server.post("a", "x", "missed");
  server.post("a", "y", "missed, too");
  await until("the list", () => inbox.chats.value.length === 2);
  expect(texts(inbox)).toEqual(["one", "missed"]);
  server.post("a", "x", "live again");
  await until("the live one", () => texts(inbox)?.length === 3);
  expect(lines(inbox)).toEqual(["x 3 live again", "y 1 missed, too"]);
});

test("sessions of many pages are all followed", async () => {
  server.sessionsAtOnce = 2;
  for (const sessionId of ["a", "b", "c", "d", "e"]) server.post(sessionId, "x", `in ${sessionId}`);
  const inbox = start();
  await connected(inbox);
  expect(inbox.chats.value.map(({ sessionId }) => sessionId).sort()).toEqual(["a", "b", "c", "d", "e"]);
});

test("a session that did not exist is found, where the token allows any", async () => {
  const inbox = start(true);
  await connected(inbox);
  expect(inbox.chats.value).toEqual([]);
  server.post("new", "x", "the first");
  await until("it", () => inbox.chats.value.length === 1);
});

test("a server that is away when the page is opened is waited for", async () => {
  server.post("a", "x", "one");
  await server.stop();
  const inbox = start();
  await pause(100);
  await server.start();
  await connected(inbox);
  await until("the list", () => inbox.chats.value.length === 1);
});

test("a token that is refused ends in signed out", async () => {
  server.tokens.clear();
  const inbox = start();
  await until("signed out", () => inbox.connection.value.name === "unauthorized");
});

describe("what was kept from an earlier time", () => {
  async function kept(): Promise<SavedSession[]> {
    server.post("a", "x", "one");
    server.post("a", "y", "two");
    const inbox = start();
    await connected(inbox);
    inbox.open({ sessionId: "a", chatId: "x" });
    await until("the chat", () => texts(inbox)?.length === 1);
    const saved = inbox.saved();
    inbox.stop();
    return structuredClone(saved);
  }

  test("is shown at once, and caught up from its position without any list of chats", async () => {
    const saved = await kept();
    server.post("a", "x", "missed");
    const asked: string[] = [];
    server.beforeList = (path) => void asked.push(path);
    const inbox = start(false, saved);
    inbox.open({ sessionId: "a", chatId: "x" });
    await until("the old state", () => inbox.ready.value);
    await until("what was missed", () => texts(inbox)?.length === 2);
    expect(lines(inbox)).toEqual(["x 2 missed", "y 1 two"]);
    await connected(inbox);
    expect(asked.filter((path) => path !== "/api/v1/sessions")).toEqual([]);
  });

  test("is shown where there is no server at all", async () => {
    const saved = await kept();
    await server.stop();
    const inbox = start(false, saved);
    await until("the old state", () => inbox.ready.value);
    inbox.open({ sessionId: "a", chatId: "x" });
    expect(lines(inbox)).toEqual(["y 1 two", "x 1 one"]);
    expect(texts(inbox)).toEqual(["one"]);
  });

  test("is thrown away where the numbering is another one", async () => {
    const saved = await kept();
    server.restore();
    server.post("a", "z", "three");
    const inbox = start(false, saved);
    await until("all of it", () => inbox.chats.value.length === 3);
    await connected(inbox);
    expect(lines(inbox)).toEqual(["z 1 three", "y 1 two", "x 1 one"]);
  });

  test("holds the newest of it only", async () => {
    for (let n = 0; n < 260; n += 1) server.post("a", `chat-${n % 230}`, `${n}`);
    for (let n = 0; n < 80; n += 1) server.post("a", "x", `${n}`);
    server.markRead("a", "x", Infinity);
    const inbox = start();
    await until("all chats", () => inbox.chats.value.length === 231);
    inbox.open({ sessionId: "a", chatId: "x" });
    await until("the chat", () => texts(inbox)?.length === 60);
    const [session] = inbox.saved();
    expect([session?.chats.length, session?.whole, session?.logs[0]?.messages.length]).toEqual([200, false, 50]);
    expect(session?.logs[0]?.messages.at(-1)?.text).toBe("79");
    inbox.stop();
    const again = start(false, structuredClone([session!]));
    await until("the rest of the list", () => again.chats.value.length === 231);
  });
});

test("a message far back is found, and one that is not there is not", async () => {
  const inbox = await openedAtTheEnd(700);
  expect(await inbox.seek("m50")).toBe(true);
  expect(texts(inbox)?.length).toBe(660);
  expect(await inbox.seek("nowhere")).toBe(false);
  expect(texts(inbox)?.length).toBe(700);
});

test("after the token was refused, a new one goes on where it was", async () => {
  server.post("a", "x", "one");
  const inbox = start();
  await connected(inbox);
  server.tokens.clear();
  server.cut();
  await until("signed out", () => inbox.connection.value.name === "unauthorized");
  expect(lines(inbox)).toEqual(["x 1 one"]);
  server.tokens.add("another");
  server.post("a", "x", "missed");
  await inbox.resume("another");
  await until("up to date", () => inbox.unread.value === 2);
});

describe("reading", () => {
  test("an open chat is read when it can be seen, and in all tabs", async () => {
    server.post("a", "x", "one");
    const [inbox, other] = [start(), start()];
    const visible = signal(false);
    const stop = readWhatIsSeen(inbox, visible);
    await Promise.all([connected(inbox), connected(other)]);
    inbox.open({ sessionId: "a", chatId: "x" });
    lookAt(inbox);
    await pause(100);
    expect(other.unread.value).toBe(1);
    visible.value = true;
    await until("read", () => inbox.unread.value === 0 && other.unread.value === 0);
    server.post("a", "x", "two");
    await until("read, too", () => inbox.openedChat.value?.readSeq === 3 && other.unread.value === 0);
    stop();
  });

  test("a lively chat is not marked for each of its messages", async () => {
    server.post("a", "x", "one");
    const inbox = start();
    const stop = readWhatIsSeen(inbox, signal(true));
    await connected(inbox);
    inbox.open({ sessionId: "a", chatId: "x" });
    lookAt(inbox);
    for (let n = 0; n < 30; n += 1) {
      server.post("a", "x", "more");
      await pause(10);
    }
    await until("all read", () => inbox.unread.value === 0 && inbox.openedChat.value?.lastSeq !== 1);
    expect(server.received.filter(({ event }) => event === "mark_read").length).toBeLessThan(6);
    stop();
  });

  test("up to the last message that is in view, and no further", async () => {
    for (let n = 0; n < 5; n += 1) server.post("a", "x", `${n}`);
    const inbox = start();
    const stop = readWhatIsSeen(inbox, signal(true));
    await connected(inbox);
    inbox.open({ sessionId: "a", chatId: "x" });
    lookAt(inbox, 3);
    await until("some read", () => inbox.openedChat.value?.unreadCount === 2);
    await pause(50);
    expect(inbox.openedChat.value?.readSeq).toBe(3);
    stop();
  });

  test("a chat opens with all that is unread, and one message before it", async () => {
    for (let n = 0; n < 500; n += 1) server.post("a", "x", `${n}`);
    server.markRead("a", "x", 150);
    const inbox = start();
    await connected(inbox);
    inbox.open({ sessionId: "a", chatId: "x" });
    await until("ready", () => inbox.log.value?.ready.value === true);
    const first = inbox.log.value!.messages.value[0]!.seq;
    expect(first).toBeLessThanOrEqual(150);
    expect(texts(inbox)?.length).toBe(501 - first);
  });

  test("without the right to it, it is tried once", async () => {
    server.post("a", "x", "one");
    server.refusals.push({ event: "mark_read", code: "forbidden" });
    const inbox = start();
    const stop = readWhatIsSeen(inbox, signal(true));
    await connected(inbox);
    inbox.open({ sessionId: "a", chatId: "x" });
    lookAt(inbox);
    await until("tried", () => server.received.some(({ event }) => event === "mark_read"));
    server.post("a", "x", "two");
    await until("the second", () => inbox.unread.value === 2);
    await pause(50);
    expect(server.received.filter(({ event }) => event === "mark_read").length).toBe(1);
    stop();
  });
});

describe("two chats that become one", () => {
  const openAt = async (inbox: Inbox, chatId: string): Promise<void> => {
    inbox.open({ sessionId: "a", chatId });
    await until("its messages", () => inbox.log.value?.loaded.value === true);
  };

  test("are one in the list and in the reader's hands, whichever of them is open", async () => {
    for (const chatId of ["hidden", "known"]) {
      const session = `s-${chatId}`;
      for (let n = 0; n < 4; n += 1) server.post(session, n % 2 ? "known" : "hidden", `${n}`);
      server.post(session, "other", "by somebody else");
      const inbox = start();
      await connected(inbox);
      inbox.open({ sessionId: session, chatId });
      await until("its messages", () => inbox.log.value?.loaded.value === true);
      const [visit, before] = [inbox.visit.value, inbox.log.value];
      server.merge(session, "hidden", "known");
      await until("one chat", () => texts(inbox)?.length === 4);
      expect(texts(inbox)).toEqual(["0", "1", "2", "3"]);
      expect(inbox.opened.value).toEqual({ sessionId: session, chatId: "known" });
      expect([inbox.visit.value, before?.messages.value.length]).toEqual([visit, 2]);
      expect(inbox.chats.value.filter((chat) => chat.sessionId === session).map((chat) => chat.chatId)).toEqual(["other", "known"]);
      server.post(session, "known", "after");
      await until("what comes after", () => texts(inbox)?.at(-1) === "after");
      inbox.stop();
    }
  });

  test("who has scrolled far up keeps all that was loaded, and gets what belongs between", async () => {
    for (let n = 0; n < 600; n += 1) server.post("a", n % 2 ? "known" : "hidden", `${n}`);
    const inbox = start();
    await connected(inbox);
    await openAt(inbox, "hidden");
    await inbox.seek("m101");
    const log = inbox.log.value!;
    log.following = false;
    const first = log.messages.value[0]!.seq;
    server.merge("a", "hidden", "known");
    await until("the merged messages", () => inbox.log.value !== log);
    const loaded = inbox.log.value!.messages.value;
    expect(loaded[0]!.seq).toBeLessThanOrEqual(first);
    expect(loaded.map(({ seq }) => seq)).toEqual(Array.from({ length: loaded.length }, (_, index) => 601 - loaded.length + index));
    expect(inbox.log.value!.following).toBe(false);
  });

  test("a list that was read before it brings the old one not back", async () => {
    for (let n = 0; n < 60; n += 1) server.post("a", `chat-${n}`, "hello");
    server.beforeList = async (path) => {
      if (!path.endsWith("/chats")) return;
      server.beforeList = () => undefined;
      server.merge("a", "chat-59", "chat-58");
      await pause(50);
    };
    const inbox = start();
    await until("all", () => inbox.chats.value.length === 59);
    await pause(100);
    expect(inbox.chats.value.some(({ chatId }) => chatId === "chat-59")).toBe(false);
  });

  test("the old one's address leads to the new one", async () => {
    server.post("a", "hidden", "one");
    server.post("a", "known", "two");
    server.merge("a", "hidden", "known");
    const inbox = start();
    await connected(inbox);
    await openAt(inbox, "hidden");
    await until("the other address", () => inbox.opened.value?.chatId === "known");
    await until("its messages", () => texts(inbox)?.length === 2);
    expect(inbox.openedChat.value?.chatId).toBe("known");
  });
});
