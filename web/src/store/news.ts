import type { DurableEvent, Message } from "../client";

/** The event's message if there is something new to read (a new message, or late content), otherwise `null`. */
export function newsOf(event: DurableEvent | null): Message | null {
  if (event?.event === "new_message") return event.message;
  const late = event?.event === "message_updated" && event.message.contentSeq === event.seq;
  return late ? event.message : null;
}

/** Whether it counts as unread, like on the server. */
export function isUnread({ fromMe, type, deletedAt, seq, contentSeq }: Message, readSeq: number): boolean {
  // An older server has no `contentSeq`.
  return !fromMe && type !== "system" && !deletedAt && (contentSeq ?? seq) > readSeq;
}

/** Whether this is a message that turned out to have no content, or that was cancelled before it was sent. */
export function isNothing({ type, deletedAt, error, text, media }: Message): boolean {
  return Boolean(deletedAt) && !text && !media && (type === "unknown" || error?.code === "cancelled");
}
