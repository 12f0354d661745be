import type { JSX } from "preact";

import type { Message } from "../client";
import { hueOf, readableId } from "../text/names";
import { usePage } from "./context";

interface Props {
  replyTo: NonNullable<Message["replyTo"]>;
  name: string | null;
  onQuote: (messageId: string) => void;
}

/** What is answered to; it leads there. */
export function Quote({ replyTo, name, onQuote }: Props): JSX.Element {
  const { t } = usePage();
  const { messageId, senderId, text } = replyTo;
  const who = name ?? (senderId && senderId.includes("@") ? readableId(senderId, t) : null);
  return (
    <button
      type="button"
      class="quote"
      title={t("quotedGo")}
      style={{ "--hue": String(hueOf(senderId ?? "")) }}
      onClick={() => onQuote(messageId)}
    >
      <span class="for-ears">{t("quoted")}: </span>
      {who && (
        <span class="quote-name" dir="auto">
          {who}
        </span>
      )}
      <span class="quote-text" dir="auto">
        {text || t("quotedUnknown")}
      </span>
    </button>
  );
}
