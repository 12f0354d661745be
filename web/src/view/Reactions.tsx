import type { JSX } from "preact";

import type { Reaction } from "../store/reactions";
import { senderName } from "../text/names";
import { usePage } from "./context";

/** What people think of a message, at its lower edge. */
export function Reactions({ reactions }: { reactions: readonly Reaction[] }): JSX.Element | null {
  const { t } = usePage();
  if (reactions.length === 0) return null;
  return (
    <ul class="reactions" aria-label={t("reactions")} data-testid="reactions">
      {reactions.map(({ emoji, by }) => {
        const names = by.map((message) => senderName(message, t)).join(", ");
        const words = t("reactionBy", { emoji, names });
        return (
          <li key={emoji} title={words}>
            <span aria-hidden="true">
              {emoji}
              {by.length > 1 && <span class="reaction-count">{by.length}</span>}
            </span>
            <span class="for-ears">{words}</span>
          </li>
        );
      })}
    </ul>
  );
}
