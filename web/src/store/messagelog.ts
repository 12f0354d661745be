import { computed, signal } from "@preact/signals";

import type { Message } from "../client";
import { isNothing } from "./news";

/** A chat that is read at its end holds this many messages at most; then the oldest are let go of. */
const MOST = 1_000;
const KEPT = 400;

/** A message, and how much of it lies above the upper edge, in pixels. */
export interface ReadingPlace {
  key: string;
  delta: number;
}

/** What is loaded of one chat: its newest messages, ascending by `seq`, without a hole from the first to the last. */
export class MessageLog {
  readonly messages = signal<readonly Message[]>([]);
  /** The same as a person looks at it. */
  readonly shown = computed(() => {
    const messages = this.messages.value;
    return messages.some(isNothing) ? messages.filter((message) => !isNothing(message)) : messages;
  });
  /** Whether the server has older ones. */
  readonly hasMore = signal(true);
  readonly loaded = signal(false);
  readonly loading = signal(false);
  /** Loaded as far back as somebody who opens it wants to begin. */
  readonly ready = signal(false);
  /** The last message that is in view now, and whether it is the last of all; `null` while nobody looks. */
  readonly inView = signal<{ seq: number; end: boolean } | null>(null);
  /** Where somebody was reading who was not at the end. */
  place: ReadingPlace | null = null;
  /** The end of the chat is what is looked at (or nothing of it): messages from above may be let go of. */
  following = true;
  /** While a page is on its way: news of messages that are not loaded. The page may have been read before them. */
  private early: Message[] = [];

  /** As it was kept from an earlier time. */
  static restored(messages: readonly Message[], hasMore: boolean, place: ReadingPlace | null): MessageLog {
    const log = new MessageLog();
    log.place = place;
    log.messages.value = messages;
    log.hasMore.value = hasMore;
    log.loaded.value = true;
    return log;
  }

  has(messageId: string): boolean {
    return this.messages.peek().some((message) => message.messageId === messageId);
  }

  /** Takes in the message of an event. */
  apply(message: Message): void {
    const messages = this.messages.value;
    const [first] = messages;
    const inside = this.loaded.value && (!first || !this.hasMore.value || message.seq >= first.seq);
    if (inside) {
      this.messages.value = withMessage(messages, message);
      this.trim();
    } else if (this.loading.value) {
      this.early.push(message);
    }
  }

  /** Takes in the newest page, or the one before the first message. */
  addPage(page: readonly Message[], hasMore: boolean): void {
    const [first] = page;
    const early = this.early.filter((message) => !hasMore || !first || message.seq >= first.seq);
    this.early = [];
    this.messages.value = early.length === 0 ? joined(page, this.messages.value) : united(page, this.messages.value, early);
    this.hasMore.value = hasMore;
    this.loaded.value = true;
  }

  private trim(): void {
    // A page that is on its way has to join on to the first message.
    if (!this.following || this.loading.value || this.messages.value.length <= MOST) return;
    this.messages.value = this.messages.value.slice(-KEPT);
    this.hasMore.value = true;
  }
}

/** A page that ends before the first message needs no comparing: long chats are made of many. */
function joined(page: readonly Message[], messages: readonly Message[]): readonly Message[] {
  const [last, first] = [page.at(-1), messages[0]];
  return !last || !first || last.seq < first.seq ? [...page, ...messages] : united(page, messages);
}

function united(...lists: readonly (readonly Message[])[]): readonly Message[] {
  const known = new Map<string, Message>();
  for (const message of lists.flat()) {
    const other = known.get(message.messageId);
    if (!other || message.updatedSeq >= other.updatedSeq) known.set(message.messageId, message);
  }
  return [...known.values()].sort((a, b) => a.seq - b.seq);
}

/** With this message at its place, in place of an older state of it. */
function withMessage(messages: readonly Message[], message: Message): readonly Message[] {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const other = messages[middle];
    if (other && other.seq < message.seq) low = middle + 1;
    else high = middle;
  }
  const there = messages[low];
  const known = there?.seq === message.seq;
  if (known && there.updatedSeq > message.updatedSeq) return messages;
  return messages.toSpliced(low, known ? 1 : 0, message);
}
