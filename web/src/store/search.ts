import { computed, effect, signal, type ReadonlySignal } from "@preact/signals";

import type { Chat } from "../client";
import { fold } from "../text/fold";
import type { Translate } from "../text/language";
import { chatName } from "../text/names";
import { lastLine } from "../text/summary";
import type { Address } from "./address";
import type { Inbox } from "./inbox";

/** If there are fewer results, the server's older chats are searched, too. */
const ENOUGH = 50;

/** The filter of the list: all, unread, or with these words in name or last message. */
export class Search {
  readonly words = signal("");
  readonly onlyUnread = signal(false);
  readonly found: ReadonlySignal<readonly Chat[]>;
  /** Older chats are being searched. */
  readonly looking: ReadonlySignal<boolean>;
  /** A chat's normalized text, made once per version of the chat. */
  private readonly folded = new WeakMap<Chat, string>();
  private readonly stopPaging: () => void;

  constructor(
    inbox: Pick<Inbox, "chats" | "moreChats" | "loadMoreChats">,
    /** The open chat stays in the list of unread ones, because it would disappear while it is being used. */
    private readonly opened: ReadonlySignal<Address | null>,
    private readonly t: Translate,
  ) {
    this.found = computed(() => {
      const wanted = fold(this.words.value).split(/\s+/).filter(Boolean);
      const unread = this.onlyUnread.value;
      const chats = inbox.chats.value;
      if (wanted.length === 0 && !unread) return chats;
      return chats.filter((chat) => (!unread || this.staysUnread(chat)) && this.has(chat, wanted));
    });
    const wantsMore = computed(
      () => (this.onlyUnread.value || this.words.value.trim() !== "") && this.found.value.length < ENOUGH,
    );
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
  }

  private staysUnread(chat: Chat): boolean {
    const opened = this.opened.value;
    return chat.unreadCount > 0 || (opened?.chatId === chat.chatId && opened.sessionId === chat.sessionId);
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
