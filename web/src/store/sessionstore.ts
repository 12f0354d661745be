import { signal } from "@preact/signals";

import type { Chat, DurableEvent, Message, Position } from "../client";
import { ChatList } from "./chatlist";
import { MessageLog, type ReadingPlace } from "./messagelog";

/** Number of chats that keep their messages when others are opened. */
const LOGS_KEPT = 20;
/** How much is stored for the next start: enough to begin with, not a second database. */
const CHATS_SAVED = 200;
const LOGS_SAVED = 10;
const MESSAGES_SAVED = 50;

/** The stored state of a session, as it was at `position`. */
export interface SavedSession {
  sessionId: string;
  position: Position;
  chats: readonly Chat[];
  /** Whether these are all chats. */
  whole: boolean;
  /** In the order in which the chats were last opened. */
  logs: readonly { chatId: string; messages: readonly Message[]; hasMore: boolean; place: ReadingPlace | null }[];
}

/** The loaded state of a session. After a reset it is discarded as a whole, because its numbers may be invalid. */
export class SessionStore {
  readonly chats = new ChatList();
  /** The cursor of the next page of chats; empty: the first page; `null`: there are no more. */
  readonly cursor = signal<string | null>(null);
  /** The messages of opened chats, in the order in which they were last opened. */
  private readonly logs = new Map<string, MessageLog>();

  constructor(readonly sessionId: string) {}

  static restored(saved: SavedSession): SessionStore {
    const store = new SessionStore(saved.sessionId);
    store.chats.put(...saved.chats);
    store.cursor.value = saved.whole ? null : "";
    for (const { chatId, messages, hasMore, place } of saved.logs) {
      store.logs.set(chatId, MessageLog.restored(messages, hasMore, place));
    }
    return store;
  }

  /** A copy of the present state, which `position` must describe. */
  saved(position: Position): SavedSession {
    const chats = this.chats.ordered.peek();
    const whole = this.cursor.peek() === null;
    const logs = [...this.logs].filter(([, log]) => log.loaded.peek()).slice(-LOGS_SAVED);
    return {
      sessionId: this.sessionId,
      position,
      chats: chats.slice(0, CHATS_SAVED),
      whole: whole && chats.length <= CHATS_SAVED,
      logs: logs.map(([chatId, log]) => {
        const messages = log.messages.peek();
        const hasMore = log.hasMore.peek() || messages.length > MESSAGES_SAVED;
        return { chatId, messages: messages.slice(-MESSAGES_SAVED), hasMore, place: log.place };
      }),
    };
  }

  apply(event: DurableEvent): void {
    if (event.event === "chat_merged") this.merge(event);
    this.chats.put(event.chat);
    if ("message" in event) this.logs.get(event.chatId)?.apply(event.message);
  }

  /** Apply the message of an answer, which may come before its event. */
  putMessage(message: Message): void {
    this.logs.get(message.chatId)?.apply(message);
  }

  /** The loaded messages of both chats lack those of the other, so they are loaded again when the chat is opened. */
  private merge({ from, chatId, seq }: DurableEvent & { event: "chat_merged" }): void {
    this.chats.remove(from, seq);
    this.logs.delete(from);
    this.logs.delete(chatId);
  }

  log(chatId: string): MessageLog {
    const log = this.logs.get(chatId) ?? new MessageLog();
    this.logs.delete(chatId);
    this.logs.set(chatId, log);
    if (this.logs.size > LOGS_KEPT) {
      const [oldest] = this.logs.keys();
      if (oldest !== undefined) this.logs.delete(oldest);
    }
    return log;
  }
}
