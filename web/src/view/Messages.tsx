import { useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import type { Chat, Message } from "../client";
import type { MessageLog } from "../store/messagelog";
import { isUnread } from "../store/news";
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
import { Still } from "./Still";
import { VirtualList, type View } from "./VirtualList";

/** Space above the first unread message, for the separator and the end of the read messages. */
const MARKER_FROM_TOP = 40;

interface Props {
  log: MessageLog;
  /** `null` while it is not known yet. */
  chat: Chat | null;
  group: boolean;
  name: string;
}

/** The messages of the open chat. */
export function Messages({ log, chat, group, name }: Props): JSX.Element {
  const { inbox, t, formats } = usePage();
  const list = useRef<VirtualList<Message>>(null);
  const messages = log.shown.value;
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
          const leads = newDay || unreadFrom || previous.fromMe !== message.fromMe || previous.sender.id !== message.sender.id;
          const found = seek.found === message.messageId;
          const original = message.replyTo && known.message(message.replyTo.messageId);
          return (
            <>
              {newDay && (
                <p class="day" data-testid="day">
                  <time dateTime={message.timestamp.slice(0, 10)}>{formats.day(message.timestamp, today.value)}</time>
                </p>
              )}
              {unreadFrom && <p class="unread-line">{t("newBelow", { count: marker.count })}</p>}
              <Still of={[message, leads, found, original]}>
                {() => (
                  <Bubble
                    message={message}
                    leads={leads}
                    named={leads && group && !message.fromMe && message.type !== "system"}
                    quoted={quotedOf(message, known, t)}
                    found={found}
                    onQuote={seek.to}
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

/** Messages by id and names by address, made only if there is a quote. */
class Known {
  private readonly byId: () => ReadonlyMap<string, Message>;
  private readonly bySender: () => ReadonlyMap<string, Message>;

  constructor(messages: readonly Message[]) {
    this.byId = lazy(() => new Map(messages.map((message) => [message.messageId, message])));
    this.bySender = lazy(() => {
      const named = messages.filter(({ fromMe, sender }) => fromMe || sender.name);
      return new Map(named.map((message) => [message.sender.id, message]));
    });
  }

  message(id: string): Message | undefined {
    return this.byId().get(id);
  }

  /** A message of each sender, for the name. */
  someOf(senderId: string): Message | undefined {
    return this.bySender().get(senderId);
  }
}

function lazy<Value>(make: () => Value): () => Value {
  let made: { value: Value } | null = null;
  return () => (made ??= { value: make() }).value;
}

/** The quoted text and its author, from the original message if it is loaded. */
function quotedOf({ replyTo }: Message, known: Known, t: Translate): Quoted | null {
  if (!replyTo) return null;
  const { messageId, senderId, text } = replyTo;
  const original = known.message(messageId);
  const byThem = original ?? (senderId ? known.someOf(senderId) : undefined);
  const address = senderId?.includes("@") ? readableId(senderId, t) : null;
  return {
    messageId,
    hue: original?.sender.id ?? senderId ?? "",
    name: byThem ? senderName(byThem, t) : address,
    text: original ? summary(original, t) : text || t("quotedUnknown"),
  };
}

function dayOf(message: Message): number {
  return startOfDay(Date.parse(message.timestamp));
}
