import { batch, computed, signal, type ReadonlySignal } from "@preact/signals";

import {
  hasCode,
  type Chat,
  type ChatPage,
  type ClientState,
  type DurableEvent,
  type RoomcastApi,
  type RoomcastClient,
} from "../client";
import { merged } from "./chatlist";
import { Lists } from "./lists";
import type { MessageLog } from "./messagelog";
import { SessionStore, type SavedSession } from "./sessionstore";

export interface Address {
  sessionId: string;
  chatId: string;
}

/** What fits on a screen comes first: a short list is read, sent and shown sooner. */
const FIRST_CHATS = 50;
const PAGE_OF_CHATS = 200;
const PAGE_OF_MESSAGES = 60;
/** When it is not to be read but to be looked through. */
const LARGE_PAGE_OF_MESSAGES = 200;
/** So many chats of a session are loaded without being asked for; the rest when the list is scrolled to them. */
const CHATS_AT_ONCE = 5_000;
/** A chat with more unread messages opens at its end: nobody reads them all. */
const MOST_TO_BEGIN = 1_000;
/** How often to look for sessions that did not exist before: often while there is nothing else to look at. */
const LOOK_FOR_FIRST_MS = 1_000;
const LOOK_FOR_MORE_MS = 20_000;

export interface InboxOptions {
  /** The token allows sessions that do not exist yet. */
  mayGrow: boolean;
  /** Those that the token names, so that nobody has to be asked for them. */
  named?: readonly string[];
  /** What was kept from an earlier time. */
  saved?: Promise<readonly SavedSession[]>;
}

/** Everything that the page shows, kept true by lists and events. */
export class Inbox {
  readonly connection: ReadonlySignal<ClientState>;
  /** False until it is known what there is to show. */
  readonly ready = signal(false);
  readonly opened = signal<Address | null>(null);
  /** Another number for each chat that somebody turns to; the same while the open one only gets another address. */
  readonly visit = signal(0);
  /** The last event that came in, for those who tell of it. */
  readonly latest = signal<DurableEvent | null>(null);
  readonly chats: ReadonlySignal<readonly Chat[]>;
  /** The server has chats that are not loaded. */
  readonly moreChats: ReadonlySignal<boolean>;
  readonly unread: ReadonlySignal<number>;
  readonly openedChat: ReadonlySignal<Chat | null>;
  readonly severalSessions: ReadonlySignal<boolean>;
  /** The messages of the chat that is open. */
  readonly log = signal<MessageLog | null>(null);

  private readonly shown = signal<readonly SessionStore[]>([]);
  /** Where the events go: the store that is shown, or the one that is to replace it. */
  private readonly stores = new Map<string, SessionStore>();
  private readonly paging = new WeakMap<SessionStore | MessageLog, Promise<unknown>>();
  private readonly clientState = signal<ClientState>({ name: "connecting" });
  /** A list was refused: the token is not good any more, whatever the connection says. */
  private readonly refused = signal(false);
  private readonly ended = new AbortController();
  private readonly lists: Lists;
  private looking: Promise<void> | null = null;
  private lookTimer: ReturnType<typeof setTimeout> | undefined;
  private begun = false;

  constructor(
    private readonly client: RoomcastClient,
    api: RoomcastApi,
    private readonly options: InboxOptions,
  ) {
    this.lists = new Lists(client, api, this.ended.signal);
    this.chats = computed(() => merged(this.shown.value.map((store) => store.chats.ordered.value)));
    this.moreChats = computed(() => this.shown.value.some((store) => store.cursor.value !== null));
    this.unread = computed(() => this.shown.value.reduce((sum, store) => sum + store.chats.unread.value, 0));
    this.severalSessions = computed(() => this.shown.value.length > 1);
    this.openedChat = computed(() => {
      const address = this.opened.value;
      if (!address) return null;
      const store = this.shown.value.find(({ sessionId }) => sessionId === address.sessionId);
      return store?.chats.ordered.value.find(({ chatId }) => chatId === address.chatId) ?? null;
    });
    this.connection = computed(() => {
      const [state, until] = [this.clientState.value, this.lists.hinderedUntil.value];
      if (this.refused.value) return { name: "unauthorized" };
      const linked = state.name === "connected" || state.name === "catching_up";
      return linked && until !== null ? { name: "unavailable", retryAt: until } : state;
    });
  }

