import type { JSX } from "preact";

import { usePage } from "./context";
import { Icon } from "./icons";

interface Props {
  /** The row selected with the keys. */
  activeId: string | null;
  /** Handles keys that move through the list. Returns whether it was one. */
  onMove: (event: KeyboardEvent) => boolean;
}

/** Search and filter of the list. */
export function SearchBar({ activeId, onMove }: Props): JSX.Element {
  const { search, t } = usePage();
  const { words, onlyUnread } = search;
  const typed = (event: KeyboardEvent): void => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      if (words.peek()) words.value = "";
      else document.getElementById("chats")?.focus({ preventScroll: true });
    } else if (["ArrowDown", "ArrowUp", "Enter", "PageDown", "PageUp"].includes(event.key)) onMove(event);
  };
  return (
    <search class="search-bar">
      <span class="search-field">
        <Icon name="search" />
        <input
          id="search"
          type="search"
          role="searchbox"
          dir="auto"
          value={words.value}
          placeholder={t("search")}
          aria-label={t("searchHint")}
          {...(activeId && { "aria-activedescendant": activeId })}
          autocomplete="off"
          spellcheck={false}
          enterkeyhint="search"
          onInput={(event) => (words.value = event.currentTarget.value)}
          onKeyDown={typed}
        />
        {words.value && (
          <button type="button" class="plain" aria-label={t("searchClear")} onClick={() => (words.value = "")}>
            <Icon name="close" />
          </button>
        )}
      </span>
      <button
        type="button"
        class="chip"
        aria-pressed={onlyUnread.value}
        title={t("onlyUnreadHint")}
        onClick={() => (onlyUnread.value = !onlyUnread.peek())}
      >
        {t("onlyUnread")}
      </button>
    </search>
  );
}
