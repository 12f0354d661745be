import type { Link } from "./link.js";

/** When `view` is sent again if it was not accepted. */
const AGAIN_MS = 2_000;

interface Chat {
  sessionId: string;
  chatId: string;
}

/** The chat that is shown to a person, which is told to the server on each new connection. */
export class Viewing {
  private chat: Chat | null = null;
  private link: Link | null = null;

  connected(link: Link): void {
    this.link = link;
    this.tell();
  }

  show(chat: Chat | null): void {
    const before = this.chat;
    this.chat = chat && { sessionId: chat.sessionId, chatId: chat.chatId };
    if (chat) this.tell();
    else if (before && this.link?.isUp) this.link.request("view", { sessionId: before.sessionId, chatId: null }, () => undefined);
  }

  private tell(): void {
    const { link, chat } = this;
    if (!link?.isUp || !chat) return;
    link.request("view", chat, (error) => {
      if (error?.code !== "rate_limited" && error?.code !== "timeout") return;
      setTimeout(() => {
        if (link === this.link && chat === this.chat) this.tell();
      }, AGAIN_MS);
    });
  }
}
