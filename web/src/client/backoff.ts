/** How long to wait before the next attempt. */
export interface BackoffOptions {
  delayMs: number;
  delayMaxMs: number;
  /** The random part of the delay, 0 to 1. */
  jitter: number;
}

export const DEFAULT_BACKOFF: BackoffOptions = { delayMs: 500, delayMaxMs: 5000, jitter: 0.5 };

/**
 * Exponential, with jitter downwards: the maximum is never exceeded, and attempts stay spread even when every
 * client has reached it, so that they do not all reconnect to a restarted server at the same moment.
 */
export class Backoff {
  private tries = 0;

  constructor(
    private readonly options: BackoffOptions,
    private readonly random: () => number = Math.random,
  ) {}

  next(): number {
    const { delayMs, delayMaxMs, jitter } = this.options;
    // 2 ** 30 is above any sensible maximum; without this limit the power would become Infinity.
    const full = Math.min(delayMaxMs, delayMs * 2 ** Math.min(this.tries, 30));
    this.tries += 1;
    return Math.round(full * (1 - jitter * this.random()));
  }

  reset(): void {
    this.tries = 0;
  }
}
