import { expect, test } from "vitest";

import { MessageLog } from "../../src/store/messagelog";
import { message } from "../support/objects";

const range = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, index) => message(first + index));

const seqs = (log: MessageLog): number[] => log.messages.value.map(({ seq }) => seq);

function loaded(first: number, last: number, hasMore = true): MessageLog {
  const log = new MessageLog();
  log.addPage(range(first, last), hasMore);
  return log;
}

test("new messages are added at the end, by number and not by time", () => {
  const log = loaded(1, 3);
  log.apply(message(5, { timestamp: "2001-01-01T00:00:00.000Z" }));
  log.apply(message(4));
  expect(seqs(log)).toEqual([1, 2, 3, 4, 5]);
});

test("a change is applied where it is not older than what is known", () => {
  const log = loaded(1, 3);
  log.apply(message(2, { updatedSeq: 9, text: "new" }));
  log.apply(message(2, { updatedSeq: 8, text: "old" }));
  expect(log.messages.value[1]?.text).toBe("new");
  log.apply(message(2, { updatedSeq: 9, status: "read" }));
  expect(log.messages.value[1]?.status).toBe("read");
  expect(seqs(log)).toEqual([1, 2, 3]);
});

test("an older page is put before, and what has changed meanwhile is not undone by it", () => {
  const log = loaded(11, 20);
  log.loading.value = true;
  log.apply(message(5, { updatedSeq: 30, text: "changed" }));
  log.apply(message(31));
  log.addPage(range(1, 10), false);
  expect(seqs(log)).toEqual([...Array.from({ length: 20 }, (_, index) => index + 1), 31]);
  expect(log.messages.value[4]?.text).toBe("changed");
  expect(log.hasMore.value).toBe(false);
});

test("events that come before the first page are in it afterwards, once", () => {
  const log = new MessageLog();
  log.loading.value = true;
  log.apply(message(12));
  log.apply(message(13));
  log.apply(message(2, { updatedSeq: 14 }));
  log.addPage(range(8, 12), true);
  expect(seqs(log)).toEqual([8, 9, 10, 11, 12, 13]);
});

test("a change of a message further up than what is loaded makes no hole", () => {
  const log = loaded(11, 20);
  log.apply(message(5, { updatedSeq: 21 }));
  expect(seqs(log)[0]).toBe(11);
});

test("the first message of an empty chat is shown", () => {
  const log = new MessageLog();
  log.addPage([], false);
  log.apply(message(1));
  expect(seqs(log)).toEqual([1]);
});

test("a chat read at its end lets go of its oldest messages, one read further up does not", () => {
  const log = loaded(1, 1000, false);
  log.following = false;
  log.apply(message(1001));
  expect(log.messages.value.length).toBe(1001);
  log.following = true;
  log.apply(message(1002));
  expect(log.messages.value.length).toBe(400);
  expect(seqs(log).at(-1)).toBe(1002);
  expect(log.hasMore.value).toBe(true);
});
