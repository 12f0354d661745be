import { computed, signal } from "@preact/signals";

import type { Message } from "../client";
import { isNothing } from "./news";

/** While a chat is viewed at its end, it keeps at most this many messages; older ones are dropped. */
const MOST = 1_000;
const KEPT = 400;

/** A message, and how much of it is above the upper edge, in pixels. */
export interface ReadingPlace {
  key: string;
  delta: number;
}

/** The loaded part of a chat: its newest messages, ascending by `seq`, without gaps. */
export class MessageLog {
  readonly messages = signal<readonly Message[]>([]);
  /** The same, as shown to a person. */
  readonly shown = computed(() => {
    const messages = this.messages.value;
    return messages.some(isNothing) ? messages.filter((message) => !isNothing(message)) : messages;
  });
  /** Whether the server has older messages. */
  readonly hasMore = signal(true);
  readonly loaded = signal(false);
  readonly loading = signal(false);
  /** Whether it is loaded back to where the person wants to begin. */
  readonly ready = signal(false);
  /** The last visible message, and whether it is the last of all; `null` while the chat is not visible. */
  readonly inView = signal<{ seq: number; end: boolean } | null>(null);
  /** The reading position, if it was not at the end. */
  place: ReadingPlace | null = null;
  /** The end of the chat is visible (or none of it), so older messages may be dropped. */
  following = true;
  /** While a page is loading: updates of messages that are not loaded, because the page may be older than the updates. */
  private early: Message[] = [];

  /** Restores a stored log. */
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

  /** Applies the message of an event. */
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

  /** Applies the newest page, or the one before the first message. */
  addPage(page: readonly Message[], hasMore: boolean): void {
    const [first] = page;
    const early = this.early.filter((message) => !hasMore || !first || message.seq >= first.seq);
    this.early = [];
    this.messages.value = early.length === 0 ? joined(page, this.messages.value) : united(page, this.messages.value, early);
    this.hasMore.value = hasMore;
    this.loaded.value = true;
  }

  private trim(): void {
    // A page that is loading must connect to the first message.
    if (!this.following || this.loading.value || this.messages.value.length <= MOST) return;
    this.messages.value = this.messages.value.slice(-KEPT);
    this.hasMore.value = true;
  }
}

/** A page that ends before the first message needs no comparisons, which matters for long chats. */
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

/** Returns the list with this message in its place, replacing an older version. */
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
