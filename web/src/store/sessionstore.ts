import type { DurableEvent } from "../client";
import { ChatList } from "./chatlist";
import { MessageLog } from "./messagelog";

/** As many chats keep their messages when others are opened. */
const LOGS_KEPT = 20;

/** What this page knows of one session. After a reset it is thrown away as a whole: its numbers may mean nothing any more. */
export class SessionStore {
  readonly chats = new ChatList();
  /** The messages of chats that have been opened, the one opened last at the end. */
  private readonly logs = new Map<string, MessageLog>();

  constructor(readonly sessionId: string) {}

  apply(event: DurableEvent): void {
    this.chats.put(event.chat);
    if (event.event !== "chat_updated") this.logs.get(event.chatId)?.apply(event.message);
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
