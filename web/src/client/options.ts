import type { BackoffOptions } from "./backoff.js";
import type { Environment } from "./environment.js";
import type { RoomcastError } from "./errors.js";
import type { Transport } from "./runtime.js";
import type { DurableEvent, Position } from "./types.js";

export interface ClientOptions {
  /** The server's origin, as `https://inbox.example`. */
  url: string;
  path?: string;
  token: string;
  backoff?: BackoffOptions;
  /** A connection that is not made by then is given up, and the next one tried. */
  connectTimeoutMs?: number;
  ackTimeoutMs?: number;
  /** How long a connection has, after sleep or a change of network, to prove that it still lives. */
  probeTimeoutMs?: number;
  transports?: Transport[];
  environment?: Environment;
  random?: () => number;
  /** Is told each step, for those who look for a fault. Tokens and what people wrote are never in it. */
  log?: (step: string, details?: Readonly<Record<string, unknown>>) => void;
}

/** `retryAt`, in milliseconds as of `Date.now()`: when the next try begins; `null` while one is under way. */
export type ClientState =
  | { name: "connecting" }
  | { name: "connected" }
  | { name: "catching_up" }
  /** Connected, but the server cannot reach its database: nothing can come, neither what is new nor what was missed. */
  | { name: "unavailable"; retryAt: number | null }
  | { name: "reconnecting"; retryAt: number | null }
  /** As `reconnecting`, and the server has said before that it restarts. */
  | { name: "restarting"; retryAt: number | null }
  | { name: "offline"; retryAt: number | null }
  | { name: "unauthorized" }
  | { name: "closed" };

export interface ClientEvents {
  state: ClientState;
  /** A durable event, once, in ascending `seq` of its session. */
  event: DurableEvent;
  /** What was missed cannot be brought: load the lists of this session anew. Events go on from `position`. */
  reset: { sessionId: string; position: Position };
  /** A subscription has ended, because it is not, or no longer, allowed. */
  lost: { sessionId: string; chatId: string | null; error: RoomcastError };
}
