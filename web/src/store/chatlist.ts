import { computed, signal } from "@preact/signals";

import type { Chat } from "../client";

/** The chats of one session, newest message first. */
export class ChatList {
  readonly ordered = signal<readonly Chat[]>([]);
  readonly unread = computed(() => this.ordered.value.reduce((sum, chat) => sum + chat.unreadCount, 0));
  private readonly byId = new Map<string, Chat>();
  /** Merged chats and the event of each merge, so that a list read before the merge does not add them again. */
  private readonly merged = new Map<string, number>();

  get(chatId: string): Chat | undefined {
    return this.byId.get(chatId);
  }

  /** This chat was merged into another one by event `seq`. */
  remove(chatId: string, seq: number): void {
    this.merged.set(chatId, seq);
    if (this.byId.delete(chatId)) this.ordered.value = this.ordered.value.filter((chat) => chat.chatId !== chatId);
  }

  /** Applies chats from a list or an event: the version that was changed last counts. */
  put(...chats: Chat[]): void {
    const newer: Chat[] = [];
    for (const chat of chats) {
      const known = this.byId.get(chat.chatId);
      if (known && known.updatedSeq > chat.updatedSeq) continue;
      if (chat.updatedSeq <= (this.merged.get(chat.chatId) ?? 0)) continue;
      this.byId.set(chat.chatId, chat);
      newer.push(chat);
    }
    const [only] = newer;
    if (!only) return;
    this.ordered.value =
      newer.length === 1 ? replaced(this.ordered.value, only) : [...this.byId.values()].sort(byLastSeq);
  }
}

/** Highest `lastSeq` first, as the server orders them. */
function byLastSeq(a: Chat, b: Chat): number {
  return b.lastSeq - a.lastSeq || (a.chatId < b.chatId ? -1 : 1);
}

/** Moves one chat without sorting the whole list again. */
function replaced(ordered: readonly Chat[], chat: Chat): Chat[] {
  const rest = ordered.filter((other) => other.chatId !== chat.chatId);
  let low = 0;
  let high = rest.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const other = rest[middle];
    if (other && byLastSeq(other, chat) < 0) low = middle + 1;
    else high = middle;
  }
  rest.splice(low, 0, chat);
  return rest;
}

/**
 * The chats of several sessions as one list. Within a session they are ordered by `seq`; between sessions, whose
 * numbers are unrelated, by the time of the last message.
 */
export function merged(lists: readonly (readonly Chat[])[]): readonly Chat[] {
  const [only, ...others] = lists;
  if (!only || others.length === 0) return only ?? [];
  const heads = lists.map((list) => ({ list, index: 0 }));
  const result: Chat[] = [];
  for (;;) {
    let best: { head: (typeof heads)[number]; chat: Chat; time: string } | null = null;
    for (const head of heads) {
      const chat = head.list[head.index];
      if (!chat) continue;
      const time = timeOf(chat);
      if (!best || time > best.time) best = { head, chat, time };
    }
    if (!best) return result;
    result.push(best.chat);
    best.head.index += 1;
  }
}

/** All times of the contract are in UTC and in one format, so they can be compared as strings. */
function timeOf(chat: Chat): string {
  return chat.lastMessage?.timestamp ?? chat.updatedAt;
}
