import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import type { Message } from "../client";
import type { TextKey } from "../text/en";
import { usePage } from "./context";
import type { VirtualList } from "./VirtualList";

/** How long a message that was looked for, or the news that there is none, can be seen. */
const SHOWN_MS = 2_500;

interface Seek {
  /** The message that was looked for and is there. */
  found: string | null;
  note: TextKey | null;
  to: (messageId: string) => void;
}

/** The way from a quote to its original, however far back it lies. */
export function useSeek(list: RefObject<VirtualList<Message> | null>): Seek {
  const { inbox } = usePage();
  const [found, setFound] = useState<{ messageId: string } | null>(null);
  const [note, setNote] = useState<TextKey | null>(null);
  const latest = useRef("");

  // The page that brought it has been drawn by now.
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
    // Another one has been asked for meanwhile, or another chat.
    if (latest.current !== messageId || there === null) return;
    setNote(there ? null : "seekMissing");
    setFound(there ? { messageId } : null);
  };
  const newest = useRef(to);
  newest.current = to;
  const [stable] = useState(() => (messageId: string) => void newest.current(messageId));
  return { found: found?.messageId ?? null, note, to: stable };
}
