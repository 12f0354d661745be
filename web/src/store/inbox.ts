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
import type { MessageLog } from "./messagelog";
import { persist, type PersistOptions } from "./persist";
import { SessionStore } from "./sessionstore";

export interface Address {
  sessionId: string;
  chatId: string;
}

const CHATS_PER_PAGE = 200;
const MESSAGES_PER_PAGE = 60;
/** So many chats of a session are loaded without being asked for; the rest when the list is scrolled to them. */
const CHATS_AT_ONCE = 5_000;
/** How often to look for sessions that did not exist before: often while there is nothing else to look at. */
const LOOK_FOR_FIRST_MS = 1_000;
const LOOK_FOR_MORE_MS = 20_000;

/** Everything that the page shows, kept true by lists and events. */
export class Inbox {
  readonly connection = signal<ClientState>({ name: "connecting" });
  /** False until it is known what there is to show. */
  readonly ready = signal(false);
  readonly opened = signal<Address | null>(null);
  /** The last event that came in, for those who tell of it. */
  readonly latest = signal<DurableEvent | null>(null);
  readonly chats: ReadonlySignal<readonly Chat[]>;
  readonly unread: ReadonlySignal<number>;
  readonly openedChat: ReadonlySignal<Chat | null>;
  readonly severalSessions: ReadonlySignal<boolean>;
  /** The messages of the chat that is open. */
  readonly log = signal<MessageLog | null>(null);

  private readonly shown = signal<readonly SessionStore[]>([]);
  /** Where the events go: the store that is shown, or the one that is to replace it. */
  private readonly stores = new Map<string, SessionStore>();
  private readonly cursors = new WeakMap<SessionStore, string | null>();
  private readonly paging = new WeakMap<SessionStore, Promise<boolean>>();
  private looking: Promise<void> | null = null;
  private readonly ended = new AbortController();
  private lookTimer: ReturnType<typeof setTimeout> | undefined;

  /** `mayGrow`: the token allows sessions that do not exist yet. */
  constructor(
    private readonly client: RoomcastClient,
    private readonly api: RoomcastApi,
    private readonly mayGrow: boolean,
  ) {
    this.chats = computed(() => merged(this.shown.value.map((store) => store.chats.ordered.value)));
    this.unread = computed(() => this.shown.value.reduce((sum, store) => sum + store.chats.unread.value, 0));
    this.severalSessions = computed(() => this.shown.value.length > 1);
    this.openedChat = computed(() => {
      const address = this.opened.value;
      if (!address) return null;
      const store = this.shown.value.find(({ sessionId }) => sessionId === address.sessionId);
      return store?.chats.ordered.value.find(({ chatId }) => chatId === address.chatId) ?? null;
    });
  }

  start(): void {
    this.client.on("state", (state) => {
      this.connection.value = state;
      if (state.name === "connected") this.look();
    });
    this.client.on("event", (event) => {
      batch(() => {
        this.stores.get(event.sessionId)?.apply(event);
        this.latest.value = event;
      });
    });
    this.client.on("reset", ({ sessionId }) => this.attempt(this.reload(sessionId)));
    this.client.on("lost", ({ sessionId }) => this.drop(sessionId));
    this.client.connect();
    this.look();
  }

  stop(): void {
    this.ended.abort();
    clearTimeout(this.lookTimer);
    this.client.close();
  }

  open(address: Address | null): void {
    const [left, from] = [this.log.peek(), this.opened.peek()];
    const log = (address && this.stores.get(address.sessionId)?.log(address.chatId)) ?? null;
    // The same chat read anew is looked at where it was.
    const same = from?.sessionId === address?.sessionId && from?.chatId === address?.chatId;
    if (left && log && same) log.following = left.following;
    else if (left) left.following = true;
    this.opened.value = address;
    this.log.value = log;
    if (log && address && !log.loaded.peek()) this.attempt(this.loadPage(log, address));
  }

  loadOlder(): void {
    const [log, address] = [this.log.peek(), this.opened.peek()];
    if (log?.loaded.peek() && log.hasMore.peek() && address) this.attempt(this.loadPage(log, address));
  }

