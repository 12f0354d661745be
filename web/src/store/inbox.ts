import { batch, computed, signal, type ReadonlySignal } from "@preact/signals";

import {
  hasCode,
  type Chat,
  type ClientState,
  type DurableEvent,
  type RoomcastApi,
  type RoomcastClient,
} from "../client";
import type { Address } from "./address";
import { merged } from "./chatlist";
import { Lists } from "./lists";
import type { MessageLog } from "./messagelog";
import { OpenChat } from "./openchat";
import { Pages } from "./pages";
import { SessionStore, type SavedSession } from "./sessionstore";

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
  readonly opened: ReadonlySignal<Address | null>;
  readonly visit: ReadonlySignal<number>;
  /** The last event that came in, for those who tell of it. */
  readonly latest = signal<DurableEvent | null>(null);
  readonly chats: ReadonlySignal<readonly Chat[]>;
  /** The server has chats that are not loaded. */
  readonly moreChats: ReadonlySignal<boolean>;
  readonly unread: ReadonlySignal<number>;
  readonly openedChat: ReadonlySignal<Chat | null>;
  readonly severalSessions: ReadonlySignal<boolean>;
  /** The messages of the chat that is open. */
  readonly log: ReadonlySignal<MessageLog | null>;

  private readonly shown = signal<readonly SessionStore[]>([]);
  /** Where the events go: the store that is shown, or the one that is to replace it. */
  private readonly stores = new Map<string, SessionStore>();
  private readonly clientState = signal<ClientState>({ name: "connecting" });
  /** A list was refused: the token is not good any more, whatever the connection says. */
  private readonly refused = signal(false);
  private readonly ended = new AbortController();
  private readonly lists: Lists;
  private readonly pages: Pages;
  private readonly openChat: OpenChat;
  private looking: Promise<void> | null = null;
  private lookTimer: ReturnType<typeof setTimeout> | undefined;
  private begun = false;

  constructor(
    private readonly client: RoomcastClient,
    api: RoomcastApi,
    private readonly options: InboxOptions,
  ) {
    this.lists = new Lists(client, api, this.ended.signal);
    this.pages = new Pages(this.lists, (address, [message]) => this.openChat.follow(address, message?.chatId));
    this.openChat = new OpenChat({
      pages: this.pages,
      storeOf: (sessionId) => this.stores.get(sessionId),
      attempt: (work) => this.attempt(work),
      ended: this.ended.signal,
    });
    this.opened = this.openChat.address;
    this.visit = this.openChat.visit;
    this.log = this.openChat.log;
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
        if (event.event === "chat_merged") this.openChat.merged(event);
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
    this.openChat.open(address);
  }

  loadOlder(): void {
    this.openChat.loadOlder();
  }

  /** Loads older messages of the open chat until this one is there. Tells whether it is; `null`: another chat is open. */
  seek(messageId: string): Promise<boolean | null> {
    return this.openChat.seek(messageId);
  }

  /** The list has been scrolled to its end. */
  loadMoreChats(): void {
    for (const store of this.shown.peek()) this.attempt(this.pages.nextChats(store));
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
      this.attempt(this.pages.fillUp(store));
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
    const ids = named && !mayGrow ? named : await this.lists.sessions();
    await Promise.all(ids.filter((id) => !this.stores.has(id)).map((id) => this.add(id)));
    this.ready.value = true;
  }

  private async add(sessionId: string): Promise<void> {
    const store = new SessionStore(sessionId);
    this.stores.set(sessionId, store);
    try {
      const { position } = await this.pages.chats(store);
      // The list was read no earlier than its position: the events after it, applied to the list, give the present.
      this.attempt(this.client.subscribe(sessionId, undefined, position));
      this.show(store);
      this.attempt(this.pages.fillUp(store));
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
    await this.pages.chats(store);
    if (!old) return this.show(store);
    await this.pages.fillUp(store);
    await this.openChat.prepareIn(store);
    this.show(store);
  }

  private show(store: SessionStore): void {
    if (this.stores.get(store.sessionId) !== store) return;
    batch(() => {
      const others = this.shown.peek().filter(({ sessionId }) => sessionId !== store.sessionId);
      this.shown.value = [...others, store].sort((a, b) => (a.sessionId < b.sessionId ? -1 : 1));
      this.openChat.reopen(store.sessionId);
    });
  }

  private drop(sessionId: string): void {
    this.stores.delete(sessionId);
    this.shown.value = this.shown.peek().filter((store) => store.sessionId !== sessionId);
    if (this.opened.peek()?.sessionId === sessionId) this.open(null);
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
