import type { JSX } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import type { Message } from "../client";
import type { MessageLog } from "../store/messagelog";
import { today } from "../store/surroundings";
import { startOfDay } from "../text/formats";
import type { Translate } from "../text/language";
import { readableId, senderName } from "../text/names";
import { summary } from "../text/summary";
import { Bubble } from "./Bubble";
import { usePage } from "./context";
import { Icon } from "./icons";
import type { Quoted } from "./Quote";
import { useSeek } from "./seek";
import { VirtualList } from "./VirtualList";

interface Props {
  log: MessageLog;
  readSeq: number | null;
  group: boolean;
  name: string;
}

/** The messages of the open chat. */
export function Messages({ log, readSeq, group, name }: Props): JSX.Element {
  const { inbox, t, formats } = usePage();
  const list = useRef<VirtualList<Message>>(null);
  const { shown: messages, reactions } = log.reacted.value;
  // The line above what was unread when the chat was opened. It stays while the chat is open.
  const [marker] = useState(() =>
    messages.find(({ fromMe, seq }) => !fromMe && readSeq !== null && seq > readSeq)?.seq ?? null,
  );
  // The last message that was there when the end was left; null while it is in view.
  const [leftAt, setLeftAt] = useState<number | null>(null);
  const newBelow = leftAt === null ? 0 : messages.filter(({ seq, fromMe }) => seq > leftAt && !fromMe).length;
  const seek = useSeek(list);
  const names = useMemo(() => namesOf(messages, t), [messages, t]);
  const known = useMemo(() => new Map(messages.map((message) => [message.messageId, message])), [messages]);

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
              <Bubble
                message={message}
                leads={leads}
                named={leads && group && !message.fromMe && message.type !== "system"}
                quoted={quotedOf(message, known, names, t)}
                reactions={reactions.get(message.messageId) ?? null}
                found={seek.found === message.messageId}
                onQuote={seek.to}
              />
            </>
          );
        }}
      />
      <p class="seek-note" role="status">
        {seek.note && <span>{t(seek.note)}</span>}
      </p>
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

/** What people are called in this chat, by their address. */
function namesOf(messages: readonly Message[], t: Translate): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const message of messages) {
    if (message.fromMe || message.sender.name) names.set(message.sender.id, senderName(message, t));
  }
  return names;
}

/** What is quoted, by whom and in which words: the original knows best, where it is here. */
function quotedOf(
  { replyTo }: Message,
  known: ReadonlyMap<string, Message>,
  names: ReadonlyMap<string, string>,
  t: Translate,
): Quoted | null {
  if (!replyTo) return null;
  const { messageId, senderId, text } = replyTo;
  const original = known.get(messageId);
  const address = senderId?.includes("@") ? readableId(senderId, t) : null;
  return {
    messageId,
    hue: original?.sender.id ?? senderId ?? "",
    name: original ? senderName(original, t) : ((senderId && names.get(senderId)) ?? address),
    text: original ? summary(original, t) : text || t("quotedUnknown"),
  };
}

function dayOf(message: Message): number {
  return startOfDay(Date.parse(message.timestamp));
}

function countFrom(messages: readonly Message[], index: number): number {
  return messages.slice(index).filter(({ fromMe }) => !fromMe).length;
}
