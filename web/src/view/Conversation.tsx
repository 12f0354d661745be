import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import type { Message } from "../client";
import type { Address } from "../store/inbox";
import type { MessageLog } from "../store/messagelog";
import { goTo } from "../store/route";
import { today } from "../store/surroundings";
import { startOfDay } from "../text/formats";
import { chatName, isGroup, readableId } from "../text/names";
import { Avatar } from "./Avatar";
import { Bubble } from "./Bubble";
import { usePage } from "./context";
import { Icon } from "./icons";
import { VirtualList } from "./VirtualList";

export function Conversation({ address }: { address: Address }): JSX.Element {
  const { inbox, t } = usePage();
  const chat = inbox.openedChat.value;
  const log = inbox.log.value;
  const name = chatName({ chatId: address.chatId, name: chat?.name ?? null }, t);
  const id = readableId(address.chatId, t);
  const facts = [name !== id && id, inbox.severalSessions.value && t("session", { name: address.sessionId })];
  return (
    <main class="conversation" aria-label={t("messagesOf", { name })}>
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
      {log?.loaded.value ? (
        <Messages log={log} readSeq={chat?.readSeq ?? null} group={isGroup(address.chatId)} name={name} />
      ) : (
        <div class="empty" role="status">
          <p>{t("messagesLoading")}</p>
        </div>
      )}
    </main>
  );
}

interface MessagesProps {
  log: MessageLog;
  readSeq: number | null;
  group: boolean;
  name: string;
}

function Messages({ log, readSeq, group, name }: MessagesProps): JSX.Element {
  const { inbox, t, formats } = usePage();
  const list = useRef<VirtualList<Message>>(null);
  const messages = log.messages.value;
  // The line above what was unread when the chat was opened. It stays while the chat is open.
  const [marker] = useState(() =>
    messages.find(({ fromMe, seq }) => !fromMe && readSeq !== null && seq > readSeq)?.seq ?? null,
  );
  // The last message that was there when the end was left; null while it is in view.
  const [leftAt, setLeftAt] = useState<number | null>(null);
  const newBelow = leftAt === null ? 0 : messages.filter(({ seq, fromMe }) => seq > leftAt && !fromMe).length;

  const onFollow = (following: boolean): void => {
    log.following = following;
    setLeftAt(following ? null : (log.messages.peek().at(-1)?.seq ?? 0));
  };

  // A chat that is opened is read by the keyboard from there.
  useLayoutEffect(() => document.getElementById("messages")?.focus({ preventScroll: true }), []);

  if (messages.length === 0) {
    return (
      <div class="empty" role="status">
        <p>{t("messagesEmpty")}</p>
      </div>
    );
  }

  return (
    <div class="messages">
      <VirtualList
        self={list}
        items={messages}
        keyOf={({ messageId }) => messageId}
        estimate={52}
        anchor="end"
        onNearMore={() => inbox.loadOlder()}
        onFollow={onFollow}
        before={<p class="older">{t(log.hasMore.value ? "olderLoading" : "beginning")}</p>}
        scroller={{
          id: "messages",
          class: "message-list",
          role: "region",
          "aria-label": t("messagesOf", { name }),
          tabIndex: 0,
        }}
        row={(message, index) => {
          const previous = messages[index - 1];
          const newDay = !previous || dayOf(previous) !== dayOf(message);
          const unreadFrom = message.seq === marker;
          const leads = newDay || unreadFrom || previous.fromMe !== message.fromMe || previous.sender.id !== message.sender.id;
          return (
            <>
              {newDay && (
                <p class="day" data-testid="day">
                  <time dateTime={message.timestamp.slice(0, 10)}>{formats.day(message.timestamp, today.value)}</time>
                </p>
              )}
              {unreadFrom && <p class="unread-line">{t("newBelow", { count: countFrom(messages, index) })}</p>}
              <Bubble message={message} leads={leads} named={leads && group && !message.fromMe && message.type !== "system"} />
            </>
          );
        }}
      />
      {leftAt !== null && (
        <button
          type="button"
          class={`to-newest ${newBelow > 0 ? "has-news" : ""}`}
          aria-label={newBelow > 0 ? t("newBelow", { count: newBelow }) : t("toNewest")}
          onClick={() => list.current?.scrollToEnd()}
        >
          {newBelow > 0 && <span>{t("newBelow", { count: newBelow })}</span>}
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}

function dayOf(message: Message): number {
  return startOfDay(Date.parse(message.timestamp));
}

function countFrom(messages: readonly Message[], index: number): number {
  return messages.slice(index).filter(({ fromMe }) => !fromMe).length;
}
