import type { BackoffOptions } from "./backoff.js";
import type { Environment } from "./environment.js";
import type { RoomcastError } from "./errors.js";
import type { Transport } from "./runtime.js";
import type { DurableEvent, Position, SessionPayload, SetPayloads } from "./types.js";

export interface ClientOptions {
  /** The server's origin, as `https://inbox.example`. */
  url: string;
  path?: string;
  token: string;
  backoff?: BackoffOptions;
  /** Time limit for connecting, after which the next attempt starts. */
  connectTimeoutMs?: number;
  ackTimeoutMs?: number;
  /** After sleep or a change of network, how long a connection may take to answer a check. */
  probeTimeoutMs?: number;
  transports?: Transport[];
  environment?: Environment;
  random?: () => number;
  /** Called for each step, for debugging. The details never contain tokens or message texts. */
  log?: (step: string, details?: Readonly<Record<string, unknown>>) => void;
}

/** `retryAt`: when the next attempt starts, in milliseconds like `Date.now()`; `null` while one is running. */
export type ClientState =
  | { name: "connecting" }
  | { name: "connected" }
  | { name: "catching_up" }
  /** Connected, but the server cannot reach its database, so neither new nor missed events can come. */
  | { name: "unavailable"; retryAt: number | null }
  | { name: "reconnecting"; retryAt: number | null }
  /** Like `reconnecting`, after the server has announced a restart. */
  | { name: "restarting"; retryAt: number | null }
  | { name: "offline"; retryAt: number | null }
  | { name: "unauthorized" }
  | { name: "closed" };

/** Sets come as a whole whenever they change, and empty, with `expiresInMs` 0, when they expire. */
export interface ClientEvents extends SetPayloads {
  state: ClientState;
  /** A durable event. Each comes once, in ascending `seq` of its session. */
  event: DurableEvent;
  /** Missed events cannot be replayed: load the lists of this session again. Events continue from `position`. */
  reset: { sessionId: string; position: Position };
  /** A session's name, account or sending has changed, or it was subscribed to. */
  session: SessionPayload;
  /** A subscription has ended, because it is not allowed (any more). */
  lost: { sessionId: string; chatId: string | null; error: RoomcastError };
}
