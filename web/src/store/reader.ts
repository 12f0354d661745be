import { effect, type ReadonlySignal } from "@preact/signals";

import { hasCode, type Chat } from "../client";
import type { Inbox } from "./inbox";
import { routeOf } from "./route";

/** Delay, so that messages of a busy chat are marked together. */
const APART_MS = 250;
/** Delay after a failure. */
const AGAIN_MS = 3_000;

/**
 * Marks the open chat as read, up to the last visible message while the page is attended (visible and focused). Messages
 * below, or behind another window, stay unread. Messages that were visible are marked even if another chat was opened
 * meanwhile. Returns a function that stops it.
 */
export function readWhatIsSeen(inbox: Inbox, attended: ReadonlySignal<boolean>): () => void {
  /** How far each chat has been seen but not marked yet. */
  const pending = new Map<string, { chat: Chat; upTo: number }>();
  let timer: ReturnType<typeof setTimeout> | null = null;
  let allowed = true;

  const mark = (): void => {
    timer = null;
    const [key, next] = pending.entries().next().value ?? [];
    if (!allowed || key === undefined || next === undefined) return;
    pending.delete(key);
    const later = (ms: number): void => void (timer = setTimeout(mark, ms));
    later(APART_MS);
    inbox.markRead(next.chat, next.upTo).catch((error: unknown) => {
      // Without the right to write, a retry is pointless.
      allowed = !hasCode(error, "forbidden", "unknown_event", "invalid");
      if (timer !== null) clearTimeout(timer);
      if (!pending.has(key)) pending.set(key, next);
      later(AGAIN_MS);
    });
  };

  const stop = effect(() => {
    const [chat, view] = [inbox.openedChat.value, inbox.log.value?.inView.value];
    const seen = attended.value && inbox.connection.value.name === "connected";
    if (!seen || !view || !chat || chat.unreadCount === 0) return;
    // At the end everything was seen, including changes by events after the last message.
    const upTo = view.end ? chat.lastSeq : Math.min(view.seq, chat.lastSeq);
    if (upTo <= chat.readSeq) return;
    pending.set(routeOf(chat), { chat, upTo });
    if (timer === null) mark();
  });
  return () => {
    stop();
    if (timer !== null) clearTimeout(timer);
    allowed = false;
  };
}
