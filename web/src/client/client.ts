import { Backoff, DEFAULT_BACKOFF } from "./backoff.js";
import { Calls } from "./calls.js";
import { detectEnvironment, type Sign } from "./environment.js";
import { RoomcastError } from "./errors.js";
import { Link } from "./link.js";
import type { ClientOptions, ClientState } from "./options.js";
import { checkTransports, type Transport } from "./runtime.js";
import { Sets, type People } from "./sets.js";
import { Subscriptions, type Subscribed } from "./subscriptions.js";
import type { DurableEvent, DurableName, Position, PositionPayload, RequestName, Requests, SetName } from "./types.js";
import { Viewing } from "./viewing.js";

/** After a connection that lasted this long, the reconnect delay starts short again. */
const STABLE_MS = 5_000;
/** When the network comes back, an attempt younger than this continues. */
const FRESH_TRY_MS = 2_000;
/** A restart that takes longer than this is shown as a lost connection. */
const RESTART_MS = 60_000;

/** Follows sessions, with automatic reconnects. */
export class RoomcastClient extends Calls {
  private readonly options: Required<ClientOptions>;
  private readonly backoff: Backoff;
  private readonly subscriptions: Subscriptions;
  private readonly sets = new Sets((name, payload) => this.emit(name, payload as never));
  private readonly viewing = new Viewing();
  private link: Link | null = null;
  private retryTimer: ReturnType<typeof setTimeout> | null = null;
  private stopWatching: (() => void) | null = null;
  private retryAt: number | null = null;
  private losses = 0;
  private restartUntil = 0;
  private ended: "unauthorized" | "closed" | null = null;
  private probing = false;
  /** Whether the server's database was last known to be available. */
  private available = true;
  private current: ClientState = { name: "connecting" };
  /** In the order in which they are tried. If a proxy accepts a WebSocket but forwards nothing, the next one comes first. */
  private transports: readonly Transport[];

  /** Throws RoomcastError `unsupported` if no transport works in this runtime. */
  constructor(options: ClientOptions) {
    super();
    this.options = {
      path: "/socket.io/",
      backoff: DEFAULT_BACKOFF,
      connectTimeoutMs: 10_000,
      ackTimeoutMs: 10_000,
      probeTimeoutMs: 3_000,
      transports: ["websocket", "polling"],
      environment: options.environment ?? detectEnvironment(),
      random: Math.random,
      log: () => undefined,
      ...options,
    };
    this.transports = this.options.transports;
    checkTransports(this.transports);
    this.backoff = new Backoff(this.options.backoff, this.options.random);
    this.subscriptions = new Subscriptions(
      {
        reset: (what) => {
          this.log("reset: missed events cannot be replayed, load the lists again", what);
          this.emit("reset", what);
        },
        lost: (what) => {
          this.log("subscription lost", { ...what, error: what.error.code });
          this.emit("lost", what);
        },
        answered: (what) => this.log("subscribed", what),
        changed: () => this.refresh(),
      },
      this.options.random,
    );
  }

  get state(): ClientState {
    return this.current;
  }

  get token(): string {
    return this.options.token;
  }

  connect(): void {
    if (this.link || this.ended === "closed") return;
    this.stopWatching ??= this.options.environment.watch((sign) => this.noticed(sign));
    this.open();
  }

  /** Closes for good. Pending requests are rejected. */
  close(): void {
    this.ended = "closed";
    this.stopWatching?.();
    this.clearRetry();
    this.link?.end(new RoomcastError("disconnected", "closed"));
    this.sets.clear();
    this.subscriptions.abandon(new RoomcastError("disconnected", "closed"));
    this.refresh();
  }

  /** Tries to connect now instead of waiting. */
  retryNow(): void {
    if (this.retryTimer !== null) this.open();
  }

  /**
   * Follows a session, or a chat of it, on this and every later connection, from now on or from `position`.
   * Settles with the server's first answer, however long it takes to connect.
   */
  subscribe(sessionId: string, chatId?: string, position?: Position): Promise<Subscribed> {
    return this.subscriptions.add(sessionId, chatId ?? null, position);
  }

  unsubscribe(sessionId: string, chatId?: string): void {
    this.subscriptions.remove(sessionId, chatId ?? null);
  }

  /** Replaces the token. It is sent to the server if connected, and otherwise used for the next connection. */
  async authenticate(token: string): Promise<void> {
    if (this.link?.isUp) await this.request("authenticate", { token });
    this.options.token = token;
    if (this.ended === "unauthorized") {
      this.ended = null;
      this.open();
    }
  }

  /** The position of the last handled event of this session. */
  position(sessionId: string): Position | null {
    return this.subscriptions.stream(sessionId)?.position ?? null;
  }

  /** Says which chat this client shows to a person, on this and every later connection: one at a time, or none. */
  view(chat: { sessionId: string; chatId: string } | null): void {
    this.viewing.show(chat);
  }

  /** Who is typing, online or viewing in a chat now. */
  people<Name extends SetName>(name: Name, sessionId: string, chatId: string): People<Name> {
    return this.sets.of(name, sessionId, chatId);
  }

  private log(step: string, details?: Readonly<Record<string, unknown>>): void {
    this.options.log(step, details);
  }

