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
  return { inbox, opened, search: new Search(inbox, opened, t) };
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
