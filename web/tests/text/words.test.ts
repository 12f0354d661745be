import { describe, expect, test } from "vitest";

import { Formats, startOfDay } from "../../src/text/formats";
import { chooseLanguage } from "../../src/text/language";
import { linked, safeUrl } from "../../src/text/links";
import { chatName, initials, readableId, readablePhone } from "../../src/text/names";
import { summary } from "../../src/text/summary";

const english = chooseLanguage(["en-GB"]);
const { t } = english;

describe("names", () => {
  test.each([
    ["85291234567", "+852 9123 4567"],
    ["447911123456", "+44 791 112 3456"],
    ["14155550123", "+1 415 555 0123"],
    ["8613800138000", "+86 138 0013 8000"],
    ["4915112345678", "+49 151 1234 5678"],
    ["3725123456", "+372 512 3456"],
  ])("%s → %s", (digits, readable) => expect(readablePhone(digits)).toBe(readable));

  test.each([
    ["85291234567@s.whatsapp.net", "+852 9123 4567"],
    ["1234567890123@lid", "Private number …0123"],
    ["120363041234567890@g.us", "Group …7890"],
    ["customer-17", "customer-17"],
    ["abc@s.whatsapp.net", "abc@s.whatsapp.net"],
  ])("%s → %s", (id, readable) => expect(readableId(id, t)).toBe(readable));

  test("a chat's own name comes first", () => {
    expect(chatName({ chatId: "85291234567@s.whatsapp.net", name: "Alice" }, t)).toBe("Alice");
    expect(chatName({ chatId: "85291234567@s.whatsapp.net", name: null }, t)).toBe("+852 9123 4567");
  });

  test.each([
    ["Alice Wong", "AW"],
    ["alice", "A"],
    ["陳大文", "陳"],
    ["Jörg von Müller", "JM"],
    ["יוסי כהן", "יכ"],
    ["+852 9123", "#"],
    ["🙂", "#"],
    ["", "#"],
  ])("initials of %s", (name, letters) => expect(initials(name)).toBe(letters));
});

describe("times", () => {
  const formats = new Formats(english);
  const now = new Date(2026, 1, 6, 12, 4);
  const today = startOfDay(now.getTime());
  const at = (...parts: [number, number, number, number, number]): string => new Date(...parts).toISOString();

  test.each([
    [at(2026, 1, 6, 0, 1), "00:01", "Today"],
    [at(2026, 1, 5, 23, 59), "Yesterday", "Yesterday"],
    [at(2026, 1, 2, 9, 0), "Mon", "Monday 2 February"],
    [at(2026, 0, 30, 9, 0), "30/01/26", "Friday 30 January"],
    [at(2025, 11, 31, 9, 0), "31/12/25", "31 December 2025"],
    [at(2026, 1, 8, 9, 0), "08/02/26", "Sunday 8 February"],
  ])("%s is %s in the list, and %s above a day", (timestamp, brief, day) => {
    expect(formats.brief(timestamp, today)).toBe(brief);
    expect(formats.day(timestamp, today).replace(",", "")).toBe(day);
  });

  test("sizes and lengths", () => {
    expect([0, 999, 1_000, 482_113, 9_450_000, 3e12].map((size) => formats.size(size))).toEqual([
      "0 bytes",
      "999 bytes",
      "1 kB",
      "482 kB",
      "9.5 MB",
      "3,000 GB",
    ]);
    expect([0, 17.4, 75, 3_725].map((length) => formats.duration(length))).toEqual(["0:00", "0:17", "1:15", "1:02:05"]);
  });
});

describe("links", () => {
  test("only addresses of the web are", () => {
    expect(linked("see https://a.example/x?y=1#z, or (http://b.example).")).toEqual([
      { text: "see " },
      { text: "https://a.example/x?y=1#z", href: "https://a.example/x?y=1#z" },
      { text: ", or (" },
      { text: "http://b.example", href: "http://b.example" },
      { text: ")." },
    ]);
    expect(linked("https://en.example/wiki/A_(b)")).toEqual([
      { text: "https://en.example/wiki/A_(b)", href: "https://en.example/wiki/A_(b)" },
    ]);
    expect(linked("javascript:alert(1) <b>")).toEqual([{ text: "javascript:alert(1) <b>" }]);
    expect(linked("看https://a.example/圖。謝謝").map(({ href }) => href)).toContain("https://a.example/圖");
    expect(linked("")).toEqual([]);
  });

  test.each(["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//x", "x", " JavaScript:x"])(
    "%s is not safe",
    (url) => expect(safeUrl(url)).toBeNull(),
  );
});

test("every kind of message in a line", () => {
  expect(summary({ type: "text", text: "hello" }, t)).toBe("hello");
  expect(summary({ type: "image", text: null }, t)).toBe("Picture");
  expect(summary({ type: "image", text: "look" }, t)).toBe("Picture · look");
  expect(summary({ type: "reaction", text: "👍" }, t)).toBe("Reacted with 👍");
  expect(summary({ type: "reaction", text: "" }, t)).toBe("Took a reaction back");
  expect(summary({ type: "hologram" as never, text: null }, t)).toBe("Message of a kind that cannot be shown");
});
