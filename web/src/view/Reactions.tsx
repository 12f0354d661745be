import type { JSX } from "preact";

import type { Reaction } from "../client";
import { personName } from "../text/names";
import { usePage } from "./context";

/** The reactions to a message, most frequent first. */
export function Reactions({ reactions }: { reactions: readonly Reaction[] }): JSX.Element {
  const { t } = usePage();
  const byEmoji = new Map<string, string[]>();
  for (const { emoji, fromMe, sender } of reactions) {
    byEmoji.set(emoji, [...(byEmoji.get(emoji) ?? []), personName(fromMe, sender, t)]);
  }
  const counted = [...byEmoji].sort(([, a], [, b]) => b.length - a.length);
  return (
    <ul class="reactions" aria-label={t("reactions")} data-testid="reactions">
      {counted.map(([emoji, people]) => {
        const words = t("reactionBy", { emoji, names: people.join(", ") });
        return (
          <li key={emoji} title={words}>
            <span aria-hidden="true">
              {emoji}
              {people.length > 1 && <span class="reaction-count">{people.length}</span>}
            </span>
            <span class="for-ears">{words}</span>
          </li>
        );
      })}
    </ul>
  );
}
