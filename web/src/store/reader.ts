import { effect, type ReadonlySignal } from "@preact/signals";

import { hasCode, type Chat } from "../client";
import type { Inbox } from "./inbox";
import { routeOf } from "./route";

/** In a lively chat not every message is marked for itself. */
const APART_MS = 250;
/** After a failure. */
const AGAIN_MS = 3_000;

/**
 * Marks the open chat as read, up to the last message that is in view while somebody looks (`attended`: the window is
 * seen and has the focus). What lies below, or comes behind another window, stays unread. What was in view is marked
 * also when another chat has been opened meanwhile. Returns how to stop.
 */
export function readWhatIsSeen(inbox: Inbox, attended: ReadonlySignal<boolean>): () => void {
  /** Up to where each chat has been seen and is not marked yet. */
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
      // Without the right to write there is no use in asking again.
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
    // At the end there is nothing left, not even what an event after the last message has changed.
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
