import { batch } from "@preact/signals";

import type { ChatPage, Message } from "../client";
import type { Address } from "./address";
import type { Lists } from "./lists";
import type { MessageLog } from "./messagelog";
import type { SessionStore } from "./sessionstore";

/** What fits on a screen comes first: a short list is read, sent and shown sooner. */
const FIRST_CHATS = 50;
const PAGE_OF_CHATS = 200;
export const PAGE_OF_MESSAGES = 60;
/** When it is not to be read but to be looked through. */
export const LARGE_PAGE_OF_MESSAGES = 200;
/** So many chats of a session are loaded without being asked for; the rest when the list is scrolled to them. */
const CHATS_AT_ONCE = 5_000;

/** Reads the lists page by page into the stores: of each store and log one page at a time, for all who ask meanwhile. */
export class Pages {
  private readonly running = new WeakMap<SessionStore | MessageLog, Promise<unknown>>();

  /** `read` is called with each page of messages that has come. */
  constructor(
    private readonly lists: Lists,
    private readonly read: (address: Address, page: readonly Message[]) => void,
  ) {}

  /** Loads the chats that are shown without anybody having asked for them. */
  async fillUp(store: SessionStore): Promise<void> {
    while (store.chats.ordered.peek().length < CHATS_AT_ONCE && (await this.nextChats(store)));
  }

  /** Loads the next page of chats. Tells whether there is yet another. */
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

  /** Loads the newest messages of a chat, or those before the first one that is there. */
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
