import { batch, signal } from "@preact/signals";

import type { DurableEvent } from "../client";
import type { Address } from "./address";
import type { MessageLog } from "./messagelog";
import { LARGE_PAGE_OF_MESSAGES, PAGE_OF_MESSAGES, type Pages } from "./pages";
import type { SessionStore } from "./sessionstore";

/** A chat with more unread messages opens at its end, because nobody reads that many. */
const MOST_TO_BEGIN = 1_000;

export interface OpenChatOptions {
  pages: Pages;
  storeOf: (sessionId: string) => SessionStore | undefined;
  /** Runs in the background. */
  attempt: (work: Promise<unknown>) => void;
  ended: AbortSignal;
}

/** The open chat and its messages. */
export class OpenChat {
  readonly address = signal<Address | null>(null);
  /** Changes with each opened chat, but not when the open chat's address changes by a merge. */
  readonly visit = signal(0);
  readonly log = signal<MessageLog | null>(null);

  constructor(private readonly options: OpenChatOptions) {}

  open(address: Address | null): void {
    const [left, from] = [this.log.peek(), this.address.peek()];
    const log = (address && this.options.storeOf(address.sessionId)?.log(address.chatId)) ?? null;
    // After reloading the same chat, keep the position.
    const same = from?.sessionId === address?.sessionId && from?.chatId === address?.chatId;
    if (left && log && same) log.following = left.following;
    else if (left) left.following = true;
    batch(() => {
      if (!same) this.visit.value += 1;
      this.address.value = address;
      this.log.value = log;
    });
    if (log && address && !log.ready.peek()) this.options.attempt(this.prepare(log, address));
  }

  /** The store of its session was replaced. */
  reopen(sessionId: string): void {
    const address = this.address.peek();
    if (address?.sessionId === sessionId) this.open(address);
  }

  /** Loads it into a replacement store, as far back as it is loaded now. */
  async prepareIn(store: SessionStore): Promise<void> {
    const address = this.address.peek();
    if (address?.sessionId !== store.sessionId) return;
    const seen = this.log.peek()?.messages.peek().length ?? 0;
    const log = store.log(address.chatId);
    await this.options.pages.messages(log, address, Math.min(200, Math.max(PAGE_OF_MESSAGES, seen)));
    log.ready.value = true;
  }

  loadOlder(): void {
    const [log, address] = [this.log.peek(), this.address.peek()];
    if (log?.loaded.peek() && log.hasMore.peek() && address) this.options.attempt(this.options.pages.messages(log, address));
  }

  /** Loads older messages until this one is there. Resolves to whether it is; `null`: another chat was opened. */
  async seek(messageId: string): Promise<boolean | null> {
    const [log, address] = [this.log.peek(), this.address.peek()];
    if (!log || !address) return null;
    const { following } = log;
    // Drop no messages meanwhile.
    log.following = false;
    while (!log.has(messageId)) {
      if (!log.hasMore.peek()) {
        log.following = following;
        return false;
      }
      await this.options.pages.messages(log, address, LARGE_PAGE_OF_MESSAGES);
      if (this.log.peek() !== log || this.options.ended.aborted) return null;
    }
    return true;
  }

  /** After a merge, the view of either chat stays at the same message. */
  merged({ sessionId, chatId, from }: DurableEvent & { event: "chat_merged" }): void {
    const opened = this.address.peek();
    const store = this.options.storeOf(sessionId);
    if (!store || opened?.sessionId !== sessionId || (opened.chatId !== from && opened.chatId !== chatId)) return;
    const address = { sessionId, chatId };
    this.address.value = address;
    this.options.attempt(this.reread(store.log(chatId), address));
  }

  /** The address of a merged chat leads to the other chat. */
  follow(address: Address, chatId = address.chatId): void {
    const opened = this.address.peek();
    if (chatId === address.chatId || opened?.chatId !== address.chatId || opened.sessionId !== address.sessionId) return;
    this.open({ sessionId: address.sessionId, chatId });
  }

  /** Loads the messages to begin with: from the first unread message, or from the reading position. */
  private async prepare(log: MessageLog, address: Address): Promise<void> {
    const { pages, storeOf } = this.options;
    const known = storeOf(address.sessionId)?.chats.get(address.chatId);
    const readSeq = known && known.unreadCount > 0 && known.unreadCount <= MOST_TO_BEGIN ? known.readSeq : Infinity;
    if (!log.loaded.peek()) await pages.messages(log, address);
    const lacks = (): boolean => {
      const messages = log.messages.peek();
      const early = (messages[0]?.seq ?? 0) > readSeq || (log.place !== null && !log.has(log.place.key));
      return early && log.hasMore.peek() && messages.length < MOST_TO_BEGIN * 2;
    };
    while (lacks()) await pages.messages(log, address, LARGE_PAGE_OF_MESSAGES);
    log.ready.value = true;
  }

  /** Reloads it, as far back as it was loaded; the old state is shown until then. */
  private async reread(log: MessageLog, address: Address): Promise<void> {
    const { pages } = this.options;
    const shown = this.log.peek();
    if (!shown) return;
    const firstSeen = (): number => (shown.following ? Infinity : (shown.messages.peek()[0]?.seq ?? Infinity));
    const first = (): number => log.messages.peek()[0]?.seq ?? 0;
    log.following = false; // drop no messages meanwhile
    do await pages.messages(log, address, shown.following ? PAGE_OF_MESSAGES : LARGE_PAGE_OF_MESSAGES);
    while (log.hasMore.peek() && first() > firstSeen());
    if (this.address.peek() !== address || this.log.peek() !== shown) return;
    log.following = shown.following;
    log.ready.value = true;
    this.log.value = log;
  }
}
