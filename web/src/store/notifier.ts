import { effect } from "@preact/signals";

import type { Chat, DurableEvent, Message } from "../client";
import type { Address } from "./address";
import type { Inbox } from "./inbox";
import { newsOf } from "./news";
import { routeOf } from "./route";
import type { Tabs } from "./tabs";

/** Older messages were missed and are shown on the page, without a notification. */
const RECENT_MS = 120_000;

export interface NotifierOptions {
  inbox: Inbox;
  tabs: Tabs;
  notifies: () => boolean;
  sounds: () => boolean;
  words: (news: News) => { title: string; body: string };
  open: (address: Address) => void;
}

/** A message and its chat. */
export interface News extends Address {
  message: Message;
  chat: Chat;
}

/** Notifies about messages in chats that nobody is reading. Returns a function that stops it. */
export function tellOfNews(options: NotifierOptions): () => void {
  const { inbox, tabs } = options;
  const shown = new Map<string, Notification>();
  /** The last message of each chat with a pending notification. */
  const waiting = new Map<string, News>();

  const tell = async (key: string): Promise<void> => {
    const read = await tabs.isRead(key);
    const event = waiting.get(key);
    waiting.delete(key);
    if (!event || read) return;
    if (options.notifies()) {
      const { title, body } = options.words(event);
      const notification = notify(title, body, key);
      if (notification) {
        shown.set(key, notification);
        notification.onclick = () => {
          window.focus();
          notification.close();
          options.open(event);
        };
      }
    }
    if (options.sounds()) tabs.ring();
  };

  const stops = [
    effect(() => {
      const event = inbox.latest.value;
      const message = newsOf(event);
      if (!event || !message || !deserves(message, event) || !tabs.leading) return;
      const key = routeOf(event);
      const first = !waiting.has(key);
      const { sessionId, chatId, chat } = event;
      waiting.set(key, { sessionId, chatId, chat, message });
      if (first) void tell(key);
    }),
    // Messages that were read, here or elsewhere, need no notification any more.
    effect(() => {
      const event = inbox.latest.value;
      if (event && isRead(event.chat)) {
        shown.get(routeOf(event))?.close();
        shown.delete(routeOf(event));
      }
    }),
  ];
  return () => {
    stops.forEach((stop) => stop());
    for (const notification of shown.values()) notification.close();
  };
}

function deserves(message: Message, { chat }: DurableEvent): boolean {
  // Late content: the message was received earlier, but the chat changed now.
  return !message.fromMe && message.type !== "system" && Date.now() - Date.parse(chat.updatedAt) < RECENT_MS;
}

function isRead({ unreadCount }: Chat): boolean {
  return unreadCount === 0;
}

/** One tag per chat, so that a newer notification replaces an older one. */
function notify(title: string, body: string, tag: string): Notification | null {
  if (typeof Notification !== "function" || Notification.permission !== "granted") return null;
  try {
    return new Notification(title, { body, tag });
  } catch {
    // Phones only show them through the service worker, which opens the chat by the tag.
    void navigator.serviceWorker?.ready.then((worker) => worker.showNotification(title, { body, tag }));
    return null;
  }
}
