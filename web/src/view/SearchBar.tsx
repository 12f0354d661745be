import type { Signal } from "@preact/signals";
import type { JSX } from "preact";

import type { Whose } from "../store/search";
import type { TextKey } from "../text/en";
import { usePage } from "./context";
import { Icon } from "./icons";

interface Props {
  /** The row selected with the keys. */
  activeId: string | null;
  /** Handles keys that move through the list. Returns whether it was one. */
  onMove: (event: KeyboardEvent) => boolean;
}

const WHOSE: readonly [Whose, TextKey][] = [
  ["all", "shownAll"],
  ["mine", "shownMine"],
  ["unassigned", "shownUnassigned"],
];

/** Search and filter of the list. */
export function SearchBar({ activeId, onMove }: Props): JSX.Element {
  const { search, t } = usePage();
  const { words, onlyUnread, onlyWaiting, whose } = search;
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
      <div class="search-line">
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
        <Toggle on={onlyUnread} text={t("onlyUnread")} hint={t("onlyUnreadHint")} />
      </div>
      <div class="search-line">
        <span class="segments" role="group" aria-label={t("shown")}>
          {WHOSE.map(([value, text]) => (
            <button type="button" class="chip" aria-pressed={whose.value === value} onClick={() => (whose.value = value)}>
              {t(text)}
            </button>
          ))}
        </span>
        <Toggle on={onlyWaiting} text={t("waiting")} hint={t("waitingHint")} />
      </div>
    </search>
  );
}

function Toggle({ on, text, hint }: { on: Signal<boolean>; text: string; hint: string }): JSX.Element {
  return (
    <button type="button" class="chip" aria-pressed={on.value} title={hint} onClick={() => (on.value = !on.peek())}>
      {text}
    </button>
  );
}
