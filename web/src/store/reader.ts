import { effect, signal, type ReadonlySignal } from "@preact/signals";

import { hasCode } from "../client";
import type { Inbox } from "./inbox";

/** In a lively chat not every message is marked for itself. */
const APART_MS = 250;
/** After a failure. */
const AGAIN_MS = 3_000;

/** Marks the open chat as read, and what comes into it while somebody looks. Returns how to stop. */
export function readWhatIsSeen(inbox: Inbox, visible: ReadonlySignal<boolean>): () => void {
  const busy = signal(false);
  let allowed = true;
  return effect(() => {
    const chat = inbox.openedChat.value;
    const seen = visible.value && inbox.log.value?.loaded.value && inbox.connection.value.name === "connected";
    if (!allowed || busy.value || !seen || !chat || chat.unreadCount === 0) return;
    busy.value = true;
    inbox.markRead(chat).then(
      () => setTimeout(() => (busy.value = false), APART_MS),
      (error: unknown) => {
        // Without the right to write there is no use in asking again.
        allowed = !hasCode(error, "forbidden", "unknown_event", "invalid");
        setTimeout(() => (busy.value = false), AGAIN_MS);
      },
    );
  });
}
