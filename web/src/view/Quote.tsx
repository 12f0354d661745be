import type { JSX } from "preact";

import { hueOf } from "../text/names";
import { usePage } from "./context";

/** What is answered to. */
export interface Quoted {
  messageId: string;
  /** Whose colour it has. */
  hue: string;
  name: string | null;
  text: string;
}

interface Props {
  quoted: Quoted;
  onQuote: (messageId: string) => void;
}

/** It leads to the original. */
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
