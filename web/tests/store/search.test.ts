import { signal } from "@preact/signals";
import { expect, test, vi } from "vitest";

import type { Chat } from "../../src/client";
import type { Address } from "../../src/store/address";
import { Search } from "../../src/store/search";
import { chooseLanguage } from "../../src/text/language";
import { chat } from "../support/objects";

const { t } = chooseLanguage(["en"]);
const last = (text: string, senderName: string | null = null): Partial<Chat> => ({
  lastMessage: { messageId: "m", type: "text", text, fromMe: false, senderName, timestamp: "2026-02-06T12:04:00.000Z", deletedAt: null },
});

function searching(all: readonly Chat[], more = false) {
  const inbox = { chats: signal(all), moreChats: signal(more), loadMoreChats: vi.fn() };
  const opened = signal<Address | null>(null);
  return { inbox, opened, search: new Search(inbox, opened, t, "me") };
}

const ids = (search: Search): string[] => search.found.value.map(({ chatId }) => chatId);

test("names, numbers, senders and last messages are looked through, as people compare", () => {
  const { search } = searching([
    chat("85291234567@s.whatsapp.net", 4, { name: "José Núñez", ...last("Where is it?") }),
    chat("7@g.us", 3, { name: "Football", ...last("At SIX", "Zoë") }),
    chat("c", 2, { name: "陳怡君", ...last("現貨嗎") }),
  ]);
  const found = (words: string): string[] => {
    search.words.value = words;
    return ids(search);
  };
  expect(found("jose nunez")).toEqual(["85291234567@s.whatsapp.net"]);
  expect(found("9123")).toEqual(["85291234567@s.whatsapp.net"]);
  expect(found("zoe six")).toEqual(["7@g.us"]);
  expect(found("怡君")).toEqual(["c"]);
  expect(found("現貨")).toEqual(["c"]);
  expect(found("nobody")).toEqual([]);
  expect(found("  ").length).toBe(3);
});

test("only the unread ones, and the one that is open", () => {
  const { search, opened } = searching([chat("a", 3, { unreadCount: 1 }), chat("b", 2), chat("c", 1)]);
  search.onlyUnread.value = true;
  expect(ids(search)).toEqual(["a"]);
  opened.value = { sessionId: "a", chatId: "c" };
  expect(ids(search)).toEqual(["a", "c"]);
  search.clear();
  expect(ids(search)).toEqual(["a", "b", "c"]);
});

test("the server's older chats are asked for page by page, as long as there are too few", () => {
  const { search, inbox } = searching([chat("a", 9, { name: "Ann" })], true);
  expect(inbox.loadMoreChats).not.toHaveBeenCalled();
  search.words.value = "bob";
  expect([search.looking.value, inbox.loadMoreChats.mock.calls.length]).toEqual([true, 1]);
  inbox.chats.value = [...inbox.chats.value, chat("b", 1, { name: "Bob" })];
  expect(inbox.loadMoreChats).toHaveBeenCalledTimes(2);
  inbox.moreChats.value = false;
  expect([search.looking.value, ids(search)]).toEqual([false, ["b"]]);
  search.stop();
});

test("mine and unassigned leave out what others have and what is done", () => {
  const ann = { id: "ann", name: "Ann" };
  const { search } = searching([
    chat("mine", 5, { assignee: { id: "me", name: null } }),
    chat("mine, done", 4, { assignee: { id: "me", name: null }, state: "closed" }),
    chat("ann's", 3, { assignee: ann }),
    chat("nobody's", 2),
    chat("nobody's, done", 1, { state: "closed" }),
  ]);
  search.whose.value = "mine";
  expect(ids(search)).toEqual(["mine"]);
  search.whose.value = "unassigned";
  expect(ids(search)).toEqual(["nobody's"]);
  search.clear();
  expect(ids(search)).toHaveLength(5);
});

test("what waits for an answer is listed with the longest wait first, however many pages it takes", () => {
  const at = (hour: number): string => `2026-02-06T${String(hour).padStart(2, "0")}:00:00.000Z`;
  const wrote = last("hello?");
  const { inbox, opened, search } = searching(
    [
      chat("wrote again just now", 9, { ...wrote, waitingSince: at(8) }),
      chat("answered", 8, { ...wrote, answered: true }),
      chat("done", 7, { ...wrote, state: "closed", waitingSince: at(1) }),
      chat("empty", 6),
      chat("short", 5, { ...wrote, waitingSince: at(11) }),
    ],
    true,
  );
  search.onlyWaiting.value = true;
  expect(ids(search)).toEqual(["wrote again just now", "short"]);
  expect(inbox.loadMoreChats).toHaveBeenCalled();
  // The open chat stays, also when it has been answered.
  opened.value = { sessionId: "a", chatId: "answered" };
  expect(ids(search)).toContain("answered");
});
