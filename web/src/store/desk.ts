import { batch, signal } from "@preact/signals";

import { hasCode, RoomcastError, type Agent, type ErrorDetails, type Chat, type ClientState, type Message, type RoomcastApi, type RoomcastClient } from "../client";
import type { TextKey } from "../text/en";
import type { Address } from "./address";
import type { Draft, Drafts } from "./drafts";
import type { Inbox } from "./inbox";
import { routeOf } from "./route";
import { Unsent, type UnsentMessage } from "./unsent";
import type { Shelf } from "./unsentshelf";

/** Longer texts are sent over HTTP: a packet may have 64 KiB, and a character up to six bytes as JSON. */
const MOST_CHARACTERS = 8_000;
/** The server's limit. */
export const MAX_TEXT = 65_536;
/** Interval of typing notices to the server. */
const TYPING_MS = 5_000;

/** A short notice that something did not work. */
export interface Notice {
  key: TextKey;
  places: Record<string, string>;
}

export interface DeskOptions {
  client: Pick<RoomcastClient, "on" | "state" | "sendMessage" | "retryMessage" | "cancelMessage" | "assignChat" | "setChatState" | "typing">;
  api: Pick<RoomcastApi, "sendMessage">;
  inbox: Pick<Inbox, "chat" | "put" | "log">;
  drafts: Drafts;
  shelf: Shelf;
  me: Agent;
}

/** The agent's actions on chats and messages. */
export class Desk {
  readonly unsent: Unsent;
  readonly notice = signal<Notice | null>(null);
  private readonly stops: (() => void)[];
  private typed = { chat: "", at: 0 };

  constructor(private readonly options: DeskOptions) {
    const { client, drafts, inbox, me, shelf } = options;
    this.unsent = new Unsent({
      shelf,
      send: (message) => this.deliver(message),
      stored: (message) => inbox.put({ message }),
      connected: () => isLinked(client.state),
      hurry: (wake) => client.on("state", ({ name }) => name === "connected" && wake()),
    });
    this.stops = [
      () => this.unsent.stop(),
      client.on("event", (event) => {
        if (event.event === "new_message" && event.message.author?.id === me.id) this.unsent.arrived(event.message);
        if (event.event !== "chat_merged") return;
        const [from, to] = [{ ...event, chatId: event.from }, event].map(({ sessionId, chatId }) => ({ sessionId, chatId }));
        if (!from || !to) return;
        drafts.moved(from, to);
        this.unsent.moved(from, to);
      }),
    ];
    void this.unsent.load();
  }

  stop(): void {
    this.stops.forEach((stop) => stop());
  }

  /** Send a draft. It is shown at once, and sent as soon as there is a connection. */
  send(address: Address, { text, replyTo }: Draft): void {
    const { drafts } = this.options;
    const { sessionId, chatId } = address;
    batch(() => {
      const clientId = newId();
      const kept = this.unsent.add({ sessionId, chatId, clientId, text: text.trim(), replyTo, after: this.seen(address) });
      void drafts.sent(address, kept);
    });
    this.typing(address, false);
  }

  /** Send a message again that the server has refused, or that could not be delivered. */
  again(message: Message | UnsentMessage): void {
    if ("order" in message) void this.unsent.again(message.clientId, this.seen(message));
    else this.attempt(this.options.client.retryMessage(message.sessionId, message.chatId, message.messageId));
  }

  discard(message: Message | UnsentMessage): void {
    if ("order" in message) void this.unsent.discard(message.clientId);
    else this.attempt(this.options.client.cancelMessage(message.sessionId, message.chatId, message.messageId));
  }

  /** Move a message back into the composer, before the text that is there. */
  edit(message: UnsentMessage): void {
    const { drafts } = this.options;
    const { text, replyTo } = drafts.get(message);
    drafts.set(message, { text: [message.text, text].filter(Boolean).join("\n"), replyTo: replyTo ?? message.replyTo });
    void this.unsent.discard(message.clientId);
  }

  /** Assign the chat, unless its assignee is another than the page shows. */
  async assign({ sessionId, chatId, assignee }: Chat, to: Agent | null): Promise<void> {
    try {
      const chat = await this.options.client.assignChat(sessionId, chatId, to, assignee?.id ?? null);
      this.options.inbox.put({ chat });
    } catch (error) {
      this.failed(error);
    }
  }

  /** Close or reopen the chat. Returns whether it worked. */
  async setState({ sessionId, chatId }: Chat, state: Chat["state"]): Promise<boolean> {
    try {
      this.options.inbox.put({ chat: await this.options.client.setChatState(sessionId, chatId, state) });
      return true;
    } catch (error) {
      this.failed(error);
      return false;
    }
  }

  /** The agent is typing, or has stopped. */
  typing(address: Address, types: boolean): void {
    const [chat, now] = [routeOf(address), Date.now()];
    const running = this.typed.chat === chat && now - this.typed.at < TYPING_MS;
    if (types === running) return;
    this.typed = types ? { chat, at: now } : { chat: "", at: 0 };
    // A lost notice does no harm.
    this.options.client.typing(address.sessionId, address.chatId, types ? "typing" : "stopped").catch(() => undefined);
  }

  private deliver({ sessionId, chatId, clientId, text, replyTo, after }: UnsentMessage): Promise<Message> {
    const { api, client } = this.options;
    const message = { clientId, text, ...(replyTo !== null && { replyTo }), ...(after !== null && { after }) };
    if (text.length > MOST_CHARACTERS) return api.sendMessage(sessionId, chatId, message);
    return client.sendMessage({ sessionId, chatId, ...message });
  }

  /** The last `seq` of the chat that the agent has seen. */
  private seen(address: Address): number | null {
    return this.options.inbox.chat(address)?.lastSeq ?? null;
  }

  private attempt(work: Promise<Message>): void {
    work.then((message) => this.options.inbox.put({ message })).catch((error: unknown) => this.failed(error));
  }

  private failed(error: unknown): void {
    const details: ErrorDetails = error instanceof RoomcastError ? error.details : {};
    this.options.inbox.put(details);
    const name = details.chat?.assignee?.name ?? details.chat?.assignee?.id;
    const key = hasCode(error, "forbidden") ? "notAllowed" : hasCode(error, "conflict") ? "changedMeanwhile" : "notDone";
    this.notice.value = name ? { key: "takenBy", places: { name } } : { key, places: {} };
  }
}

function isLinked({ name }: ClientState): boolean {
  return name === "connected" || name === "catching_up";
}

/** `crypto.randomUUID` does not exist on pages without TLS. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
