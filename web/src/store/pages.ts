import { batch } from "@preact/signals";

import type { ChatPage, Message } from "../client";
import type { Address } from "./address";
import type { Lists } from "./lists";
import type { MessageLog } from "./messagelog";
import type { SessionStore } from "./sessionstore";

/** The first page fits a screen: a short list is shown sooner. */
const FIRST_CHATS = 50;
const PAGE_OF_CHATS = 200;
export const PAGE_OF_MESSAGES = 60;
/** Page size when searching instead of reading. */
export const LARGE_PAGE_OF_MESSAGES = 200;
/** Number of chats of a session that are loaded at once; the rest is loaded when the list is scrolled. */
const CHATS_AT_ONCE = 5_000;

/** Loads lists page by page into the stores: one page at a time for each store and log, shared by concurrent callers. */
export class Pages {
  private readonly running = new WeakMap<SessionStore | MessageLog, Promise<unknown>>();

  /** `read` is called with each loaded page of messages. */
  constructor(
    private readonly lists: Lists,
    private readonly read: (address: Address, page: readonly Message[]) => void,
  ) {}

  /** Loads the first chats. */
  async fillUp(store: SessionStore): Promise<void> {
    while (store.chats.ordered.peek().length < CHATS_AT_ONCE && (await this.nextChats(store)));
  }

  /** Loads the next page of chats. Resolves to whether there are more. */
  async nextChats(store: SessionStore): Promise<boolean> {
    const cursor = store.cursor.peek();
    if (cursor === null) return false;
    await this.once(store, () => this.chats(store, cursor || undefined));
    return store.cursor.peek() !== null;
  }

  async chats(store: SessionStore, cursor?: string): Promise<ChatPage> {
    const page = await this.lists.chats(store.sessionId, cursor ? PAGE_OF_CHATS : FIRST_CHATS, cursor);
    batch(() => {
      store.chats.put(...page.data);
      store.cursor.value = page.nextCursor;
    });
    return page;
  }

  /** Loads the newest messages of a chat, or those before the first loaded one. */
  messages(log: MessageLog, address: Address, limit = PAGE_OF_MESSAGES): Promise<void> {
    return this.once(log, async () => {
      log.loading.value = true;
      try {
        const page = await this.lists.messages(address.sessionId, address.chatId, limit, log.messages.peek()[0]?.seq);
        batch(() => {
          log.addPage(page.data, page.hasMore);
          log.loading.value = false;
        });
        this.read(address, page.data);
      } finally {
        log.loading.value = false;
      }
    });
  }

  private once(of: SessionStore | MessageLog, load: () => Promise<unknown>): Promise<void> {
    const running = this.running.get(of) ?? load().finally(() => this.running.delete(of));
    this.running.set(of, running);
    return running.then(() => undefined);
  }
}
