import { expect, test } from "vitest";

import type { DurableEvent } from "../../src/client";
import { isNothing, isUnread, newsOf } from "../../src/store/news";
import { MessageLog } from "../../src/store/messagelog";
import { chat, message } from "../support/objects";

const DELETED = { deletedAt: "2026-02-06T12:04:00.000Z", text: null };

test("news are new messages and content that came late, not a tick, an edit or a reaction", () => {
  const base = { sessionId: "a", chatId: "x", chat: chat("x", 9) };
  const updated = (more: object): DurableEvent => ({ event: "message_updated", ...base, seq: 9, message: message(3, more) });
  expect(newsOf({ event: "new_message", ...base, seq: 9, message: message(9) })?.seq).toBe(9);
  expect(newsOf(updated({ contentSeq: 9 }))?.seq).toBe(3);
  expect(newsOf(updated({ status: "read" }))).toBeNull();
  expect(newsOf({ event: "chat_updated", ...base, seq: 9 })).toBeNull();
  expect(newsOf(null)).toBeNull();
});

test("unread is what a person would read, by when its content came", () => {
  expect(isUnread(message(5), 4)).toBe(true);
  expect(isUnread(message(5), 5)).toBe(false);
  expect(isUnread(message(5, { contentSeq: 9 }), 5)).toBe(true);
  for (const other of [{ fromMe: true }, { type: "system" as const }, DELETED]) expect(isUnread(message(5, other), 0)).toBe(false);
});

test("a placeholder that was nothing goes, and a deleted message keeps its place", () => {
  const nothing = message(2, { type: "unknown", ...DELETED });
  expect(isNothing(nothing)).toBe(true);
  const log = new MessageLog();
  log.addPage([message(1, DELETED), nothing, message(3)], false);
  expect(log.shown.value.map(({ seq }) => seq)).toEqual([1, 3]);
  log.apply({ ...nothing, text: "it was something", deletedAt: null, updatedSeq: 7 });
  expect(log.shown.value.map(({ seq }) => seq)).toEqual([1, 2, 3]);
});
