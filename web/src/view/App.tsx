import type { JSX } from "preact";
import { useEffect, useLayoutEffect } from "preact/hooks";

import type { Address } from "../store/address";
import { goTo } from "../store/route";
import { agentName } from "../text/names";
import { Announcer } from "./Announcer";
import { Accounts, Team } from "./Attendance";
import { ChatList } from "./ChatList";
import { Connection } from "./Connection";
import { usePage, type Page } from "./context";
import { Conversation } from "./Conversation";
import { Icon } from "./icons";
import { Overlays } from "./Overlays";

export function App(): JSX.Element {
  const page = usePage();
  const { inbox, t, me, overlay, signOut } = page;
  const agent = agentName(me);
  const opened = inbox.opened.value;
  useKeys(page);

  // Keep the focus when the chat that had it is closed.
  useLayoutEffect(() => {
    if (!opened && document.activeElement === document.body) {
      document.getElementById("chats")?.focus({ preventScroll: true });
    }
  }, [opened]);

  return (
    <div class="app" data-view={opened ? "chat" : "list"}>
      <nav class="sidebar" aria-label={t("chats")}>
        <header class="bar">
          <h1>{t("chats")}</h1>
          <Team />
          {agent && (
            <span class="agent" dir="auto">
              {agent}
            </span>
          )}
          <span class="bar-buttons">
            <BarButton icon="bell" name={t("preferences")} onClick={() => (overlay.value = { name: "preferences" })} />
            <BarButton icon="help" name={t("help")} onClick={() => (overlay.value = { name: "help" })} />
            <BarButton icon="exit" name={t("signOut")} onClick={signOut} />
          </span>
        </header>
        <Accounts />
        <ChatList />
      </nav>
      {opened ? (
        <Conversation key={inbox.visit.value} address={opened} />
      ) : (
        <main class="conversation nothing-open">
          <div class="empty">
            <Icon name="chat" />
            <p>{t("chooseChat")}</p>
            <p class="hint">{t("chooseChatHint")}</p>
          </div>
        </main>
      )}
      <Connection />
      <Announcer />
      <Overlays />
    </div>
  );
}

function BarButton({ icon, name, onClick }: { icon: "bell" | "help" | "exit"; name: string; onClick: () => void }): JSX.Element {
  return (
    <button type="button" class="plain" aria-label={name} title={name} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}

/** After the list has been drawn. */
const HIDDEN_MS = 100;

/** The global keys. */
function useKeys({ inbox, overlay, search }: Page): void {
  /** The next unread chat of the list in this direction, wrapping around at the end. `from` the end: the oldest. */
  const toUnread = (step: 1 | -1, fromEnd: boolean): void => {
    const chats = search.found.peek();
    const opened = inbox.opened.peek();
    const isOpen = ({ sessionId, chatId }: Address): boolean => sessionId === opened?.sessionId && chatId === opened.chatId;
    const at = fromEnd ? chats.length : chats.findIndex(isOpen);
    for (let n = 1; n <= chats.length; n += 1) {
      const chat = chats.at((Math.max(at, step === 1 ? -1 : 0) + step * n) % chats.length);
      if (chat && chat.unreadCount > 0 && !isOpen(chat)) return goTo(chat);
    }
  };

  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      // Not while an overlay is open, in text fields, and during input method composition.
      if (event.defaultPrevented || overlay.peek() || event.isComposing) return;
      if (event.ctrlKey || event.metaKey) return;
      if (event.altKey) {
        if (event.key === "ArrowDown") toUnread(event.shiftKey ? -1 : 1, event.shiftKey);
        else if (event.key === "ArrowUp") toUnread(-1, false);
        else return;
        return event.preventDefault();
      }
      const writing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
      if (event.key === "Escape" && inbox.opened.peek()) goTo(null);
      else if (event.key === "/" && !writing) {
        // On a narrow screen the list is hidden behind the chat.
        const search = document.getElementById("search");
        const hidden = search && getComputedStyle(search).visibility === "hidden";
        if (hidden) goTo(null);
        // At once if possible, so that fast typing is not lost.
        if (hidden) setTimeout(() => search.focus(), HIDDEN_MS);
        else search?.focus();
      } else if (event.key === "?" && !writing) overlay.value = { name: "help" };
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, [inbox, overlay, search]);
}
