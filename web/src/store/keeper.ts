import { effect } from "@preact/signals";

import type { Cache } from "./cache";
import type { Inbox } from "./inbox";

/** As often at most, while messages pour in. */
const APART_MS = 2_000;

/** Keeps what the inbox knows for the next time. Returns how to stop. */
export function keep(inbox: Inbox, cache: Pick<Cache, "write">): () => void {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const write = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    const sessions = inbox.saved();
    if (sessions.length > 0) cache.write(sessions).catch(() => undefined); // without it all goes on
  };
  const stop = effect(() => {
    if (inbox.connection.value.name === "unauthorized") {
      // Whoever is signed out leaves nothing behind.
      if (timer !== null) clearTimeout(timer);
      timer = null;
      return;
    }
    const changed = inbox.ready.value && inbox.chats.value && (inbox.log.value?.messages.value ?? true);
    if (changed) timer ??= setTimeout(write, APART_MS);
  });
  // A tab that is left may not be there any more when the time comes.
  const left = (): void => {
    if (timer !== null) write();
  };
  document.addEventListener("visibilitychange", left);
  addEventListener("pagehide", left);
  return () => {
    stop();
    if (timer !== null) clearTimeout(timer);
    document.removeEventListener("visibilitychange", left);
    removeEventListener("pagehide", left);
  };
}
