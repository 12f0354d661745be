import { useEffect } from "preact/hooks";

import type { Message } from "../client";
import type { Address } from "../store/address";
import type { MessageLog } from "../store/messagelog";
import { usePage } from "./context";

/** Duration of a long press. */
const LONG_PRESS_MS = 450;
/** Distance from which on a moved finger scrolls. */
const MOVED_PX = 10;

export function canReply({ deletedAt, seq, type }: Message): boolean {
  return seq > 0 && !deletedAt && type !== "system" && type !== "unknown";
}

export function focusComposer(): void {
  document.getElementById("composer")?.focus();
}

/** How to begin a reply, or `null` without the right to send. Also handles the keys `r` (reply) and Enter (write). */
export function useReplying(address: Address, log: MessageLog): ((messageId: string, focus: boolean) => void) | null {
  const { drafts, overlay, rights } = usePage();
  const may = rights.value.send;
  const { sessionId, chatId } = address;

  useEffect(() => {
    if (!may) return;
    const pressed = (event: KeyboardEvent): void => {
      const target = event.target instanceof HTMLElement ? event.target : null;
      if (event.defaultPrevented || overlay.peek() || event.isComposing || !target) return;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea")) return;
      const focused = target.closest<HTMLElement>("[data-message-id]")?.dataset["messageId"];
      if (event.key === "Enter" && target.matches("main, #messages, [data-message-id]")) focusComposer();
      else if (event.key === "r") {
        const messages = log.shown.peek().filter(canReply);
        const message = messages.find(({ messageId }) => messageId === focused) ?? messages.findLast(({ fromMe }) => !fromMe);
        if (message) drafts.set({ sessionId, chatId }, { replyTo: message.messageId });
        focusComposer();
      } else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, [may, sessionId, chatId, log, drafts, overlay]);

  if (!may) return null;
  return (messageId, focus) => {
    drafts.set(address, { replyTo: messageId });
    if (focus) focusComposer();
  };
}

/** Calls back on a long press. It does not take the focus, so that text selected by it stays selected. */
export function onLongPress(callback: () => void): { onPointerDown: (event: PointerEvent) => void } {
  return {
    onPointerDown: ({ pointerType, clientX, clientY }) => {
      if (pointerType !== "touch") return;
      const over = new AbortController();
      const timer = setTimeout(() => {
        over.abort();
        callback();
      }, LONG_PRESS_MS);
      const stop = (): void => {
        clearTimeout(timer);
        over.abort();
      };
      const { signal } = over;
      for (const name of ["pointerup", "pointercancel"]) addEventListener(name, stop, { signal });
      addEventListener("scroll", stop, { signal, capture: true });
      const moved = (event: PointerEvent): void => {
        if (Math.hypot(event.clientX - clientX, event.clientY - clientY) > MOVED_PX) stop();
      };
      addEventListener("pointermove", moved, { signal });
    },
  };
}
