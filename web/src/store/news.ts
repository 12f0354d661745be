import type { DurableEvent, Message } from "../client";

/** The message that an event brings to be read: a new one, or one whose content has come after it; else `null`. */
export function newsOf(event: DurableEvent | null): Message | null {
  if (event?.event === "new_message") return event.message;
  const late = event?.event === "message_updated" && event.message.contentSeq === event.seq;
  return late ? event.message : null;
}

/** Whether it counts as unread, as the server counts. */
export function isUnread({ fromMe, type, deletedAt, seq, contentSeq }: Message, readSeq: number): boolean {
  // A server of before knows no `contentSeq`.
  return !fromMe && type !== "system" && !deletedAt && (contentSeq ?? seq) > readSeq;
}

/** A place that was kept for what turned out to be nothing to read. */
export function isNothing({ type, deletedAt, text, media }: Message): boolean {
  return type === "unknown" && Boolean(deletedAt) && !text && !media;
}
