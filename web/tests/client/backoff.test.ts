import { expect, test } from "vitest";

import { Backoff } from "../../src/client";
import { seeded } from "../support/random";

test("each delay lies between the part that is fixed and the whole, and never above the maximum", () => {
  const random = seeded();
  for (let round = 0; round < 200; round += 1) {
    const options = { delayMs: 1 + Math.floor(random() * 2000), delayMaxMs: 2000 + Math.floor(random() * 60_000), jitter: random() };
    const backoff = new Backoff(options, random);
    for (let tries = 0; tries < 40; tries += 1) {
      const full = Math.min(options.delayMaxMs, options.delayMs * 2 ** tries);
      const delay = backoff.next();
      expect(delay).toBeGreaterThanOrEqual(Math.floor(full * (1 - options.jitter)));
      expect(delay).toBeLessThanOrEqual(Math.ceil(full));
    }
  }
});

test("after a reset it begins anew", () => {
  const backoff = new Backoff({ delayMs: 100, delayMaxMs: 10_000, jitter: 0 });
  expect([backoff.next(), backoff.next(), backoff.next()]).toEqual([100, 200, 400]);
  backoff.reset();
  expect(backoff.next()).toBe(100);
});

test("delays of many clients at the maximum are spread", () => {
  const random = seeded();
  const delays = new Set(
    Array.from({ length: 100 }, () => {
      const backoff = new Backoff({ delayMs: 500, delayMaxMs: 5000, jitter: 0.5 }, random);
      for (let tries = 0; tries < 10; tries += 1) backoff.next();
      return backoff.next();
    }),
  );
  expect(delays.size).toBeGreaterThan(50);
});
