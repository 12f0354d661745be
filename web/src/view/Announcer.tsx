import type { JSX } from "preact";
import { useComputed } from "@preact/signals";

import { newsOf } from "../store/news";
import { chatName, senderName } from "../text/names";
import { summary } from "../text/summary";
import { usePage } from "./context";
import { failure, refusal } from "./Fate";

/** Announces incoming messages, and the agent's own that could not be sent, to screen readers, politely. */
export function Announcer(): JSX.Element {
  const { desk, inbox, me, t } = usePage();
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
  const failed = useComputed(() => {
    const refused = desk.unsent.all.value.find((unsent) => unsent.refused)?.refused;
    if (refused) return refusal(refused.code, refused.other, t);
    const event = inbox.latest.value;
    if (event?.event !== "message_updated" || event.message.author?.id !== me.id) return "";
    return event.message.status === "failed" && !event.message.deletedAt ? failure(event.message, t) : "";
  });
  return (
    <p class="for-ears" role="log" aria-live="polite" data-testid="announcer">
      {words}
      {failed}
    </p>
  );
}
