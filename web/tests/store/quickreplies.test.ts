import { expect, test } from "vitest";

import { filled, matching, slashBefore } from "../../src/store/quickreplies";

test("a slash counts where a word begins, and up to the caret", () => {
  expect(slashBefore("/", 1)).toEqual({ from: 0, to: 1, word: "" });
  expect(slashBefore("Hello /tha and more", 10)).toEqual({ from: 6, to: 10, word: "tha" });
  expect(slashBefore("a\n/x", 4)).toEqual({ from: 2, to: 4, word: "x" });
  expect(slashBefore("either/or", 9)).toBeNull();
  expect(slashBefore("see https://a.example/x", 23)).toBeNull();
  expect(slashBefore("/tha nks", 8)).toBeNull();
});

test("names are looked through before texts", () => {
  const replies = [
    { shortcut: "hours", text: "Thank you. We are open from 9 to 6." },
    { shortcut: "thanks", text: "You are welcome!" },
  ];
  expect(matching(replies, "THA").map(({ shortcut }) => shortcut)).toEqual(["thanks", "hours"]);
  expect(matching(replies, "")).toHaveLength(2);
  expect(matching(replies, "zzz")).toEqual([]);
});

test("the contact's name is filled in, whatever is in it; unknown, it leaves no gap", () => {
  expect(filled("Hello {name}, it is {name}'s.", "$& Ann")).toBe("Hello $& Ann, it is $& Ann's.");
  expect(filled("Hello {name},\n{name} all", null)).toBe("Hello,\n all");
});
