import type { Position } from "./types.js";

/** `null`: the whole session. Otherwise one chat of it. */
export type Part = string | null;

/** One session as this client follows it: what is wanted of it, and how far it has been taken in. */
export class SessionStream {
  /** What the user asked for; survives connections. */
  readonly wanted = new Set<Part>();
  /** What the present connection has been told and has confirmed. */
  readonly held = new Set<Part>();
  position: Position | null = null;
  /**
   * The present connection has yet to start its stream after our position. What comes before that comes
   * again after it, so it is left out: taking it in would move the position past what was missed.
   */
  restarting = false;
  /** The server is being told what is wanted. */
  syncing = false;
  private target = 0;

  constructor(readonly sessionId: string) {}

  /** A new connection knows nothing of us. */
  connectionLost(): void {
    this.held.clear();
    this.syncing = false;
    this.restarting = this.position !== null;
  }

  /** Follow on from this position, whatever was there before. */
  startFrom(position: Position): void {
    this.position = position;
    this.held.clear();
    this.restarting = true;
  }

  missing(): Part[] {
    // The whole session holds all its chats.
    const parts = this.wanted.has(null) ? [null] : [...this.wanted];
    return parts.filter((part) => !this.held.has(part));
  }

  surplus(): Part[] {
    const whole = this.wanted.has(null);
    return [...this.held].filter((part) => !this.wanted.has(part) || (whole && part !== null));
  }

  /** The stream goes on where it was, up to `answer` and beyond. */
  recovered(answer: Position): void {
    this.restarting = false;
    this.target = answer.seq;
  }

  /** The stream begins at `answer`; what was before has to be loaded. */
  begin(answer: Position): void {
    this.restarting = false;
    this.position = answer;
    this.target = answer.seq;
  }

  get upToDate(): boolean {
    return !this.restarting && (this.position?.seq ?? 0) >= this.target;
  }

  /** Whether the event with this number is the next to take in; if so it has been. */
  take(seq: number): boolean {
    if (this.restarting || !this.position || seq <= this.position.seq) return false;
    this.position = { epoch: this.position.epoch, seq };
    return true;
  }

  /** The server says how far the stream has come. */
  advance(position: Position): void {
    if (position.epoch === this.position?.epoch) this.take(position.seq);
  }
}
