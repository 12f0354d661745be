import type { Chat, Message } from "./types.js";

/** All errors, distinguished by `code`: the server's codes, and those of the connection. */
export type ErrorCode =
  // Socket.IO
  | "invalid"
  | "forbidden"
  | "unknown_event"
  | "too_many_subscriptions"
  // the state has changed: see `details`
  | "conflict"
  | "rate_limited"
  | "unavailable"
  | "internal"
  // HTTP
  | "malformed"
  | "unauthorized"
  | "not_found"
  | "method_not_allowed"
  | "too_large"
  | "unsupported_media_type"
  // of the connection
  | "timeout"
  | "disconnected"
  // the server has announced a restart
  | "restarting"
  | "unreachable"
  // no transport works in this runtime
  | "unsupported"
  | "aborted";

export interface ErrorDetails {
  readonly message?: Message;
  readonly chat?: Chat;
}

export class RoomcastError extends Error {
  override readonly name = "RoomcastError";
  /** The server's `Retry-After`, in milliseconds. */
  readonly retryAfterMs: number | null;
  /** For `conflict`, the conflicting `message` or `chat`. */
  readonly details: ErrorDetails;

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: { retryAfterMs?: number | null; details?: unknown; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.retryAfterMs = options.retryAfterMs ?? null;
    this.details = Object(options.details) as ErrorDetails;
  }
}

export function hasCode(error: unknown, ...codes: ErrorCode[]): boolean {
  return error instanceof RoomcastError && codes.includes(error.code);
}
