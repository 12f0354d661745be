/** How long to wait before the next try. */
export interface BackoffOptions {
  delayMs: number;
  delayMaxMs: number;
  /** Which part of the delay is left to chance, 0 to 1. */
  jitter: number;
}

export const DEFAULT_BACKOFF: BackoffOptions = { delayMs: 500, delayMaxMs: 5000, jitter: 0.5 };

/**
 * Exponential, with jitter downwards: the maximum is never exceeded, and tries stay spread even when
 * every client has reached it, so that a server that comes back is not met by all at the same moment.
 */
export class Backoff {
  private tries = 0;

  constructor(
    private readonly options: BackoffOptions,
    private readonly random: () => number = Math.random,
  ) {}

  next(): number {
    const { delayMs, delayMaxMs, jitter } = this.options;
    // 2 ** 30 is past any sensible maximum; without the bound the power would become Infinity.
    const full = Math.min(delayMaxMs, delayMs * 2 ** Math.min(this.tries, 30));
    this.tries += 1;
    return Math.round(full * (1 - jitter * this.random()));
  }

  reset(): void {
    this.tries = 0;
  }
}
