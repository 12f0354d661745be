import { Backoff, hasCode, RoomcastError } from "../client";

/** Errors for which a retry is pointless. */
const FINAL = [
  "unauthorized",
  "not_found",
  "invalid",
  "malformed",
  "aborted",
  "conflict",
  "forbidden",
  "too_large",
  "unknown_event",
] as const;

export interface PersistOptions {
  signal: AbortSignal;
  /** Registers a callback for when a retry is likely to succeed, to end the wait early. Returns a function that removes it. */
  hurry: (wake: () => void) => () => void;
  /** The same for an explicit request to try now, whatever delay the server asked for. */
  urge?: (wake: () => void) => () => void;
  /** Called after a failure with the time of the next attempt. */
  waiting?: (error: unknown, until: number) => void;
}

/** Repeats an action at growing intervals until it succeeds. */
export async function persist<Result>(task: () => Promise<Result>, options: PersistOptions): Promise<Result> {
  const backoff = new Backoff({ delayMs: 500, delayMaxMs: 10_000, jitter: 0.5 });
  for (;;) {
    try {
      return await task();
    } catch (error) {
      if (options.signal.aborted || hasCode(error, ...FINAL)) throw error;
      const asked = error instanceof RoomcastError ? (error.retryAfterMs ?? 0) : 0;
      const wait = Math.max(asked, backoff.next());
      options.waiting?.(error, Date.now() + wait);
      await delay(wait, options, asked > 0);
    }
  }
}

function delay(ms: number, { signal, hurry, urge }: PersistOptions, asked: boolean): Promise<void> {
  return new Promise((resolve) => {
    const stops: (() => void)[] = [];
    const done = (): void => {
      clearTimeout(timer);
      stops.forEach((stop) => stop());
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    if (!asked) stops.push(hurry(done));
    if (urge) stops.push(urge(done));
    signal.addEventListener("abort", done);
  });
}
