/** mulberry32: small, seeded, good enough for tests. The seed is printed, so that a failure can be had again. */
export function seeded(seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31))): () => number {
  console.info(`SEED=${seed}`);
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
