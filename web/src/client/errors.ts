/** Everything that can go wrong, told apart by `code`: the server's codes, and those of the way to it. */
export type ErrorCode =
  // Socket.IO
  | "invalid"
  | "forbidden"
  | "unknown_event"
  | "too_many_subscriptions"
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
  // on the way
  | "timeout"
  | "disconnected"
  // the server has said that it stops, and means to be back
  | "restarting"
  | "unreachable"
  // this runtime has no transport that could connect
  | "unsupported"
  | "aborted";

export class RoomcastError extends Error {
  override readonly name = "RoomcastError";
  /** What the server says by `Retry-After`, in milliseconds. */
  readonly retryAfterMs: number | null;

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: { retryAfterMs?: number | null; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

export function hasCode(error: unknown, ...codes: ErrorCode[]): boolean {
  return error instanceof RoomcastError && codes.includes(error.code);
}
