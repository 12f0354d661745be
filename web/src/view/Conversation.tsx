import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import type { Address } from "../store/address";
import { goTo } from "../store/route";
import { agentName, chatName, isGroup, readableId } from "../text/names";
import { Answering, Spoken, useHeadLine, Viewers } from "./Attendance";
import { Avatar } from "./Avatar";
import { Composer } from "./Composer";
import { usePage } from "./context";
import { Handling } from "./Handling";
import { Icon } from "./icons";
import { Messages } from "./Messages";
import { Notice } from "./Notice";

export function Conversation({ address }: { address: Address }): JSX.Element {
  const { inbox, me, t } = usePage();
  const chat = inbox.openedChat.value;
  const log = inbox.log.value;
  const name = chatName({ chatId: address.chatId, name: chat?.name ?? null }, t);
  const id = readableId(address.chatId, t);
  const main = useRef<HTMLElement>(null);
  // An opened chat gets the focus at once, and not later, when the person may be typing elsewhere.
  useLayoutEffect(() => (document.getElementById("messages") ?? main.current)?.focus({ preventScroll: true }), []);
  const line = useHeadLine(address);
  const assignee = chat?.assignee;
  const whose = assignee && (assignee.id === me.id ? t("assignedToYou") : t("assignedTo", { name: agentName(assignee) }));
  const facts = [whose, name !== id && id, inbox.severalSessions.value && t("session", { name: address.sessionId })];
  return (
    <main class="conversation" ref={main} tabIndex={-1} aria-label={t("messagesOf", { name })}>
      <header class="bar">
        <button type="button" class="plain back" aria-label={t("back")} onClick={() => goTo(null)}>
          <Icon name="back" />
        </button>
        <Avatar id={address.chatId} name={chat?.name ?? null} />
        <div class="bar-words">
          <h2 dir="auto">{name}</h2>
          <p>
            {line && (
              <span class="headline" data-testid="headline" dir="auto">
                {line}
              </span>
            )}
            {line && " · "}
            {facts.filter(Boolean).join(" · ")}
          </p>
        </div>
        <Viewers address={address} />
        {chat && <Handling chat={chat} />}
      </header>
      {log?.ready.value ? (
        <Messages address={address} log={log} chat={chat} group={isGroup(address.chatId)} name={name} />
      ) : (
        <div class="empty" role="status">
          <p>{t("messagesLoading")}</p>
        </div>
      )}
      <Answering address={address} />
      <Spoken address={address} />
      <Notice />
      <Composer address={address} chat={chat} log={log} />
    </main>
  );
}
