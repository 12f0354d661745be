import type { Position } from "./types.js";

/** `null`: the whole session. Otherwise a chat of it. */
export type Part = string | null;

/** A session that this client follows: its subscriptions, and the position of the last handled event. */
export class SessionStream {
  /** The requested subscriptions, across connections. */
  readonly wanted = new Set<Part>();
  /** The subscriptions confirmed on the present connection. */
  readonly held = new Set<Part>();
  position: Position | null = null;
  /**
   * The present connection has not started its stream after our position yet. Events that come before that come again
   * afterwards, so they are ignored: handling them would move the position past missed events.
   */
  restarting = false;
  /** Subscriptions are being sent to the server. */
  syncing = false;
  private target = 0;

  constructor(readonly sessionId: string) {}

  /** A new connection starts without subscriptions. */
  connectionLost(): void {
    this.held.clear();
    this.syncing = false;
    this.restarting = this.position !== null;
  }

  /** Continue from this position, replacing any earlier one. */
  startFrom(position: Position): void {
    this.position = position;
    this.held.clear();
    this.restarting = true;
  }

  missing(): Part[] {
    // The whole session includes all its chats.
    const parts = this.wanted.has(null) ? [null] : [...this.wanted];
    return parts.filter((part) => !this.held.has(part));
  }

  surplus(): Part[] {
    const whole = this.wanted.has(null);
    return [...this.held].filter((part) => !this.wanted.has(part) || (whole && part !== null));
  }

  /** The stream continues where it was, up to `answer` and beyond. */
  recovered(answer: Position): void {
    this.restarting = false;
    this.target = answer.seq;
  }

  /** The stream begins at `answer`; earlier data has to be loaded. */
  begin(answer: Position): void {
    this.restarting = false;
    this.position = answer;
    this.target = answer.seq;
  }

  get upToDate(): boolean {
    return !this.restarting && (this.position?.seq ?? 0) >= this.target;
  }

  /** Moves the position to this event. Returns false if it was handled before. */
  take(seq: number): boolean {
    if (this.restarting || !this.position || seq <= this.position.seq) return false;
    this.position = { epoch: this.position.epoch, seq };
    return true;
  }

  /** The server reports the position of the stream. */
  advance(position: Position): void {
    if (position.epoch === this.position?.epoch) this.take(position.seq);
  }
}
