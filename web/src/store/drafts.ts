import { batch, signal } from "@preact/signals";

import type { Address } from "./address";
import { routeOf } from "./route";

/** An unsent text in a chat's composer. */
export interface Draft {
  text: string;
  /** The messageId of the message it replies to. */
  replyTo: string | null;
}

const NOTHING: Draft = { text: "", replyTo: null };

/**
 * The drafts of one agent, by chat, in `localStorage`: they survive a reload, and all tabs share them. If the browser
 * stores nothing, they last as long as the page.
 */
export class Drafts {
  readonly all = signal<ReadonlyMap<string, Draft>>(new Map());
  private readonly prefix: string;
  private readonly heard: (event: StorageEvent) => void;

  constructor(owner: string) {
    this.prefix = `roomcast.draft.${encodeURIComponent(owner)}`;
    this.all.value = this.kept();
    this.heard = ({ key }) => {
      if (key === null || key.startsWith(this.prefix)) this.all.value = this.kept();
    };
    addEventListener("storage", this.heard);
  }

  stop(): void {
    removeEventListener("storage", this.heard);
  }

  get(address: Address): Draft {
    return this.all.value.get(routeOf(address)) ?? NOTHING;
  }

  set(address: Address, change: Partial<Draft>): void {
    this.put(routeOf(address), { ...(this.all.peek().get(routeOf(address)) ?? NOTHING), ...change });
  }

  /** Clear the draft, which was sent. It stays stored until `kept` settles, so a reload in between loses nothing. */
  async sent(address: Address, kept: Promise<unknown>): Promise<void> {
    const key = routeOf(address);
    this.show(key, NOTHING);
    await kept;
    // There may be a new draft by now.
    this.put(key, this.all.peek().get(key) ?? NOTHING);
  }

  /** The chat was merged into another one. */
  moved(from: Address, to: Address): void {
    const { text, replyTo } = this.all.peek().get(routeOf(from)) ?? NOTHING;
    if (!text && !replyTo) return;
    batch(() => {
      this.put(routeOf(from), NOTHING);
      const present = this.all.peek().get(routeOf(to)) ?? NOTHING;
      this.put(routeOf(to), { text: [present.text, text].filter(Boolean).join("\n"), replyTo: present.replyTo ?? replyTo });
    });
  }

  forget(): void {
    for (const key of this.all.peek().keys()) this.put(key, NOTHING);
  }

  private show(key: string, draft: Draft): void {
    const all = new Map(this.all.peek());
    if (draft.text || draft.replyTo) all.set(key, draft);
    else all.delete(key);
    this.all.value = all;
  }

  private put(key: string, draft: Draft): void {
    this.show(key, draft);
    try {
      if (draft.text || draft.replyTo) localStorage.setItem(this.prefix + key, JSON.stringify(draft));
      else localStorage.removeItem(this.prefix + key);
    } catch {
      // Not stored: no space, or a private window.
    }
  }

  private kept(): Map<string, Draft> {
    const all = new Map<string, Draft>();
    try {
      for (const key of Object.keys(localStorage)) {
        const draft = key.startsWith(`${this.prefix}#`) ? read(localStorage.getItem(key)) : NOTHING;
        if (draft.text || draft.replyTo) all.set(key.slice(this.prefix.length), draft);
      }
    } catch {
      // The browser stores nothing.
    }
    return all;
  }
}

function read(json: string | null): Draft {
  try {
    const { text, replyTo } = Object(JSON.parse(json ?? "null")) as Record<string, unknown>;
    return { text: typeof text === "string" ? text : "", replyTo: typeof replyTo === "string" ? replyTo : null };
  } catch {
    return NOTHING; // not ours
  }
}
