/** How long other tabs have to report which chat is being read in them. */
const ANSWER_MS = 80;

type Word = { kind: "asked" } | { kind: "reading"; chat: string } | { kind: "ring" } | { kind: "signedOut" };

export interface TabsListener {
  /** The chat that is being read in this tab, if any. */
  reading(): string | null;
  /** Whether this tab can play sound. */
  audible(): boolean;
  ring(): void;
  /** The person has signed out in another tab. */
  signedOut(): void;
}

/** The tabs of one agent in one browser. One of them leads and notifies for all. */
export class Tabs {
  private readonly name: string;
  private readonly channel: BroadcastChannel | null;
  private readonly ended = new AbortController();
  private readonly elsewhere = new Set<string>();
  private leads = false;

  constructor(
    owner: string,
    private readonly listener: TabsListener,
  ) {
    this.name = `roomcast ${owner}`;
    this.channel = typeof BroadcastChannel === "function" ? new BroadcastChannel(this.name) : null;
    this.channel?.addEventListener("message", (event: MessageEvent<Word>) => this.heard(event.data));
    if (navigator.locks) this.hold();
    // Without locks (an old browser, or no TLS) each tab notifies for itself.
    else this.leads = true;
  }

  get leading(): boolean {
    return this.leads;
  }

  stop(): void {
    this.ended.abort();
    this.channel?.close();
    this.leads = false;
  }

  /** Whether this chat is being read in any tab. */
  async isRead(chat: string): Promise<boolean> {
    if (this.listener.reading() === chat) return true;
    if (!this.channel) return false;
    this.elsewhere.clear();
    this.channel.postMessage({ kind: "asked" } satisfies Word);
    await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
    return this.elsewhere.has(chat);
  }

  /** Lets one tab play the sound: browsers mute tabs without an interaction. */
  ring(): void {
    if (this.listener.audible()) this.listener.ring();
    else this.channel?.postMessage({ kind: "ring" } satisfies Word);
  }

  /** Signing out applies to all tabs. */
  signOut(): void {
    this.channel?.postMessage({ kind: "signedOut" } satisfies Word);
  }

  private hold(): void {
    const { signal } = this.ended;
    // The lock is released when this tab stops or is closed; then the next tab gets it.
    const held = (): Promise<void> => {
      this.leads = true;
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
    };
    navigator.locks.request(this.name, { signal }, held).catch(() => undefined);
  }

  private heard(word: Word): void {
    if (word.kind === "signedOut") this.listener.signedOut();
    else if (word.kind === "reading") this.elsewhere.add(word.chat);
    else if (word.kind === "asked") {
      const chat = this.listener.reading();
      if (chat !== null) this.channel?.postMessage({ kind: "reading", chat } satisfies Word);
    } else if (this.listener.audible()) {
      const ring = (lock: Lock | null): Promise<void> => {
        if (!lock) return Promise.resolve();
        this.listener.ring();
        // Held until the others have been told.
        return new Promise((resolve) => setTimeout(resolve, 500));
      };
      navigator.locks?.request(`${this.name} ring`, { ifAvailable: true }, ring).catch(() => undefined);
    }
  }
}
