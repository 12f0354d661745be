import { useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import type { Chat, Message } from "../client";
import type { Address } from "../store/address";
import type { MessageLog } from "../store/messagelog";
import { isUnread } from "../store/news";
import { asMessage, unsentOf } from "../store/unsentview";
import { today } from "../store/surroundings";
import { startOfDay } from "../text/formats";
import { Bubble } from "./Bubble";
import { usePage } from "./context";
import { Icon } from "./icons";
import { Known, quotedOf } from "./known";
import { useReplying } from "./replying";
import { useSeek } from "./seek";
import { Still } from "./Still";
import { VirtualList, type View } from "./VirtualList";

/** Space above the first unread message, for the separator and the end of the read messages. */
const MARKER_FROM_TOP = 40;

interface Props {
  address: Address;
  log: MessageLog;
  /** `null` while it is not known yet. */
  chat: Chat | null;
  group: boolean;
  name: string;
}

/** The messages of the open chat. */
export function Messages({ address, log, chat, group, name }: Props): JSX.Element {
  const { desk, inbox, t, formats, me } = usePage();
  const list = useRef<VirtualList<Message>>(null);
  const stored = log.shown.value;
  const unsent = unsentOf(desk.unsent.all.value, address, stored);
  const messages = useMemo(() => [...stored, ...unsent.map((one) => asMessage(one, me))], [stored, ...unsent]);
  // The separator above the messages that were unread when the chat was opened. It stays while the chat is open.
  const [marker] = useState(() => {
    const first = chat && chat.unreadCount > 0 && messages.find((message) => isUnread(message, chat.readSeq));
    return first && (first !== messages[0] || !log.hasMore.peek()) ? { ...first, count: chat.unreadCount } : null;
  });
  const [start] = useState(() => {
    const place = log.place && log.has(log.place.key) ? log.place : null;
    const begin = place ?? (marker && { key: marker.messageId, delta: -MARKER_FROM_TOP });
    log.following = begin === null;
    return begin;
  });
  const [atEnd, setAtEnd] = useState(!start);
  // The last message that was visible since the chat was opened.
  const seenUpTo = useSignal(0);
  const newBelow = useComputed(() => {
    const from = Math.max(seenUpTo.value, inbox.openedChat.value?.readSeq ?? 0);
    return log.shown.value.filter((message) => message.seq > from && isUnread(message, 0)).length;
  }).value;
  const seek = useSeek(list);
  const onReply = useReplying(address, log);
  const known = useMemo(() => new Known(messages), [messages]);

  const onFollow = (following: boolean): void => {
    log.following = following;
    setAtEnd(following);
  };

  const onView = ({ last, atEnd: end, place }: View): void => {
    const seq = known.message(last)?.seq;
    if (seq === undefined) return;
    const before = log.inView.peek();
    if (before?.seq !== seq || before.end !== end) log.inView.value = { seq, end };
    if (seq > seenUpTo.peek()) seenUpTo.value = seq;
    log.place = end ? null : place;
  };

  useLayoutEffect(
    () => () => {
      log.inView.value = null;
    },
    [log],
  );

  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      if (!marker || event.key !== "Home" || !event.altKey) return;
      event.preventDefault();
      list.current?.showRow(marker.messageId);
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, [marker]);

  // Focus the messages, unless the focus has left the chat while they were loading.
  useLayoutEffect(() => {
    const scroller = document.getElementById("messages");
    if (document.activeElement?.contains(scroller)) scroller?.focus({ preventScroll: true });
  }, []);

  // Show what the agent has just sent.
  const last = unsent.at(-1)?.clientId;
  useLayoutEffect(() => {
    if (last) list.current?.scrollToEnd();
  }, [last]);

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
        onView={onView}
        start={start}
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
          const unreadFrom = message.seq === marker?.seq;
          const leads = newDay || unreadFrom || !sameWriter(previous, message);
          const found = seek.found === message.messageId;
          const waiting = unsent.find(({ clientId }) => clientId === message.messageId) ?? null;
          const original = message.replyTo && known.message(message.replyTo.messageId);
          return (
            <>
              {newDay && (
                <p class="day" data-testid="day">
                  <time dateTime={message.timestamp.slice(0, 10)}>{formats.day(message.timestamp, today.value)}</time>
                </p>
              )}
              {unreadFrom && <p class="unread-line">{t("newBelow", { count: marker.count })}</p>}
              <Still of={[message, leads, found, original, onReply === null]}>
                {() => (
                  <Bubble
                    message={message}
                    leads={leads}
                    named={leads && group && !message.fromMe && message.type !== "system"}
                    quoted={quotedOf(message.replyTo, known, t)}
                    found={found}
                    onQuote={seek.to}
                    onReply={onReply}
                    unsent={waiting}
                  />
                )}
              </Still>
            </>
          );
        }}
      />
      <p class="seek-note" role="status">
        {seek.note && <span>{t(seek.note)}</span>}
      </p>
      {!atEnd && (
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

function sameWriter(one: Message, other: Message): boolean {
  return one.fromMe === other.fromMe && one.sender.id === other.sender.id && one.author?.id === other.author?.id;
}

function dayOf(message: Message): number {
  return startOfDay(Date.parse(message.timestamp));
}
