import { signal } from "@preact/signals";

import { hasCode, type ChatPage, type MessagePage, type RoomcastApi, type RoomcastClient } from "../client";
import { persist } from "./persist";

/** Loads the server's lists, with retries. */
export class Lists {
  /** While the server's database is unavailable: when the next attempt is made; otherwise `null`. */
  readonly hinderedUntil = signal<number | null>(null);
  private readonly waits = new Set<() => void>();

  constructor(
    private readonly client: Pick<RoomcastClient, "on">,
    private readonly api: RoomcastApi,
    private readonly ended: AbortSignal,
  ) {}

  /** The sessionIds of all pages. */
  async sessions(): Promise<string[]> {
    const ids: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await this.insist(() => this.api.sessions({ cursor, signal: this.ended }));
      ids.push(...page.data.map(({ sessionId }) => sessionId));
      cursor = page.nextCursor ?? undefined;
    } while (cursor);
    return ids;
  }

  chats(sessionId: string, limit: number, cursor: string | undefined): Promise<ChatPage> {
    return this.insist(() => this.api.chats(sessionId, { limit, cursor, signal: this.ended }));
  }

  messages(sessionId: string, chatId: string, limit: number, before: number | undefined): Promise<MessagePage> {
    return this.insist(() => this.api.messages(sessionId, chatId, { limit, before, signal: this.ended }));
  }

  /** Tries again now instead of waiting. */
  now(): void {
    for (const wake of [...this.waits]) wake();
  }

  private async insist<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = await persist(task, {
      signal: this.ended,
      hurry: (wake) => this.client.on("state", ({ name }) => name === "connected" && wake()),
      urge: (wake) => {
        this.waits.add(wake);
        return () => this.waits.delete(wake);
      },
      waiting: (error, until) => {
        this.hinderedUntil.value = hasCode(error, "unavailable") ? until : null;
      },
    });
    this.hinderedUntil.value = null;
    return result;
  }
}