  protected request<Name extends RequestName>(name: Name, payload: Requests[Name]["payload"]): Promise<Requests[Name]["data"]> {
    return new Promise((resolve, reject) => {
      if (!this.link) return reject(new RoomcastError("disconnected", "not connected"));
      this.link.request(name, payload, (error, data) => (data ? resolve(data) : reject(error)));
    });
  }

  private open(): void {
    this.clearRetry();
    const { url, path, token, connectTimeoutMs, ackTimeoutMs } = this.options;
    const transports = this.transports;
    this.probing = false;
    this.available = true;
    this.log("connecting", { url, path, transports });
    this.link = new Link(
      { url, path, token, transports, connectTimeoutMs, ackTimeoutMs },
      {
        up: () => {
          this.restartUntil = 0;
          this.log("connected", { afterMs: this.link ? Date.now() - this.link.openedAt : 0 });
          if (this.link) this.subscriptions.connected(this.link);
          if (this.link) this.viewing.connected(this.link);
          this.refresh();
        },
        down: (error) => this.down(error),
        durable: (name, payload) => this.durable(name, payload),
        position: (payload) => this.moved(payload),
        session: (payload) => this.emit("session", payload),
        set: (name, payload) => this.sets.take(name, payload),
        service: ({ available }) => this.setAvailable(available),
      },
    );
    this.refresh();
  }

  private down(error: RoomcastError): void {
    const upAt = this.link?.upAt ?? null;
    const silentMs = this.link && upAt === null ? Date.now() - this.link.openedAt : 0;
    this.link = null;
    this.subscriptions.disconnected();
    if (this.ended === "closed") return;
    this.losses += 1;
    if (error.code === "restarting") this.restartUntil = Date.now() + RESTART_MS;
    if (error.code === "unauthorized") {
      this.ended = "unauthorized";
      this.log("refused: the token is not valid");
    } else {
      if (upAt !== null && Date.now() - upAt >= STABLE_MS) this.backoff.reset();
      if (silentMs >= FRESH_TRY_MS) {
        this.transports = [...this.transports.slice(1), ...this.transports.slice(0, 1)];
      }
      const delay = this.backoff.next();
      this.retryAt = Date.now() + delay;
      this.log("not connected", { code: error.code, reason: error.message, nextTryMs: delay });
      this.retryTimer = setTimeout(() => this.open(), delay);
    }
    this.refresh();
  }

  private clearRetry(): void {
    if (this.retryTimer !== null) clearTimeout(this.retryTimer);
    this.retryTimer = null;
    this.retryAt = null;
  }

  private noticed(sign: Sign): void {
    this.log(`environment: ${sign}`);
    if (sign === "online") this.backoff.reset();
    if (this.link?.isUp) this.probe(this.link);
    else if (sign === "offline") this.refresh();
    else if (this.retryTimer !== null) this.open();
    // An attempt from before the sleep, or on a lost network, would only run into its deadline.
    else if (this.link && Date.now() - this.link.openedAt > FRESH_TRY_MS) {
      this.link.end(new RoomcastError("timeout", "overtaken"));
      this.open();
    }
  }

  /**
   * Checks the connection: after sleep it may seem open but be dead, and the heartbeat would need most of a minute to
   * notice. Sending the present token again changes nothing.
   */
  private probe(link: Link): void {
    if (this.probing) return;
    this.probing = true;
    link.request(
      "authenticate",
      { token: this.options.token },
      (error) => {
        if (link !== this.link) return;
        this.probing = false;
        this.log(error ? `connection check failed: ${error.code}` : "connection check passed");
        if (error?.code === "timeout") {
          link.end(error);
          this.retryNow();
        }
      },
      this.options.probeTimeoutMs,
    );
  }

  private durable(event: DurableName, payload: unknown): void {
    const durable = { event, ...(payload as object) } as DurableEvent;
    const taken = this.subscriptions.stream(durable.sessionId)?.take(durable.seq) ?? false;
    this.log(taken ? event : `${event} already handled`, { sessionId: durable.sessionId, seq: durable.seq });
    if (taken) this.emit("event", durable);
    this.setAvailable(true);
  }

  private moved({ sessionId, position }: PositionPayload): void {
    this.subscriptions.stream(sessionId)?.advance(position);
    if (this.current.name === "catching_up") this.refresh();
  }

  /** The server has reported, or shown, whether its database is available. */
  private setAvailable(available: boolean): void {
    this.available = available;
    // Once connected, ordinary events do not change the state.
    if (!available || this.current.name !== "connected") this.refresh();
  }

  private refresh(): void {
    const next = this.present();
    const same = JSON.stringify(next) === JSON.stringify(this.current);
    this.current = next;
    if (same) return;
    this.log(`state: ${next.name}`);
    this.emit("state", next);
  }

  private present(): ClientState {
    if (this.ended) return { name: this.ended };
    if (this.link?.isUp) {
      const { upToDate, hinderedUntil } = this.subscriptions;
      if (!this.available || (!upToDate && hinderedUntil !== null)) return { name: "unavailable", retryAt: hinderedUntil };
      return { name: upToDate ? "connected" : "catching_up" };
    }
    if (!this.options.environment.isOnline()) return { name: "offline", retryAt: this.retryAt };
    if (this.losses === 0) return { name: "connecting" };
    if (Date.now() < this.restartUntil) return { name: "restarting", retryAt: this.retryAt };
    return { name: "reconnecting", retryAt: this.retryAt };
  }
}
