import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Drafts } from "../../src/store/drafts";

const [x, y] = [{ sessionId: "a", chatId: "x" }, { sessionId: "a", chatId: "y" }];
let kept: Record<string, string>;
let listeners: Set<(event: { key: string | null }) => void>;

beforeEach(() => {
  kept = {};
  listeners = new Set();
  // As in browsers: the keys are properties of the object, and its methods are not listed.
  const storage = Object.create({
    getItem: (key: string) => kept[key] ?? null,
    setItem: (key: string, value: string) => {
      kept[key] = value;
      (storage as Record<string, string>)[key] = value;
    },
    removeItem: (key: string) => {
      delete kept[key];
      delete (storage as Record<string, string>)[key];
    },
  }) as object;
  vi.stubGlobal("localStorage", storage);
  vi.stubGlobal("addEventListener", (_: string, listener: (event: { key: string | null }) => void) => listeners.add(listener));
  vi.stubGlobal("removeEventListener", (_: string, listener: (event: { key: string | null }) => void) => listeners.delete(listener));
});

afterEach(() => vi.unstubAllGlobals());

test("drafts are kept by chat and by agent", () => {
  const drafts = new Drafts("ann");
  drafts.set(x, { text: "hello" });
  drafts.set(x, { replyTo: "m1" });
  drafts.set(y, { text: "bye" });
  expect(new Drafts("ann").get(x)).toEqual({ text: "hello", replyTo: "m1" });
  expect(new Drafts("ann").get(y)).toEqual({ text: "bye", replyTo: null });
  expect(new Drafts("ben").all.value.size).toBe(0);
  // One agent's name may begin as another's.
  expect(new Drafts("an").all.value.size).toBe(0);
});

test("an emptied draft leaves nothing behind, and neither does signing out", () => {
  const [drafts, other] = [new Drafts("ann"), new Drafts("ben")];
  drafts.set(x, { text: "hello" });
  drafts.set(x, { text: "" });
  expect(kept).toEqual({});
  drafts.set(x, { text: "hello" });
  other.set(x, { text: "mine" });
  drafts.forget();
  expect(Object.values(kept)).toEqual([JSON.stringify({ text: "mine", replyTo: null })]);
});

test("a sent draft is empty at once, and stays stored until the message is", async () => {
  const drafts = new Drafts("ann");
  drafts.set(x, { text: "hello", replyTo: "m1" });
  let resolve = (): void => undefined;
  const done = drafts.sent(x, new Promise<void>((settle) => (resolve = settle)));
  expect(drafts.get(x).text).toBe("");
  expect(new Drafts("ann").get(x).text).toBe("hello");
  drafts.set(y, { text: "elsewhere" });
  resolve();
  await done;
  expect(new Drafts("ann").get(x).text).toBe("");
  expect(new Drafts("ann").get(y).text).toBe("elsewhere");
});

test("a draft moves with its chat, behind one that is there", () => {
  const drafts = new Drafts("ann");
  drafts.set(x, { text: "from x", replyTo: "m1" });
  drafts.set(y, { text: "from y" });
  drafts.moved(x, y);
  expect(drafts.get(y)).toEqual({ text: "from y\nfrom x", replyTo: "m1" });
  expect(drafts.get(x).text).toBe("");
});

test("another tab's changes are seen, and whatever else is stored does no harm", () => {
  const drafts = new Drafts("ann");
  const other = new Drafts("ann");
  other.set(x, { text: "hello" });
  for (const listener of listeners) listener({ key: "roomcast.draft.ann#/a/x" });
  expect(drafts.get(x).text).toBe("hello");
  localStorage.setItem("roomcast.draft.ann#/a/w", "{broken");
  drafts.set(y, { text: "after it" });
  expect([...new Drafts("ann").all.value.keys()]).toEqual(["#/a/x", "#/a/y"]);
});