  start(): void {
    this.client.on("state", (state) => {
      this.clientState.value = state;
      if (state.name === "connected" && this.begun) this.look();
    });
    this.client.on("event", (event) => {
      batch(() => {
        this.stores.get(event.sessionId)?.apply(event);
        if (event.event === "chat_merged") this.merged(event);
        this.latest.value = event;
      });
    });
    this.client.on("reset", ({ sessionId }) => this.attempt(this.reload(sessionId)));
    this.client.on("lost", ({ sessionId }) => this.drop(sessionId));
    this.client.connect();
    this.attempt(this.begin());
  }

  stop(): void {
    this.ended.abort();
    clearTimeout(this.lookTimer);
    this.client.close();
  }

  /** Goes on with a new token of the same agent, from where it stood. */
  async resume(token: string): Promise<void> {
    await this.client.authenticate(token);
    this.refused.value = false;
    this.look();
  }

  /** Somebody does not want to wait for the next try. */
  retryNow(): void {
    this.client.retryNow();
    this.lists.now();
  }

  open(address: Address | null): void {
    const [left, from] = [this.log.peek(), this.opened.peek()];
    const log = (address && this.stores.get(address.sessionId)?.log(address.chatId)) ?? null;
    // The same chat read anew is looked at where it was.
    const same = from?.sessionId === address?.sessionId && from?.chatId === address?.chatId;
    if (left && log && same) log.following = left.following;
    else if (left) left.following = true;
    batch(() => {
      if (!same) this.visit.value += 1;
      this.opened.value = address;
      this.log.value = log;
    });
    if (log && address && !log.ready.peek()) this.attempt(this.prepare(log, address));
  }

  /** Loads what somebody wants to begin with: from the first unread message on, or from where they were reading. */
  private async prepare(log: MessageLog, address: Address): Promise<void> {
    const known = this.stores.get(address.sessionId)?.chats.get(address.chatId);
    const readSeq = known && known.unreadCount > 0 && known.unreadCount <= MOST_TO_BEGIN ? known.readSeq : Infinity;
    if (!log.loaded.peek()) await this.loadPage(log, address);
    const lacks = (): boolean => {
      const messages = log.messages.peek();
      const early = (messages[0]?.seq ?? 0) > readSeq || (log.place !== null && !log.has(log.place.key));
      return early && log.hasMore.peek() && messages.length < MOST_TO_BEGIN * 2;
    };
    while (lacks()) await this.loadPage(log, address, LARGE_PAGE_OF_MESSAGES);
    log.ready.value = true;
  }

  loadOlder(): void {
    const [log, address] = [this.log.peek(), this.opened.peek()];
    if (log?.loaded.peek() && log.hasMore.peek() && address) this.attempt(this.loadPage(log, address));
  }

  /** Loads older messages of the open chat until this one is there. Tells whether it is; `null`: another chat is open. */
  async seek(messageId: string): Promise<boolean | null> {
    const [log, address] = [this.log.peek(), this.opened.peek()];
    if (!log || !address) return null;
    const { following } = log;
    // What has been looked through is not let go of meanwhile.
    log.following = false;
    while (!log.has(messageId)) {
      if (!log.hasMore.peek()) {
        log.following = following;
        return false;
      }
      await this.loadPage(log, address, LARGE_PAGE_OF_MESSAGES);
      if (this.log.peek() !== log || this.ended.signal.aborted) return null;
    }
    return true;
  }

