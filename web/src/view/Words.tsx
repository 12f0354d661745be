import type { JSX } from "preact";

import { linked } from "../text/links";

/** A message's text, with links to web and mail addresses. */
export function Words({ text }: { text: string }): JSX.Element {
  return (
    <span class="text" dir="auto">
      {linked(text).map(({ text: words, href }) =>
        href ? (
          <a href={href} target="_blank" rel="noopener noreferrer" dir="auto">
            {words}
          </a>
        ) : (
          words
        ),
      )}
    </span>
  );
}
