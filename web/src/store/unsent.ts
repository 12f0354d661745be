import { batch, signal } from "@preact/signals";

import { hasCode, RoomcastError, type Message } from "../client";
import type { Address } from "./address";
import { persist } from "./persist";
import { routeOf } from "./route";
import type { Shelf } from "./unsentshelf";

/** Maximum number of messages being sent at a time, each of another chat. */
const AT_ONCE = 4;

export interface UnsentMessage extends Address {
  clientId: string;
  /** Ascending in the order in which they were written. */
  order: number;
  text: string;
  replyTo: string | null;
  /** The last `seq` of the chat that its author had seen, or `null` if the chat was not loaded. */
  after: number | null;
  /** When it was written. */
  at: string;
  /** Why the server refused it. For `conflict`, `other` is the other agent's answer. */
  refused: { code: string; other: Message | null } | null;
}

export interface UnsentOptions {
  shelf: Shelf;
  send: (message: UnsentMessage) => Promise<Message>;
  /** Called when the server has stored a message. */
  stored: (message: Message) => void;
  connected: () => boolean;
  /** Registers a callback for when the connection is back. Returns a function that removes it. */
  hurry: (wake: () => void) => () => void;
}

/**
 * Messages that the server has not stored yet.
 *
 * Policy: a message is stored here before it is sent, until the server has it or the agent discards it. The messages of
 * a chat are sent one after another, each repeatedly until there is an answer. Repeats have the same `clientId`, so a
 * reload, or another tab that sends the same messages, is harmless. After a `conflict` the later messages of the chat
 * wait until the agent has decided; after other refusals they do not.
 */
export class Unsent {
  /** In the order in which they were written. */
  readonly all = signal<readonly UnsentMessage[]>([]);
  /** The messages being sent, by clientId. */
  private readonly underWay = new Map<string, AbortController>();
  /** Unfinished writes to the shelf, by clientId. */
  private readonly keeping = new Map<string, number>();
  private readonly ended = new AbortController();
  private readonly stopHurrying: () => void;
  /** Messages that were removed, also if the shelf still has them. */
  private readonly gone = new Set<string>();
  private loaded = false;

  constructor(private readonly options: UnsentOptions) {
    this.stopHurrying = options.hurry(() => void this.load());
  }

  /** Continue with the stored messages, also those of other tabs. */
  async load(): Promise<void> {
    const kept = await this.options.shelf.all();
    if (this.ended.signal.aborted) return;
    if (kept) {
      const here = this.all.peek().filter(({ clientId }) => this.keeping.has(clientId));
      const others = kept.filter(({ clientId }) => !this.keeping.has(clientId) && !this.gone.has(clientId));
      this.all.value = [...others, ...here].sort((a, b) => a.order - b.order);
    }
    this.loaded = true;
    this.go();
  }

  stop(): void {
    this.ended.abort();
    this.stopHurrying();
  }

  /** Settles when the message is stored in the browser. It is in `all` at once. */
  async add(message: Omit<UnsentMessage, "order" | "at" | "refused">): Promise<void> {
    const order = Math.max(Date.now(), (this.all.peek().at(-1)?.order ?? 0) + 1);
    const added = { ...message, order, at: new Date(order).toISOString(), refused: null };
    this.all.value = [...this.all.peek(), added];
    await this.keep(added);
    this.go();
  }

  /** Send a refused message again, with what its author has seen by now. */
  async again(clientId: string, after: number | null): Promise<void> {
    await this.change(clientId, { refused: null, after });
    this.go();
  }

  /** Remove a message. It disappears when it is no longer stored. If it is being sent, it may reach the server nevertheless. */
  async discard(clientId: string): Promise<void> {
    this.gone.add(clientId);
    this.underWay.get(clientId)?.abort();
    await this.options.shelf.remove(clientId);
    this.remove(clientId);
  }

  /** The server has stored this message, from this tab or another one. */
  arrived({ clientId }: Message): void {
    if (clientId === null || !this.all.peek().some((one) => one.clientId === clientId)) return;
    this.underWay.get(clientId)?.abort();
    this.remove(clientId);
    void this.options.shelf.remove(clientId);
  }

  /** The chat was merged into another one. */
  moved(from: Address, to: Address): void {
    const concerned = this.all.peek().filter((message) => routeOf(message) === routeOf(from));
    for (const { clientId } of concerned) void this.change(clientId, to);
  }

  /** Discard all messages. */
  async forget(): Promise<void> {
    this.ended.abort();
    this.all.value = [];
    await this.options.shelf.clear();
  }

  private async change(clientId: string, change: Partial<UnsentMessage>): Promise<void> {
    const changed = this.all.peek().map((one) => (one.clientId === clientId ? { ...one, ...change } : one));
    this.all.value = changed;
    const message = changed.find((one) => one.clientId === clientId);
    if (message) await this.keep(message);
  }

  private async keep(message: UnsentMessage): Promise<void> {
    const { clientId } = message;
    this.keeping.set(clientId, (this.keeping.get(clientId) ?? 0) + 1);
    await this.options.shelf.put(message);
    const left = (this.keeping.get(clientId) ?? 1) - 1;
    if (left > 0) this.keeping.set(clientId, left);
    else this.keeping.delete(clientId);
  }

  private remove(clientId: string): void {
    this.gone.add(clientId);
    this.all.value = this.all.peek().filter((one) => one.clientId !== clientId);
    this.go();
  }

  /** Send the first message of each chat that has none being sent. */
  private go(): void {
    if (!this.loaded || this.ended.signal.aborted || !this.options.connected()) return;
    const passed = new Set<string>();
    for (const message of this.all.peek()) {
      const chat = routeOf(message);
      const first = !passed.has(chat);
      const { clientId, refused } = message;
      if (!refused || refused.code === "conflict") passed.add(chat);
      if (first && !refused && !this.underWay.has(clientId) && !this.gone.has(clientId) && this.underWay.size < AT_ONCE) void this.send(message);
    }
  }

  private async send(message: UnsentMessage): Promise<void> {
    const { clientId } = message;
    const stop = new AbortController();
    this.underWay.set(clientId, stop);
    try {
      const stored = await persist(() => this.options.send(message), {
        signal: AbortSignal.any([this.ended.signal, stop.signal]),
        hurry: this.options.hurry,
      });
      batch(() => {
        this.options.stored(stored);
        this.arrived(stored);
      });
    } catch (error) {
      // Without a valid token it waits until the agent signs in again.
      const waits = stop.signal.aborted || this.ended.signal.aborted || hasCode(error, "unauthorized");
      if (!waits) await this.change(clientId, { refused: reasonOf(error) });
    } finally {
      this.underWay.delete(clientId);
    }
    if (this.all.peek().some((one) => one.clientId === clientId && !one.refused)) return;
    this.go();
  }
}

function reasonOf(error: unknown): NonNullable<UnsentMessage["refused"]> {
  if (!(error instanceof RoomcastError)) return { code: "internal", other: null };
  return { code: error.code, other: error.details.message ?? null };
}
