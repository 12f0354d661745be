import { useComputed } from "@preact/signals";
import type { JSX } from "preact";

import type { Chat } from "../client";
import { now } from "../store/surroundings";
import { agentName, chatName } from "../text/names";
import { lastLine } from "../text/summary";
import { useRowLine } from "./Attendance";
import { Avatar } from "./Avatar";
import { usePage } from "./context";
import { Icon } from "./icons";

interface Props {
  id: string;
  chat: Chat;
  open: boolean;
  active: boolean;
  count: number;
  place: number;
  onOpen: () => void;
}

export function ChatRow({ id, chat, open, active, count, place, onOpen }: Props): JSX.Element {
  const { drafts, inbox, me, t, formats } = usePage();
  const { assignee, lastMessage, unreadCount } = chat;
  const draft = useComputed(() => drafts.get(chat).text.trim()).value;
  const line = useRowLine(chat);
  const unread = unreadCount > 0;
  const classes = ["chat-row", open && "is-open", active && "is-active", unread && "is-unread"].filter(Boolean);
  return (
    <div
      id={id}
      class={classes.join(" ")}
      role="option"
      aria-selected={open}
      aria-setsize={count}
      aria-posinset={place}
      data-testid="chat"
      data-session-id={chat.sessionId}
      data-chat-id={chat.chatId}
      onClick={onOpen}
    >
      <Avatar id={chat.chatId} name={chat.name} />
      <span class="chat-line">
        <span class="chat-name" dir="auto">
          {chatName(chat, t)}
        </span>
        {lastMessage && (
          <time class="chat-time" dateTime={lastMessage.timestamp}>
            {formats.brief(lastMessage.timestamp, now.value)}
          </time>
        )}
      </span>
      <span class="chat-line">
        <span class="chat-last" dir="auto">
          {line.value ? (
            <span class="chat-typing" data-testid="typing">
              {line}
            </span>
          ) : draft && !open ? (
            <span class="draft" data-testid="draft">
              {t("draft", { text: draft.slice(0, 120) })}
            </span>
          ) : (
            lastMessage && lastLine(chat, t)
          )}
        </span>
        {chat.state === "closed" && (
          <span class="chat-done" title={t("done")} data-testid="done">
            <Icon name="check" />
            <span class="for-ears">{t("done")}</span>
          </span>
        )}
        {assignee && (
          <span class="chat-session" dir="auto" data-testid="assignee">
            {assignee.id === me.id ? t("you") : agentName(assignee)}
          </span>
        )}
        {inbox.severalSessions.value && <span class="chat-session">{chat.sessionId}</span>}
        {unread && (
          <span class="badge" data-testid="unread">
            <span aria-hidden="true">{unreadCount > 999 ? "999+" : unreadCount}</span>
            <span class="for-ears">{t("unread", { count: unreadCount })}</span>
          </span>
        )}
      </span>
    </div>
  );
}
