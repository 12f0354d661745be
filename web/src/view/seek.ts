import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import type { Message } from "../client";
import type { TextKey } from "../text/en";
import { usePage } from "./context";
import type { VirtualList } from "./VirtualList";

/** How long a found message is highlighted, or the failure is shown. */
const SHOWN_MS = 2_500;

interface Seek {
  /** The found message. */
  found: string | null;
  note: TextKey | null;
  to: (messageId: string) => void;
}

/** Goes from a quote to its original, however far back it is. */
export function useSeek(list: RefObject<VirtualList<Message> | null>): Seek {
  const { inbox } = usePage();
  const [found, setFound] = useState<{ messageId: string } | null>(null);
  const [note, setNote] = useState<TextKey | null>(null);
  const latest = useRef("");

  // The page with it has been drawn by now.
  useLayoutEffect(() => {
    if (found) list.current?.showRow(found.messageId);
  }, [found, list]);

  useEffect(() => {
    if (!found && note !== "seekMissing") return;
    const timer = setTimeout(() => {
      setFound(null);
      setNote(null);
    }, SHOWN_MS);
    return () => clearTimeout(timer);
  }, [found, note]);

  const to = async (messageId: string): Promise<void> => {
    latest.current = messageId;
    setNote(inbox.log.peek()?.has(messageId) ? null : "seeking");
    const there = await inbox.seek(messageId).catch(() => false);
    // Another message was requested meanwhile, or another chat was opened.
    if (latest.current !== messageId || there === null) return;
    setNote(there ? null : "seekMissing");
    setFound(there ? { messageId } : null);
  };
  const newest = useRef(to);
  newest.current = to;
  const [stable] = useState(() => (messageId: string) => void newest.current(messageId));
  return { found: found?.messageId ?? null, note, to: stable };
}
