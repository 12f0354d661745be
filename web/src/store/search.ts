import { computed, effect, signal, type ReadonlySignal } from "@preact/signals";

import type { Chat } from "../client";
import { fold } from "../text/fold";
import type { Translate } from "../text/language";
import { chatName } from "../text/names";
import { lastLine } from "../text/summary";
import type { Address } from "./address";
import { waits, waitsSince } from "./waiting";
import type { Inbox } from "./inbox";

/** If there are fewer results, the server's older chats are searched, too. */
const ENOUGH = 50;

/** Closed chats are only in `all`. */
export type Whose = "all" | "mine" | "unassigned";

/** The filter of the list: by assignee, unread, waiting for an answer, and with these words in name or last message. */
export class Search {
  readonly words = signal("");
  readonly onlyUnread = signal(false);
  /** Those that wait for an answer, the longest wait first. */
  readonly onlyWaiting = signal(false);
  readonly whose = signal<Whose>("all");
  /** Whether some chats are left out. */
  readonly narrowed: ReadonlySignal<boolean>;
  readonly found: ReadonlySignal<readonly Chat[]>;
  /** Older chats are being searched. */
  readonly looking: ReadonlySignal<boolean>;
  /** A chat's normalized text, made once per version of the chat. */
  private readonly folded = new WeakMap<Chat, string>();
  private readonly stopPaging: () => void;

  constructor(
    inbox: Pick<Inbox, "chats" | "moreChats" | "loadMoreChats">,
    /** The open chat stays in every list, because it would disappear while it is being used. */
    private readonly opened: ReadonlySignal<Address | null>,
    private readonly t: Translate,
    private readonly me: string,
  ) {
    this.narrowed = computed(
      () => this.onlyUnread.value || this.onlyWaiting.value || this.whose.value !== "all" || this.words.value.trim() !== "",
    );
    this.found = computed(() => {
      const chats = inbox.chats.value;
      if (!this.narrowed.value) return chats;
      const wanted = fold(this.words.value).split(/\s+/).filter(Boolean);
      const found = chats.filter((chat) => (this.isOpened(chat) || this.concerns(chat)) && this.has(chat, wanted));
      return this.onlyWaiting.value ? found.sort((a, b) => (waitsSince(a) < waitsSince(b) ? -1 : 1)) : found;
    });
    // Who has waited longest may be at the very end.
    const wantsMore = computed(() => this.onlyWaiting.value || (this.narrowed.value && this.found.value.length < ENOUGH));
    this.looking = computed(() => wantsMore.value && inbox.moreChats.value);
    this.stopPaging = effect(() => {
      // Each loaded page requests the next one.
      if (this.looking.value && inbox.chats.value) inbox.loadMoreChats();
    });
  }

  stop(): void {
    this.stopPaging();
  }

  clear(): void {
    this.words.value = "";
    this.onlyUnread.value = false;
    this.onlyWaiting.value = false;
    this.whose.value = "all";
  }

  private isOpened({ sessionId, chatId }: Chat): boolean {
    const opened = this.opened.value;
    return opened?.chatId === chatId && opened.sessionId === sessionId;
  }

  private concerns(chat: Chat): boolean {
    const whose = this.whose.value;
    if (this.onlyUnread.value && chat.unreadCount === 0) return false;
    if (this.onlyWaiting.value && !waits(chat)) return false;
    if (whose === "all") return true;
    return chat.state === "open" && (chat.assignee?.id ?? null) === (whose === "mine" ? this.me : null);
  }

  private has(chat: Chat, wanted: readonly string[]): boolean {
    if (wanted.length === 0) return true;
    let words = this.folded.get(chat);
    if (words === undefined) {
      // An address is found by its digits, however they are separated.
      words = fold(`${chatName(chat, this.t)}\n${chat.chatId}\n${lastLine(chat, this.t)}`);
      this.folded.set(chat, words);
    }
    return wanted.every((word) => words.includes(word));
  }
}
