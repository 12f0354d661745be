import { describe, expect, test } from "vitest";

import { ChatList, merged } from "../../src/store/chatlist";
import { chat, chatAt } from "../support/objects";
import { seeded } from "../support/random";

const ids = (list: ChatList): string[] => list.ordered.value.map(({ chatId }) => chatId);

test("the chat with the newest message is first, and moves up with the next one", () => {
  const list = new ChatList();
  list.put(chat("x", 1), chat("y", 3), chat("z", 2));
  expect(ids(list)).toEqual(["y", "z", "x"]);
  list.put(chat("x", 4));
  expect(ids(list)).toEqual(["x", "y", "z"]);
});

test("a change that is no message moves nothing", () => {
  const list = new ChatList();
  list.put(chat("x", 1, { unreadCount: 2 }), chat("y", 3));
  list.put(chat("x", 1, { unreadCount: 0, readSeq: 1, updatedSeq: 4 }));
  expect(ids(list)).toEqual(["y", "x"]);
  expect(list.unread.value).toBe(0);
});

test("of two states the one changed last counts, whichever came first", () => {
  const list = new ChatList();
  const older = chat("x", 5, { unreadCount: 1 });
  const newer = chat("x", 6, { unreadCount: 2 });
  list.put(newer);
  list.put(older);
  expect(list.get("x")).toBe(newer);
  expect(list.unread.value).toBe(2);
});

test("a list read while events come in ends as the events say, in any order", () => {
  const random = seeded();
  for (let round = 0; round < 100; round += 1) {
    const present = new Map<string, ReturnType<typeof chat>>();
    const states = Array.from({ length: 60 }, (_, index) => {
      const state = chat(`chat-${Math.floor(random() * 9)}`, index + 1, { unreadCount: Math.floor(random() * 5) });
      present.set(state.chatId, state);
      return state;
    });
    const list = new ChatList();
    for (const state of states.sort(() => random() - 0.5)) {
      if (random() < 0.5) list.put(state);
      else list.put(state, ...states.slice(0, 3));
    }
    expect(list.ordered.value).toEqual([...present.values()].sort((a, b) => b.lastSeq - a.lastSeq));
  }
});

describe("several sessions as one list", () => {
  test("each keeps its order, and the newest is first", () => {
    const a = [chatAt("a", "x", 9, 12), chatAt("a", "y", 8, 15), chatAt("a", "z", 7, 9)];
    const b = [chatAt("b", "u", 3, 13), chatAt("b", "v", 2, 8)];
    // y came later by its time, yet before x by its number: the number counts.
    expect(merged([a, b]).map(({ chatId }) => chatId)).toEqual(["u", "x", "y", "z", "v"]);
  });

  test("one alone is left as it is", () => {
    const a = [chatAt("a", "x", 9, 12)];
    expect(merged([a])).toBe(a);
    expect(merged([])).toEqual([]);
  });
});