  /** The list has been scrolled to its end. */
  loadMoreChats(): void {
    for (const store of this.shown.peek()) this.attempt(this.nextChats(store));
  }

  async markRead({ sessionId, chatId }: Chat, seq: number): Promise<void> {
    const chat = await this.client.markRead(sessionId, chatId, seq);
    this.stores.get(sessionId)?.chats.put(chat);
  }

  /** All that is known, at this moment, for another time. What is being replaced is left out. */
  saved(): SavedSession[] {
    return this.shown.peek().flatMap((store) => {
      const position = this.client.position(store.sessionId);
      return position && this.stores.get(store.sessionId) === store ? [store.saved(position)] : [];
    });
  }

  private async begin(): Promise<void> {
    const saved = (await this.options.saved) ?? [];
    if (this.ended.signal.aborted) return;
    for (const session of saved) {
      const store = SessionStore.restored(session);
      this.stores.set(session.sessionId, store);
      this.attempt(this.client.subscribe(session.sessionId, undefined, session.position));
      this.show(store);
      this.attempt(this.fillUp(store));
    }
    if (saved.length > 0) this.ready.value = true;
    this.begun = true;
    this.look();
  }

  /** Looks for sessions: at the start, after a reconnect, and from time to time where new ones may come to be. */
  private look(): void {
    clearTimeout(this.lookTimer);
    this.looking ??= this.lookOnce()
      .catch((error: unknown) => this.failed(error))
      .finally(() => {
        this.looking = null;
        if (!this.options.mayGrow || this.ended.signal.aborted || this.refused.peek()) return;
        const wait = this.shown.peek().length > 0 ? LOOK_FOR_MORE_MS : LOOK_FOR_FIRST_MS;
        this.lookTimer = setTimeout(() => this.look(), wait);
      });
  }

  private async lookOnce(): Promise<void> {
    const { mayGrow, named } = this.options;
    const ids = named && !mayGrow ? named : (await this.lists.sessions()).data.map(({ sessionId }) => sessionId);
    await Promise.all(ids.filter((id) => !this.stores.has(id)).map((id) => this.add(id)));
    this.ready.value = true;
  }

  private async add(sessionId: string): Promise<void> {
    const store = new SessionStore(sessionId);
    this.stores.set(sessionId, store);
    try {
      const { position } = await this.chatPage(store);
      // The list was read no earlier than its position: the events after it, applied to the list, give the present.
      this.attempt(this.client.subscribe(sessionId, undefined, position));
      this.show(store);
      this.attempt(this.fillUp(store));
    } catch (error) {
      this.stores.delete(sessionId);
      throw error;
    }
  }

  /** The client could not bring what was missed. What is shown stays until its replacement is whole. */
  private async reload(sessionId: string): Promise<void> {
    const old = this.shown.peek().find((store) => store.sessionId === sessionId);
    const store = new SessionStore(sessionId);
    this.stores.set(sessionId, store);
    await this.chatPage(store);
    if (!old) return this.show(store);
    await this.fillUp(store);
    const address = this.opened.peek();
    if (address?.sessionId === sessionId) {
      const seen = this.log.peek()?.messages.peek().length ?? 0;
      const log = store.log(address.chatId);
      await this.loadPage(log, address, Math.min(200, Math.max(PAGE_OF_MESSAGES, seen)));
      log.ready.value = true;
    }
    this.show(store);
  }

  private show(store: SessionStore): void {
    if (this.stores.get(store.sessionId) !== store) return;
    batch(() => {
      const others = this.shown.peek().filter(({ sessionId }) => sessionId !== store.sessionId);
      this.shown.value = [...others, store].sort((a, b) => (a.sessionId < b.sessionId ? -1 : 1));
      const address = this.opened.peek();
      if (address?.sessionId === store.sessionId) this.open(address);
    });
  }

