import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import type { Address } from "../store/address";
import { goTo } from "../store/route";
import { chatName, isGroup, readableId } from "../text/names";
import { Avatar } from "./Avatar";
import { usePage } from "./context";
import { Icon } from "./icons";
import { Messages } from "./Messages";

export function Conversation({ address }: { address: Address }): JSX.Element {
  const { inbox, t } = usePage();
  const chat = inbox.openedChat.value;
  const log = inbox.log.value;
  const name = chatName({ chatId: address.chatId, name: chat?.name ?? null }, t);
  const id = readableId(address.chatId, t);
  const main = useRef<HTMLElement>(null);
  // An opened chat gets the focus at once, and not later, when the person may be typing elsewhere.
  useLayoutEffect(() => (document.getElementById("messages") ?? main.current)?.focus({ preventScroll: true }), []);
  const facts = [name !== id && id, inbox.severalSessions.value && t("session", { name: address.sessionId })];
  return (
    <main class="conversation" ref={main} tabIndex={-1} aria-label={t("messagesOf", { name })}>
      <header class="bar">
        <button type="button" class="plain back" aria-label={t("back")} onClick={() => goTo(null)}>
          <Icon name="back" />
        </button>
        <Avatar id={address.chatId} name={chat?.name ?? null} />
        <div class="bar-words">
          <h2 dir="auto">{name}</h2>
          <p>{facts.filter(Boolean).join(" · ")}</p>
        </div>
      </header>
      {log?.ready.value ? (
        <Messages log={log} chat={chat} group={isGroup(address.chatId)} name={name} />
      ) : (
        <div class="empty" role="status">
          <p>{t("messagesLoading")}</p>
        </div>
      )}
    </main>
  );
}
