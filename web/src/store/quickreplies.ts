import { signal, type ReadonlySignal } from "@preact/signals";

import type { QuickReply, RoomcastApi } from "../client";
import { fold } from "../text/fold";

/** The quick replies of the sessions, loaded when they are needed. */
export class QuickReplies {
  private readonly sessions = signal<ReadonlyMap<string, readonly QuickReply[]>>(new Map());

  constructor(private readonly api: Pick<RoomcastApi, "quickReplies" | "putQuickReplies">) {}

  /** By session; those that are not loaded are missing. */
  get all(): ReadonlySignal<ReadonlyMap<string, readonly QuickReply[]>> {
    return this.sessions;
  }

  async load(sessionId: string): Promise<readonly QuickReply[]> {
    return this.put(sessionId, await this.api.quickReplies(sessionId));
  }

  async save(sessionId: string, replies: readonly QuickReply[]): Promise<void> {
    this.put(sessionId, await this.api.putQuickReplies(sessionId, replies));
  }

  private put(sessionId: string, replies: readonly QuickReply[]): readonly QuickReply[] {
    this.sessions.value = new Map(this.sessions.peek()).set(sessionId, replies);
    return replies;
  }
}

/** The text between a `/` and the caret. */
export interface Slash {
  from: number;
  to: number;
  word: string;
}

/** The `/` before the caret, if it begins a word. */
export function slashBefore(text: string, caret: number): Slash | null {
  const [, word] = /(?:^|\s)\/([^\s/]*)$/.exec(text.slice(0, caret)) ?? [];
  return word === undefined ? null : { from: caret - word.length - 1, to: caret, word };
}

/** The replies with this word in their shortcut, and then those with it in their text. */
export function matching(replies: readonly QuickReply[], word: string): QuickReply[] {
  const wanted = fold(word);
  const named = replies.filter(({ shortcut }) => fold(shortcut).includes(wanted));
  return [...named, ...replies.filter((reply) => !named.includes(reply) && fold(reply.text).includes(wanted))];
}

/** The text with the contact's name, or without the placeholder if the name is not known. */
export function filled(text: string, name: string | null): string {
  return name ? text.replaceAll("{name}", () => name) : text.replace(/[^\S\n]?\{name\}/g, "");
}
