import { expect, test } from "vitest";

import type { Chat } from "../../src/client";
import { nextWaiting } from "../../src/store/waiting";
import { chat } from "../support/objects";

const said: Partial<Chat> = {
  lastMessage: { messageId: "m", type: "text", text: "?", fromMe: false, senderName: null, timestamp: "2026-02-06T12:04:00.000Z", deletedAt: null },
};

test("after a chat that is done comes the next one that waits and is nobody else's", () => {
  const before = chat("before", 5, said);
  const here = chat("here", 4, said);
  const list = [
    before,
    here,
    chat("ann's", 3, { ...said, assignee: { id: "ann", name: null } }),
    chat("answered", 2, { ...said, answered: true }),
    chat("mine", 1, { ...said, assignee: { id: "me", name: null } }),
  ];
  expect(nextWaiting(list, here, "me")?.chatId).toBe("mine");
  expect(nextWaiting(list.slice(0, 4), here, "me")?.chatId).toBe("before");
  expect(nextWaiting([here], here, "me")).toBeNull();
});
