import type { JSX } from "preact";

import { hueOf } from "../text/names";
import { usePage } from "./context";

/** A quoted message. */
export interface Quoted {
  messageId: string;
  /** The address that determines its colour. */
  hue: string;
  name: string | null;
  text: string;
}

interface Props {
  quoted: Quoted;
  onQuote: (messageId: string) => void;
}

/** A quote, which leads to the original. */
export function Quote({ quoted: { messageId, hue, name, text }, onQuote }: Props): JSX.Element {
  const { t } = usePage();
  return (
    <button
      type="button"
      class="quote"
      title={t("quotedGo")}
      style={{ "--hue": String(hueOf(hue)) }}
      onClick={() => onQuote(messageId)}
    >
      <span class="for-ears">{t("quoted")}: </span>
      {name && (
        <span class="quote-name" dir="auto">
          {name}
        </span>
      )}
      <span class="quote-text" dir="auto">
        {text}
      </span>
    </button>
  );
}
