import { describe, expect, test } from "vitest";

import { Formats, startOfDay } from "../../src/text/formats";
import { chooseLanguage } from "../../src/text/language";
import { fold } from "../../src/text/fold";
import { linked, safeUrl } from "../../src/text/links";
import { chatName, initials, readableId, readablePhone, withoutBidiControls } from "../../src/text/names";
import { placeOf } from "../../src/text/place";
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

  test("signs that turn text around are taken out of names and addresses", () => {
    const chatId = "1@s.whatsapp.net";
    expect(chatName({ chatId, name: "Ann\u202egnaW\u2066\u200f" }, t)).toBe("AnngnaW");
    expect(chatName({ chatId, name: "\u202e\u200e" }, t)).toBe(chatId);
    expect(readableId("a\u2067b", t)).toBe("ab");
    expect(withoutBidiControls("יוסי כהן 👩‍👩‍👧 é")).toBe("יוסי כהן 👩‍👩‍👧 é");
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
    expect(formats.brief(timestamp, now.getTime())).toBe(brief);
    expect(formats.day(timestamp, today).replace(",", "")).toBe(day);
  });

  test.each([
    [0, "now"],
    [-90_000, "now"],
    [59_000, "now"],
    [60_000, "1 min ago"],
    [59 * 60_000, "59 min ago"],
    [60 * 60_000, "11:04"],
  ])("%d ms ago is %s", (age, brief) => {
    expect(formats.brief(new Date(now.getTime() - age).toISOString(), now.getTime())).toBe(brief);
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
    expect(linked("www.shop.example/a and ann.o+x@mail.example.")).toEqual([
      { text: "www.shop.example/a", href: "https://www.shop.example/a" },
      { text: " and " },
      { text: "ann.o+x@mail.example", href: "mailto:ann.o%2Bx@mail.example" },
      { text: "." },
    ]);
    expect(linked("a@b and @ann and mailto:x@y.example?body=1").map(({ href }) => href)).toEqual([
      undefined,
      "mailto:x@y.example",
      undefined,
    ]);
  });

  test.each(["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//x", "x", " JavaScript:x"])(
    "%s is not safe",
    (url) => expect(safeUrl(url)).toBeNull(),
  );
});

// Where it is not linear it takes minutes, and the test's own limit ends it.
test("no text makes the search for links slow", () => {
  for (const text of ["a".repeat(60_000), "a.".repeat(30_000), `${"a@".repeat(30_000)}`, "www.".repeat(15_000)]) {
    expect(linked(text).length).toBeGreaterThan(0);
  }
});

describe("places", () => {
  test.each([
    ["Harbour Café\n1 Pier Rd\n22.293100, 114.168300", "Harbour Café", "1 Pier Rd\n22.29310, 114.16830", true],
    ["22.3,114.2", null, "22.30000, 114.20000", true],
    ["91.0, 10.0", null, "", false],
    ["Just a name", "Just a name", "", false],
    ["1.0, 2.0&x=<b>", "1.0, 2.0&x=<b>", "", false],
  ])("%j", (text, title, detail, mapped) => {
    const place = placeOf(text);
    expect([place.title, place.detail, place.map !== null]).toEqual([title, detail, mapped]);
    if (place.map) expect(place.map).toMatch(/^https:\/\/www\.openstreetmap\.org\/\?mlat=[\d.-]+&mlon=[\d.-]+#map=16\/[\d.-]+\/[\d.-]+$/);
  });
});

test.each([
  ["Ångström", "angstrom"],
  ["ＡＢＣ", "abc"],
  ["José", "jose"],
  ["陳大文", "陳大文"],
])("%s is compared as %s", (text, folded) => expect(fold(text)).toBe(folded));

test("every kind of message in a line", () => {
  expect(summary({ type: "text", text: "hello" }, t)).toBe("hello");
  expect(summary({ type: "image", text: null }, t)).toBe("Picture");
  expect(summary({ type: "image", text: "look" }, t)).toBe("Picture · look");
  expect(summary({ type: "text", text: null, deletedAt: "2026-02-06T12:04:00.000Z" }, t)).toBe("This message was deleted");
  expect(summary({ type: "text", text: " \u200b\n\u3164" }, t)).toBe("Blank message");
  expect(summary({ type: "image", text: " " }, t)).toBe("Picture");
  expect(summary({ type: "text", text: "\u200b👍" }, t)).toBe("\u200b👍");
  expect(summary({ type: "hologram" as never, text: null }, t)).toBe("This kind of message cannot be shown");
});
