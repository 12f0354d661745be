import { describe, expect, test } from "vitest";

import { en, type Text, type TextKey } from "../../src/text/en";
import { chooseLanguage } from "../../src/text/language";
import { zhHans } from "../../src/text/zh-hans";
import { zhHant } from "../../src/text/zh-hant";

const places = (text: Text): string[] => {
  const forms = typeof text === "string" ? text : text.other;
  return [...forms.matchAll(/\{\w+\}/g)].map(([place]) => place).sort();
};

describe.each([
  ["Simplified Chinese", zhHans],
  ["Traditional Chinese", zhHant],
])("%s", (_, texts) => {
  test("has every text, with the same places in it", () => {
    expect(Object.keys(texts)).toEqual(Object.keys(en));
    for (const key of Object.keys(en) as TextKey[]) {
      expect(places(texts[key]), key).toEqual(places(en[key]));
      expect(places(texts[key]).length > 0 || texts[key] !== "", key).toBe(true);
    }
  });
});

test.each([
  [["zh-CN"], "聊天", "正在连接…"],
  [["zh"], "聊天", "正在连接…"],
  [["zh-TW"], "聊天", "正在連線…"],
  [["zh-HK", "en"], "聊天", "正在連線…"],
  [["zh-Hant-CN"], "聊天", "正在連線…"],
  [["en-GB"], "Chats", "Connecting…"],
  [["de-DE", "zh-TW"], "聊天", "正在連線…"],
  [["de-DE"], "Chats", "Connecting…"],
  [[], "Chats", "Connecting…"],
  [["not a tag"], "Chats", "Connecting…"],
])("%j is served", (wanted, chats, connecting) => {
  const { t } = chooseLanguage(wanted);
  expect([t("chats"), t("stateConnecting")]).toEqual([chats, connecting]);
});

test("numbers have their form, and places are filled as they are", () => {
  const { t } = chooseLanguage(["en"]);
  expect(t("unread", { count: 1 })).toBe("1 unread message");
  expect(t("unread", { count: 1200 })).toBe("1,200 unread messages");
  expect(t("lastFrom", { name: "{text}", text: "$& {name}" })).toBe("{text}: $& {name}");
});
