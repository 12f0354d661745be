import type { Agent, Chat, Message } from "../client";
import type { Translate } from "./language";

/** Country calling codes with two digits; +1 and +7 have one, all others three. */
const TWO_DIGITS = new Set(
  ("20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 " +
    "81 82 84 86 90 91 92 93 94 95 98").split(" "),
);

/** `85291234567` → `+852 9123 4567`. */
export function readablePhone(digits: string): string {
  const length = /^[17]/.test(digits) ? 1 : TWO_DIGITS.has(digits.slice(0, 2)) ? 2 : 3;
  return `+${digits.slice(0, length)} ${grouped(digits.slice(length))}`;
}

function grouped(digits: string): string {
  const patterns: Record<number, number[]> = { 8: [4, 4], 10: [3, 3, 4], 11: [3, 4, 4], 7: [3, 4] };
  const pattern = patterns[digits.length] ?? Array<number>(Math.ceil(digits.length / 3)).fill(3);
  let from = 0;
  return pattern.map((length) => digits.slice(from, (from += length))).join(" ");
}

const BIDI_CONTROLS = /[\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/g;

/**
 * A name without characters that change the direction of text (UAX #9), with which "photo_gpj.exe" looks like
 * "photo_exe.jpg", or one name like another.
 */
export function withoutBidiControls(name: string): string {
  return name.replace(BIDI_CONTROLS, "");
}

/** An address in readable form. */
export function readableId(id: string, t: Translate): string {
  const [, user = "", domain = ""] = /^([^@]+)@(.+)$/.exec(id) ?? [];
  if (domain === "s.whatsapp.net" && /^\d{7,15}$/.test(user)) return readablePhone(user);
  if (domain === "lid") return t("privateNumber", { end: user.slice(-4) });
  if (domain === "g.us") return t("group", { end: user.slice(-4) });
  return withoutBidiControls(id);
}

export function chatName(chat: Pick<Chat, "chatId" | "name">, t: Translate): string {
  return withoutBidiControls(chat.name ?? "") || readableId(chat.chatId, t);
}

export function senderName({ fromMe, sender }: Message, t: Translate): string {
  return personName(fromMe, sender, t);
}

/** The name of the other agent who wrote it; `null` if it is from a contact, the agent `me`, or the phone. */
export function colleague({ author }: Message, me: string): string | null {
  return author && author.id !== me ? agentName(author) : null;
}

export function agentName({ id, name }: Agent): string {
  return withoutBidiControls(name || id);
}

export function personName(fromMe: boolean, { id, name }: Message["sender"], t: Translate): string {
  return fromMe ? t("you") : withoutBidiControls(name ?? "") || readableId(id, t);
}

/** Whether more than one other person may write in this chat. */
export function isGroup(chatId: string): boolean {
  return chatId.endsWith("@g.us");
}

/** The letters of an avatar, from the first and last word, ignoring digits and symbols. */
export function initials(name: string): string {
  const words = name.match(/\p{L}[\p{L}\p{M}]*/gu) ?? [];
  const [first] = words[0] ?? "";
  if (!first) return "#";
  // In these scripts a character is a word.
  if (/\p{Script=Han}|\p{Script=Hangul}|\p{Script=Hiragana}|\p{Script=Katakana}/u.test(first)) return first;
  const [last = ""] = words.length > 1 ? (words.at(-1) ?? "") : "";
  return (first + last).toLocaleUpperCase();
}

/** The hue of an address, the same on every screen. */
export function hueOf(id: string): number {
  let hash = 0;
  for (let index = 0; index < id.length; index += 1) hash = (hash * 31 + id.charCodeAt(index)) | 0;
  // Numbers that differ in one digit should get clearly different hues.
  return (Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 8) % 360;
}
