import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useRef } from "preact/hooks";

import type { Chat } from "../client";
import { goTo } from "../store/route";
import { ChatRow } from "./ChatRow";
import { usePage } from "./context";
import { VirtualList } from "./VirtualList";

const ROW_HEIGHT = 64;
/** Rows that Page Up and Page Down skip. */
const PAGE = 8;

const keyOf = ({ sessionId, chatId }: Pick<Chat, "sessionId" | "chatId">): string => `${sessionId}/${chatId}`;

export function ChatList(): JSX.Element {
  const { inbox, t } = usePage();
  const chats = inbox.chats.value;
  const opened = inbox.opened.value;
  const openKey = opened && keyOf(opened);
  // What the arrow keys have come to; Enter opens it. Keys may come faster than the page is drawn.
  const active = useSignal<string | null>(null);
  // Where the arrow keys begin: at the chat that is, or was last, open.
  const begin = useRef(openKey);
  begin.current = openKey ?? begin.current;
  const rowId = (key: string): string => `chat-${key}`;

  if (chats.length === 0) {
    return (
      <div class="empty" role="status">
        <p>{t(inbox.ready.value ? "chatsEmpty" : "chatsLoading")}</p>
        {inbox.ready.value && <p class="hint">{t("chatsEmptyHint")}</p>}
      </div>
    );
  }

  const move = (event: KeyboardEvent): void => {
    const at = chats.findIndex((chat) => keyOf(chat) === (active.peek() ?? begin.current));
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE };
    const step = steps[event.key];
    let to: number | null = null;
    if (step !== undefined) to = Math.max(0, Math.min(chats.length - 1, at < 0 ? 0 : at + step));
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = chats.length - 1;
    else if ((event.key === "Enter" || event.key === " ") && chats[at]) goTo(chats[at]);
    else return;
    event.preventDefault();
    const chat = to === null ? undefined : chats[to];
    if (chat) active.value = keyOf(chat);
  };

  return (
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
        onKeyDown: move,
        onBlur: () => (active.value = null),
        ...(active.value && { "aria-activedescendant": rowId(active.value) }),
      }}
      row={(chat, index) => {
        const key = keyOf(chat);
        return (
          <ChatRow
            id={rowId(key)}
            chat={chat}
            open={key === openKey}
            active={key === active.value}
            count={chats.length}
            place={index + 1}
            onOpen={() => goTo(chat)}
          />
        );
      }}
    />
  );
}
