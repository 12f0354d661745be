import type { JSX } from "preact";
import { useEffect, useLayoutEffect } from "preact/hooks";

import { goTo } from "../store/route";
import { Announcer } from "./Announcer";
import { ChatList } from "./ChatList";
import { Connection } from "./Connection";
import { usePage } from "./context";
import { Conversation } from "./Conversation";
import { Icon } from "./icons";

export function App(): JSX.Element {
  const { inbox, t, agent, signOut } = usePage();
  const opened = inbox.opened.value;

  useEffect(() => {
    const leave = (event: KeyboardEvent): void => {
      if (event.key === "Escape" && !event.defaultPrevented && inbox.opened.peek()) goTo(null);
    };
    document.addEventListener("keydown", leave);
    return () => document.removeEventListener("keydown", leave);
  }, [inbox]);

  // The focus that was in a chat is not lost with it.
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
          {agent && (
            <span class="agent" dir="auto">
              {agent}
            </span>
          )}
          <button type="button" class="plain" aria-label={t("signOut")} title={t("signOut")} onClick={signOut}>
            <Icon name="exit" />
          </button>
        </header>
        <ChatList />
      </nav>
      {opened ? (
        <Conversation key={`${opened.sessionId}/${opened.chatId}`} address={opened} />
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
    </div>
  );
}
