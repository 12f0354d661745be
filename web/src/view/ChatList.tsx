import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useRef } from "preact/hooks";

import type { Chat } from "../client";
import { goTo } from "../store/route";
import { ChatRow } from "./ChatRow";
import { usePage } from "./context";
import { SearchBar } from "./SearchBar";
import { Still } from "./Still";
import { VirtualList } from "./VirtualList";

const ROW_HEIGHT = 64;
/** Rows that Page Up and Page Down skip. */
const PAGE = 8;

const keyOf = ({ sessionId, chatId }: Pick<Chat, "sessionId" | "chatId">): string => `${sessionId}/${chatId}`;
const rowId = (key: string): string => `chat-${key}`;

export function ChatList(): JSX.Element {
  const { inbox, search, t } = usePage();
  const chats = search.found.value;
  const opened = inbox.opened.value;
  const openKey = opened && keyOf(opened);
  // The row selected with the arrow keys; Enter opens it. Keys may come faster than the page is drawn.
  const active = useSignal<string | null>(null);
  // The arrow keys start at the chat that is, or was last, open.
  const begin = useRef(openKey);
  begin.current = openKey ?? begin.current;
  const filtered = search.narrowed.value;
  const activeId = active.value && chats.some((chat) => keyOf(chat) === active.value) ? rowId(active.value) : null;

  /** `first`: without a selected row, Enter opens the first one, as after a search. */
  const move = (event: KeyboardEvent, first = false): boolean => {
    const from = active.peek() ?? (first ? null : begin.current);
    const at = chats.findIndex((chat) => keyOf(chat) === from);
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE };
    const step = steps[event.key];
    const chosen = chats[first ? Math.max(0, at) : at];
    let to: number | null = null;
    if (step !== undefined) to = Math.max(0, Math.min(chats.length - 1, at < 0 ? 0 : at + step));
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = chats.length - 1;
    else if ((event.key === "Enter" || event.key === " ") && chosen) goTo(chosen);
    else return false;
    event.preventDefault();
    const chat = to === null ? undefined : chats[to];
    if (chat) active.value = keyOf(chat);
    return true;
  };

  return (
    <>
      {(inbox.chats.value.length > 0 || filtered) && <SearchBar activeId={activeId} onMove={(event) => move(event, true)} />}
      <p class="for-ears" role="status">
        {filtered && t("searchFound", { count: chats.length })}
      </p>
      {chats.length === 0 ? (
        <Nothing />
      ) : (
        <VirtualList
          items={chats}
          keyOf={keyOf}
          estimate={ROW_HEIGHT}
          anchor="start"
          revealed={active.value}
          onNearMore={() => inbox.loadMoreChats()}
          scroller={{
            class: "chat-list",
            role: "listbox",
            "aria-label": t("chats"),
            tabIndex: 0,
            id: "chats",
            onKeyDown: (event) => void move(event),
            onBlur: () => (active.value = null),
            ...(activeId && { "aria-activedescendant": activeId }),
          }}
          row={(chat, index) => {
            const key = keyOf(chat);
            const [open, isActive, count] = [key === openKey, key === active.value, chats.length];
            return (
              <Still of={[chat, open, isActive, count, index]}>
                {() => (
                  <ChatRow
                    id={rowId(key)}
                    chat={chat}
                    open={open}
                    active={isActive}
                    count={count}
                    place={index + 1}
                    onOpen={() => goTo(chat)}
                  />
                )}
              </Still>
            );
          }}
        />
      )}
      {search.looking.value && chats.length > 0 && <p class="list-note">{t("searchMore")}</p>}
    </>
  );
}

/** Shown instead of an empty list, with the reason. */
function Nothing(): JSX.Element {
  const { inbox, search, t } = usePage();
  const words = search.words.value.trim();
  if (search.looking.value) {
    return (
      <div class="empty" role="status">
        <p>{t("searchMore")}</p>
      </div>
    );
  }
  if (search.narrowed.value) {
    const none = search.onlyWaiting.value ? "waitingNone" : search.onlyUnread.value ? "unreadNone" : "shownNone";
    return (
      <div class="empty">
        <p dir="auto">{words ? t("searchNone", { text: words }) : t(none)}</p>
        <button type="button" class="plain link" onClick={() => search.clear()}>
          {t("showAll")}
        </button>
      </div>
    );
  }
  return (
    <div class="empty" role="status">
      <p>{t(inbox.ready.value ? "chatsEmpty" : "chatsLoading")}</p>
      {inbox.ready.value && <p class="hint">{t("chatsEmptyHint")}</p>}
    </div>
  );
}
