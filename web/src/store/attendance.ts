import { computed, effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";

import type { Agent, ClientEvents, PresencePayload, RoomcastClient, SessionPayload, SetName, TypingPayload, ViewersPayload } from "../client";
import type { Address } from "./address";

/** What is said of typing in the open chat for ears: at most so often, so that nobody is flooded. */
const SPOKEN_MS = 15_000;

/** Who is in a chat. */
export interface There {
  typing: TypingPayload["who"];
  contacts: PresencePayload["contacts"];
  agents: ViewersPayload["agents"];
}

const NOBODY: There = { typing: [], contacts: [], agents: [] };

type Client = Pick<RoomcastClient, "on" | "view">;

/** Who is typing, online, or looking at a chat, and whether the accounts are connected. */
export class Attendance {
  /** The accounts that cannot send or receive until somebody does something, by sessionId. */
  readonly broken: ReadonlySignal<readonly SessionPayload[]>;
  /** Colleagues who look at any chat, each once. */
  readonly team: ReadonlySignal<readonly Agent[]>;

  private readonly sessions = signal<ReadonlyMap<string, SessionPayload>>(new Map());
  private readonly chats = new Map<string, Signal<There>>();
  private readonly viewed = signal<ReadonlyMap<string, ViewersPayload["agents"]>>(new Map());
  private readonly stops: (() => void)[];

  constructor(
    private readonly client: Client,
    private readonly me: Agent,
    opened: ReadonlySignal<Address | null>,
    visible: ReadonlySignal<boolean>,
  ) {
    this.broken = computed(() =>
      [...this.sessions.value.values()].filter(({ connection }) => connection && /^(logged_out|disconnected)$/.test(connection.state)),
    );
    this.team = computed(() => {
      const all = [...this.viewed.value.values()].flat();
      return [...new Map(all.map((agent) => [agent.id, agent])).values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    });
    this.stops = [
      client.on("session", (session) => (this.sessions.value = new Map(this.sessions.peek()).set(session.sessionId, session))),
      this.listen("typing", ({ who }) => ({ typing: who })),
      this.listen("presence", ({ contacts }) => ({ contacts })),
      this.listen("viewers", ({ agents }) => ({ agents })),
      // What is in a hidden tab is not looked at.
      effect(() => client.view(visible.value ? opened.value : null)),
    ];
  }

  stop(): void {
    this.stops.forEach((stop) => stop());
  }

  /** Who is in the chat; without oneself. */
  in(address: Address): ReadonlySignal<There> {
    return this.chat(address);
  }

  /** Colleagues who are typing in the chat. */
  answering(address: Address): TypingPayload["who"] {
    return this.chat(address).value.typing.filter(({ kind }) => kind === "agent");
  }

  /** Contacts who are typing in the chat. */
  writing(address: Address): TypingPayload["who"] {
    return this.chat(address).value.typing.filter(({ kind }) => kind === "contact");
  }

  private chat({ sessionId, chatId }: Address): Signal<There> {
    const key = JSON.stringify([sessionId, chatId]);
    let found = this.chats.get(key);
    if (!found) this.chats.set(key, (found = signal(NOBODY)));
    return found;
  }

  private listen<Name extends SetName>(name: Name, read: (payload: ClientEvents[Name]) => Partial<There>): () => void {
    return this.client.on(name, (payload) => {
      const chat = this.chat(payload);
      const { typing, contacts, agents } = { ...chat.peek(), ...read(payload) };
      chat.value = {
        typing: typing.filter(({ id, kind }) => kind !== "agent" || id !== this.me.id),
        contacts,
        agents: agents.filter(({ id }) => id !== this.me.id),
      };
      if (name !== "viewers") return;
      const viewed = new Map(this.viewed.peek());
      const key = JSON.stringify([payload.sessionId, payload.chatId]);
      if (chat.peek().agents.length > 0) viewed.set(key, chat.peek().agents);
      else viewed.delete(key);
      this.viewed.value = viewed;
    });
  }
}

/** A text for ears: what `words` says, at once after a pause, but not more often than every SPOKEN_MS. */
export function spoken(words: ReadonlySignal<string>): { text: ReadonlySignal<string>; stop: () => void } {
  const text = signal("");
  let last = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const say = (): void => {
    last = Date.now();
    text.value = words.peek();
  };
  const end = effect(() => {
    const present = words.value;
    clearTimeout(timer);
    const wait = last + SPOKEN_MS - Date.now();
    if (wait > 0) timer = setTimeout(say, wait);
    else if (present !== text.peek()) say();
  });
  const stop = (): void => {
    end();
    clearTimeout(timer);
  };
  return { text, stop };
}