  /** The list has been scrolled to its end. */
  loadMoreChats(): void {
    for (const store of this.shown.peek()) this.attempt(this.nextChats(store));
  }

  async markRead({ sessionId, chatId, lastSeq }: Chat): Promise<void> {
    const chat = await this.client.markRead(sessionId, chatId, lastSeq);
    this.stores.get(sessionId)?.chats.put(chat);
  }

  /** Looks for sessions: at the start, after a reconnect, and from time to time where new ones may come to be. */
  private look(): void {
    clearTimeout(this.lookTimer);
    this.looking ??= this.lookOnce()
      .catch((error: unknown) => this.failed(error))
      .finally(() => {
        this.looking = null;
        if (!this.mayGrow || this.ended.signal.aborted) return;
        const wait = this.shown.peek().length > 0 ? LOOK_FOR_MORE_MS : LOOK_FOR_FIRST_MS;
        this.lookTimer = setTimeout(() => this.look(), wait);
      });
  }

  private async lookOnce(): Promise<void> {
    const { data } = await this.persist(() => this.api.sessions({ signal: this.ended.signal }));
    const fresh = data.filter(({ sessionId }) => !this.stores.has(sessionId));
    await Promise.all(fresh.map(({ sessionId }) => this.add(sessionId)));
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
      await this.loadPage(store.log(address.chatId), address, Math.min(200, Math.max(MESSAGES_PER_PAGE, seen)));
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

  private drop(sessionId: string): void {
    this.stores.delete(sessionId);
    this.shown.value = this.shown.peek().filter((store) => store.sessionId !== sessionId);
    if (this.opened.peek()?.sessionId === sessionId) this.open(null);
  }

  private async fillUp(store: SessionStore): Promise<void> {
    while (store.chats.ordered.peek().length < CHATS_AT_ONCE && (await this.nextChats(store)));
  }

  /** Loads the next page of chats, once for all who ask meanwhile. Tells whether there is yet another. */
  private nextChats(store: SessionStore): Promise<boolean> {
    const cursor = this.cursors.get(store);
    if (!cursor) return Promise.resolve(false);
    const running =
      this.paging.get(store) ??
      this.chatPage(store, cursor)
        .then(({ nextCursor }) => nextCursor !== null)
        .finally(() => this.paging.delete(store));
    this.paging.set(store, running);
    return running;
  }

  private async chatPage(store: SessionStore, cursor?: string): Promise<ChatPage> {
    const page = await this.persist(() =>
      this.api.chats(store.sessionId, { limit: CHATS_PER_PAGE, cursor, signal: this.ended.signal }),
    );
    store.chats.put(...page.data);
    this.cursors.set(store, page.nextCursor);
    return page;
  }

  private async loadPage(log: MessageLog, { sessionId, chatId }: Address, limit = MESSAGES_PER_PAGE): Promise<void> {
    if (log.loading.peek()) return;
    log.loading.value = true;
    try {
      const before = log.messages.peek()[0]?.seq;
      const options = { limit, before, signal: this.ended.signal };
      const page = await this.persist(() => this.api.messages(sessionId, chatId, options));
      batch(() => {
        log.addPage(page.data, page.hasMore);
        log.loading.value = false;
      });
    } finally {
      log.loading.value = false;
    }
  }

  private persist<Result>(task: () => Promise<Result>): Promise<Result> {
    const options: PersistOptions = {
      signal: this.ended.signal,
      hurry: (wake) => this.client.on("state", (state) => state.name === "connected" && wake()),
    };
    return persist(task, options);
  }

  private attempt(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.failed(error));
  }

  /** What is left when `persist` has given up. */
  private failed(error: unknown): void {
    if (this.ended.signal.aborted) return;
    if (hasCode(error, "unauthorized")) {
      this.stop();
      this.connection.value = { name: "unauthorized" };
    } else if (!hasCode(error, "aborted", "disconnected", "not_found", "forbidden")) {
      console.error(error);
    }
  }
}
