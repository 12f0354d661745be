import { Backoff } from "./backoff.js";
import { RoomcastError } from "./errors.js";
import type { Link } from "./link.js";
import { SessionStream, type Part } from "./stream.js";
import type { Position, Requests } from "./types.js";

export type Subscribed = Requests["subscribe"]["data"];

interface Waiter {
  stream: SessionStream;
  part: Part;
  resolve: (answer: Subscribed) => void;
  reject: (error: RoomcastError) => void;
}

/** Errors after which a subscription is requested again. */
const PASSING = new Set(["timeout", "rate_limited", "unavailable", "internal"]);

export interface SubscriptionsListener {
  reset(what: { sessionId: string; position: Position }): void;
  lost(what: { sessionId: string; chatId: string | null; error: RoomcastError }): void;
  answered(what: { sessionId: string; chatId: string | null; recovered: boolean; seq: number }): void;
  /** Called when it may have changed whether everything is up to date. */
  changed(): void;
}

/** The subscriptions, which are made again on each new connection. */
export class Subscriptions {
  private readonly streams = new Map<string, SessionStream>();
  private waiters: Waiter[] = [];
  private link: Link | null = null;
  /** If the server last reported that its database is unavailable: when the next request is made. */
  hinderedUntil: number | null = null;
  private readonly backoff: Backoff;

  constructor(
    private readonly listener: SubscriptionsListener,
    random: () => number,
  ) {
    this.backoff = new Backoff({ delayMs: 1_000, delayMaxMs: 30_000, jitter: 0.5 }, random);
  }

  get upToDate(): boolean {
    return [...this.streams.values()].every((stream) => stream.upToDate);
  }

  stream(sessionId: string): SessionStream | undefined {
    return this.streams.get(sessionId);
  }

  connected(link: Link): void {
    this.link = link;
    for (const stream of this.streams.values()) this.sync(stream);
  }

  disconnected(): void {
    this.link = null;
    this.hinderedUntil = null;
    for (const stream of this.streams.values()) stream.connectionLost();
  }

  add(sessionId: string, part: Part, position?: Position): Promise<Subscribed> {
    let stream = this.streams.get(sessionId);
    if (!stream) this.streams.set(sessionId, (stream = new SessionStream(sessionId)));
    stream.wanted.add(part);
    if (position) stream.startFrom(position);
    return new Promise((resolve, reject) => {
      this.waiters.push({ stream, part, resolve, reject });
      this.sync(stream);
    });
  }

  remove(sessionId: string, part: Part): void {
    const stream = this.streams.get(sessionId);
    if (!stream?.wanted.delete(part)) return;
    this.settle(stream, part, (waiter) => waiter.reject(new RoomcastError("aborted", "unsubscribed")));
    this.sync(stream);
  }

  /** No more answers will come. */
  abandon(error: RoomcastError): void {
    for (const waiter of this.waiters.splice(0)) waiter.reject(error);
  }

  /** Sends the subscriptions of this session that the server does not know yet, one request after the other. */
  private sync(stream: SessionStream): void {
    const link = this.link;
    if (!link?.isUp || stream.syncing) return;
    const { sessionId } = stream;
    const missing = stream.missing();
    const [part] = missing;
    if (part !== undefined) {
      // A position restarts the whole stream, so it is sent once, with the last subscription.
      const position = stream.restarting && missing.length === 1 ? stream.position : null;
      stream.syncing = true;
      link.request("subscribe", { ...address(sessionId, part), ...(position && { position }) }, (error, data) => {
        if (link !== this.link) return;
        stream.syncing = false;
        if (data) this.subscribed(stream, part, data, position !== null);
        else if (error) this.refused(link, stream, part, error);
      });
      return;
    }
    const [surplus] = stream.surplus();
    if (surplus !== undefined) {
      stream.syncing = true;
      link.request("unsubscribe", address(sessionId, surplus), () => {
        if (link !== this.link) return;
        stream.syncing = false;
        stream.held.delete(surplus);
        this.sync(stream);
      });
      return;
    }
    if (stream.wanted.size === 0) this.streams.delete(sessionId);
    this.listener.changed();
  }

  private subscribed(stream: SessionStream, part: Part, answer: Subscribed, restarted: boolean): void {
    const { sessionId } = stream;
    this.backoff.reset();
    this.hinderedUntil = null;
    stream.held.add(part);
    if (restarted && answer.recovered) {
      stream.recovered(answer.position);
    } else if (restarted) {
      stream.begin(answer.position);
      this.listener.reset({ sessionId, position: answer.position });
    } else if (!stream.position) {
      stream.begin(answer.position);
    }
    this.listener.answered({ sessionId, chatId: part, recovered: answer.recovered, seq: answer.position.seq });
    this.settle(stream, part, (waiter) => waiter.resolve(answer));
    this.sync(stream);
  }

  private refused(link: Link, stream: SessionStream, part: Part, error: RoomcastError): void {
    if (error.code === "disconnected") return;
    if (PASSING.has(error.code)) {
      stream.syncing = true;
      const delay = this.backoff.next();
      this.hinderedUntil = error.code === "unavailable" ? Date.now() + delay : null;
      this.listener.changed();
      setTimeout(() => {
        if (link !== this.link) return;
        stream.syncing = false;
        this.sync(stream);
      }, delay);
      return;
    }
    stream.wanted.delete(part);
    // The subscription that had the position may be the one that ended: request the others again.
    if (stream.restarting) stream.held.clear();
    this.settle(stream, part, (waiter) => waiter.reject(error));
    this.listener.lost({ sessionId: stream.sessionId, chatId: part, error });
    this.sync(stream);
  }

  private settle(stream: SessionStream, part: Part, how: (waiter: Waiter) => void): void {
    const mine = this.waiters.filter((waiter) => waiter.stream === stream && waiter.part === part);
    this.waiters = this.waiters.filter((waiter) => !mine.includes(waiter));
    mine.forEach(how);
  }
}

function address(sessionId: string, part: Part): { sessionId: string; chatId?: string } {
  return part === null ? { sessionId } : { sessionId, chatId: part };
}
