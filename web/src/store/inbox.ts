import { batch, computed, signal, type ReadonlySignal } from "@preact/signals";

import {
  hasCode,
  type Chat,
  type ClientState,
  type DurableEvent,
  type Message,
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

/** How often to look for new sessions: more often while there are none. */
const LOOK_FOR_FIRST_MS = 1_000;
const LOOK_FOR_MORE_MS = 20_000;

export interface InboxOptions {
  /** The token allows sessions that do not exist yet. */
  mayGrow: boolean;
  /** The sessions named in the token, which need not be requested. */
  named?: readonly string[];
  /** The stored state. */
  saved?: Promise<readonly SavedSession[]>;
}

/** Everything that the page shows, kept up to date by lists and events. */
export class Inbox {
  readonly connection: ReadonlySignal<ClientState>;
  /** False until the first lists are loaded. */
  readonly ready = signal(false);
  readonly opened: ReadonlySignal<Address | null>;
  readonly visit: ReadonlySignal<number>;
  /** The last event, for notifications. */
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
  /** The store that receives events: the shown one, or its replacement. */
  private readonly stores = new Map<string, SessionStore>();
  private readonly clientState = signal<ClientState>({ name: "connecting" });
  /** A list was refused: the token is no longer valid, whatever the state of the connection. */
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

  /** Continues with a new token of the same agent. */
  async resume(token: string): Promise<void> {
    await this.client.authenticate(token);
    this.refused.value = false;
    this.look();
  }

  /** Tries again now instead of waiting. */
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

  /** Loads older messages of the open chat until this one is there. Resolves to whether it is; `null`: another was opened. */
  seek(messageId: string): Promise<boolean | null> {
    return this.openChat.seek(messageId);
  }

  /** The list has been scrolled to its end. */
  loadMoreChats(): void {
    for (const store of this.shown.peek()) this.attempt(this.pages.nextChats(store));
  }

  chat({ sessionId, chatId }: Address): Chat | undefined {
    return this.stores.get(sessionId)?.chats.get(chatId);
  }

  /** Apply the chat or message of an answer, which may come before its event. */
  put({ chat, message }: { chat?: Chat; message?: Message }): void {
    if (chat) this.stores.get(chat.sessionId)?.chats.put(chat);
    if (message) this.stores.get(message.sessionId)?.putMessage(message);
  }

  async markRead({ sessionId, chatId }: Chat, seq: number): Promise<void> {
    this.put({ chat: await this.client.markRead(sessionId, chatId, seq) });
  }

  /** The present state, to be stored. Sessions that are being replaced are omitted. */
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

  /** Looks for sessions: at the start, after a reconnect, and periodically if the token allows new ones. */
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
      // The position was read before the list: the events after it, applied to the list, give the present state.
      this.attempt(this.client.subscribe(sessionId, undefined, position));
      this.show(store);
      this.attempt(this.pages.fillUp(store));
    } catch (error) {
      this.stores.delete(sessionId);
      throw error;
    }
  }

  /** Missed events could not be replayed. The old state is shown until its replacement is complete. */
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

  /** Handles errors that are not retried. */
  private failed(error: unknown): void {
    if (this.ended.signal.aborted) return;
    if (hasCode(error, "unauthorized")) this.refused.value = true;
    else if (!hasCode(error, "aborted", "disconnected", "not_found", "forbidden")) console.error(error);
  }
}
