import { Backoff, hasCode, RoomcastError } from "../client";

/** Trying again would bring the same. */
const FINAL = ["unauthorized", "not_found", "invalid", "malformed", "aborted"] as const;

export interface PersistOptions {
  signal: AbortSignal;
  /** Takes a callback for when things look better, so that the wait can end early. Returns how to stop. */
  hurry: (wake: () => void) => () => void;
}

/** Does it again until it succeeds, at growing intervals. */
export async function persist<Result>(task: () => Promise<Result>, options: PersistOptions): Promise<Result> {
  const backoff = new Backoff({ delayMs: 500, delayMaxMs: 10_000, jitter: 0.5 });
  for (;;) {
    try {
      return await task();
    } catch (error) {
      if (options.signal.aborted || hasCode(error, ...FINAL)) throw error;
      const asked = error instanceof RoomcastError ? (error.retryAfterMs ?? 0) : 0;
      await delay(Math.max(asked, backoff.next()), asked > 0 ? { ...options, hurry: () => () => undefined } : options);
    }
  }
}

function delay(ms: number, { signal, hurry }: PersistOptions): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      stop();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    const stop = hurry(done);
    signal.addEventListener("abort", done);
  });
}
