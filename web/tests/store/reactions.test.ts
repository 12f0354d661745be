import { expect, test } from "vitest";

import type { Message } from "../../src/client";
import { withReactions } from "../../src/store/reactions";
import { message } from "../support/objects";

const reaction = (seq: number, target: string, text: string, who: string): Message =>
  message(seq, {
    type: "reaction",
    text,
    sender: { id: who, name: who },
    replyTo: { messageId: target, senderId: null, text: null },
  });

const counted = (messages: readonly Message[]): Record<string, string[]> =>
  Object.fromEntries(
    [...withReactions(messages).reactions].map(([id, all]) => [id, all.map(({ emoji, by }) => `${emoji}${by.length}`)]),
  );

test("a chat without reactions is left as it is", () => {
  const messages = [message(1), message(2)];
  expect(withReactions(messages).shown).toBe(messages);
});

test("reactions stand at their message, counted, the most frequent first", () => {
  const messages = [message(1), reaction(2, "m1", "👍", "a"), reaction(3, "m1", "❤️", "b"), reaction(4, "m1", "❤️", "c")];
  expect(withReactions(messages).shown).toEqual([message(1)]);
  expect(counted(messages)).toEqual({ m1: ["❤️2", "👍1"] });
});

test("the last of one person counts, and an empty one takes it back", () => {
  const messages = [message(1), message(2), reaction(3, "m1", "👍", "a"), reaction(4, "m1", "❤️", "a")];
  expect(counted(messages)).toEqual({ m1: ["❤️1"] });
  expect(counted([...messages, reaction(5, "m1", "", "a")])).toEqual({ m1: [] });
});

test("one whose message is not loaded has a place of its own", () => {
  const messages = [message(7), reaction(8, "m1", "👍", "a"), message(9, { type: "reaction", text: "👍" })];
  expect(withReactions(messages).shown).toEqual(messages);
});