  /** Whoever looks at one of two chats that became one stays at the same message. */
  private merged({ sessionId, chatId, from }: DurableEvent & { event: "chat_merged" }): void {
    const opened = this.opened.peek();
    const store = this.stores.get(sessionId);
    if (!store || opened?.sessionId !== sessionId || (opened.chatId !== from && opened.chatId !== chatId)) return;
    const address = { sessionId, chatId };
    this.opened.value = address;
    this.attempt(this.reread(store.log(chatId), address));
  }

  /** Reads the open chat anew, as far back as it was loaded; until that is done it is shown as it was. */
  private async reread(log: MessageLog, address: Address): Promise<void> {
    const shown = this.log.peek();
    if (!shown) return;
    const firstSeen = (): number => (shown.following ? Infinity : (shown.messages.peek()[0]?.seq ?? Infinity));
    const first = (): number => log.messages.peek()[0]?.seq ?? 0;
    log.following = false; // nothing of it is let go of meanwhile
    do await this.loadPage(log, address, shown.following ? PAGE_OF_MESSAGES : LARGE_PAGE_OF_MESSAGES);
    while (log.hasMore.peek() && first() > firstSeen());
    if (this.opened.peek() !== address || this.log.peek() !== shown) return;
    log.following = shown.following;
    log.ready.value = true;
    this.log.value = log;
  }

  private drop(sessionId: string): void {
    this.stores.delete(sessionId);
    this.shown.value = this.shown.peek().filter((store) => store.sessionId !== sessionId);
    if (this.opened.peek()?.sessionId === sessionId) this.open(null);
  }

  private async fillUp(store: SessionStore): Promise<void> {
    while (store.chats.ordered.peek().length < CHATS_AT_ONCE && (await this.nextChats(store)));
  }

  /** Loads the next page of chats. Tells whether there is yet another. */
  private async nextChats(store: SessionStore): Promise<boolean> {
    const cursor = store.cursor.peek();
    if (cursor === null) return false;
    await this.once(store, () => this.chatPage(store, cursor || undefined));
    return store.cursor.peek() !== null;
  }

  private async chatPage(store: SessionStore, cursor?: string): Promise<ChatPage> {
    const page = await this.lists.chats(store.sessionId, cursor ? PAGE_OF_CHATS : FIRST_CHATS, cursor);
    batch(() => {
      store.chats.put(...page.data);
      store.cursor.value = page.nextCursor;
    });
    return page;
  }

  private loadPage(log: MessageLog, { sessionId, chatId }: Address, limit = PAGE_OF_MESSAGES): Promise<void> {
    return this.once(log, async () => {
      log.loading.value = true;
      try {
        const page = await this.lists.messages(sessionId, chatId, limit, log.messages.peek()[0]?.seq);
        batch(() => {
          log.addPage(page.data, page.hasMore);
          log.loading.value = false;
        });
        this.follow({ sessionId, chatId }, page.data[0]?.chatId);
      } finally {
        log.loading.value = false;
      }
    });
  }

  /** The address of a chat that has become part of another leads to that one. */
  private follow(address: Address, chatId = address.chatId): void {
    const opened = this.opened.peek();
    if (chatId === address.chatId || opened?.chatId !== address.chatId || opened.sessionId !== address.sessionId) return;
    this.open({ sessionId: address.sessionId, chatId });
  }

  /** One page at a time, for all who ask meanwhile. */
  private once(of: SessionStore | MessageLog, load: () => Promise<unknown>): Promise<void> {
    const running = this.paging.get(of) ?? load().finally(() => this.paging.delete(of));
    this.paging.set(of, running);
    return running.then(() => undefined);
  }

  private attempt(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.failed(error));
  }

  /** What is left when nothing is tried again. */
  private failed(error: unknown): void {
    if (this.ended.signal.aborted) return;
    if (hasCode(error, "unauthorized")) this.refused.value = true;
    else if (!hasCode(error, "aborted", "disconnected", "not_found", "forbidden")) console.error(error);
  }
}
