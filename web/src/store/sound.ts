/** Minimum time between two sounds. */
const APART_MS = 2_000;

/** A short tone of two soft notes, synthesized, so that no file has to be loaded. */
export class Sound {
  private context: AudioContext | null = null;
  private lastAt = -APART_MS;

  /** Browsers allow sound only after an interaction with the page: call this when one happens. */
  touched(): void {
    this.context ??= typeof AudioContext === "function" ? new AudioContext() : null;
    if (this.context?.state === "suspended") void this.context.resume();
  }

  get audible(): boolean {
    return this.context?.state === "running";
  }

  play(): void {
    const context = this.context;
    if (!context || !this.audible || performance.now() - this.lastAt < APART_MS) return;
    this.lastAt = performance.now();
    note(context, 659.3, 0);
    note(context, 880, 0.11);
  }
}

function note(context: AudioContext, frequency: number, delay: number): void {
  const [tone, loudness, at] = [context.createOscillator(), context.createGain(), context.currentTime + delay];
  tone.frequency.value = frequency;
  loudness.gain.setValueAtTime(0, at);
  loudness.gain.linearRampToValueAtTime(0.12, at + 0.015);
  loudness.gain.exponentialRampToValueAtTime(0.001, at + 0.35);
  tone.connect(loudness).connect(context.destination);
  tone.start(at);
  tone.stop(at + 0.4);
}
