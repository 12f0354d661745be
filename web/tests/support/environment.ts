import type { Environment, Sign } from "../../src/client";

/** Surroundings that a test commands. */
export class FakeEnvironment implements Environment {
  online = true;
  private readonly callbacks = new Set<(sign: Sign) => void>();

  isOnline(): boolean {
    return this.online;
  }

  watch(callback: (sign: Sign) => void): () => void {
    this.callbacks.add(callback);
    return () => this.callbacks.delete(callback);
  }

  show(sign: Sign): void {
    if (sign !== "wake") this.online = sign === "online";
    for (const callback of this.callbacks) callback(sign);
  }

  get watchers(): number {
    return this.callbacks.size;
  }
}
