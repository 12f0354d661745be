import type { JSX } from "preact";
import { useComputed } from "@preact/signals";

import { newsOf } from "../store/news";
import { chatName, senderName } from "../text/names";
import { summary } from "../text/summary";
import { usePage } from "./context";

/** Announces incoming messages to screen readers, politely. */
export function Announcer(): JSX.Element {
  const { inbox, t } = usePage();
  const words = useComputed(() => {
    const event = inbox.latest.value;
    // Missed messages are on the page; reading them all out would take too long.
    const message = newsOf(event);
    if (!event || !message || message.fromMe || inbox.connection.peek().name !== "connected") return "";
    const here = inbox.opened.peek();
    const open = here?.chatId === event.chatId && here.sessionId === event.sessionId;
    const name = open ? senderName(message, t) : chatName(event.chat, t);
    return t("announce", { name, text: summary(message, t) });
  });
  return (
    <p class="for-ears" role="log" aria-live="polite" data-testid="announcer">
      {words}
    </p>
  );
}
