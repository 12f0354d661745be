import type { Chat, LastMessage, Message, MessageType } from "../client";
import type { TextKey } from "./en";
import type { Translate } from "./language";
import { isGroup, withoutBidiControls } from "./names";

const TYPE_TEXT: Record<MessageType, TextKey> = {
  text: "typeText",
  image: "typeImage",
  video: "typeVideo",
  audio: "typeAudio",
  document: "typeDocument",
  sticker: "typeSticker",
  location: "typeLocation",
  contact: "typeContact",
  system: "typeSystem",
  unknown: "typeUnknown",
};

/** The kind of a message in words. A newer server may have kinds unknown to this page. */
export function kindOf(type: MessageType, t: Translate): string {
  return t(TYPE_TEXT[type] ?? "typeUnknown");
}

/** Whether the text has nothing visible: only spaces, line breaks and zero-width characters. */
export function isBlank(text: string | null): boolean {
  return text !== null && /^[\s\p{Cf}\u115f\u1160\u2800\u3164\uffa0]*$/u.test(text);
}

/** A message in one line. */
export function summary(message: Pick<Message | LastMessage, "type" | "text"> & { deletedAt?: string | null }, t: Translate): string {
  const { type, text, deletedAt } = message;
  if (deletedAt) return t("deleted");
  if (text && isBlank(text)) return type === "text" ? t("blank") : kindOf(type, t);
  if (type === "text" || type === "system") return text || kindOf(type, t);
  return text ? `${kindOf(type, t)} · ${text}` : kindOf(type, t);
}

/** The last message of a chat in one line, in groups with the sender. */
export function lastLine({ chatId, lastMessage }: Pick<Chat, "chatId" | "lastMessage">, t: Translate): string {
  if (!lastMessage) return "";
  const text = summary(lastMessage, t);
  const name = lastMessage.fromMe ? t("you") : isGroup(chatId) ? withoutBidiControls(lastMessage.senderName ?? "") : null;
  return name ? t("lastFrom", { name, text }) : text;
}
