import type { SetName, SetPayloads } from "./types.js";

/** The latest set of each kind and chat, until it expires. */
export class Sets {
  private readonly latest = new Map<string, { payload: SetPayloads[SetName]; until: number; timer: ReturnType<typeof setTimeout> }>();

  /** `changed`: called with each set that has come, and with an empty one when a set has expired. */
  constructor(private readonly changed: <Name extends SetName>(name: Name, payload: SetPayloads[Name]) => void) {}

  take<Name extends SetName>(name: Name, payload: SetPayloads[Name]): void {
    const key = keyOf(name, payload.sessionId, payload.chatId);
    clearTimeout(this.latest.get(key)?.timer);
    if (peopleOf(name, payload).length === 0) {
      this.latest.delete(key);
    } else {
      const timer = setTimeout(() => {
        this.latest.delete(key);
        this.changed(name, emptied(payload));
      }, payload.expiresInMs);
      this.latest.set(key, { payload, until: Date.now() + payload.expiresInMs, timer });
    }
    this.changed(name, payload);
  }

  /** The people in a set now. */
  of<Name extends SetName>(name: Name, sessionId: string, chatId: string): People<Name> {
    const found = this.latest.get(keyOf(name, sessionId, chatId));
    // The timers of a frozen page are late.
    const fresh = found !== undefined && found.until > Date.now();
    return (fresh ? peopleOf(name, found.payload as SetPayloads[Name]) : []) as People<Name>;
  }

  clear(): void {
    for (const { timer } of this.latest.values()) clearTimeout(timer);
    this.latest.clear();
  }
}

/** The field of each set that has its people. */
const FIELDS = { typing: "who", presence: "contacts", viewers: "agents" } as const;

export type People<Name extends SetName> = Name extends "typing"
  ? SetPayloads["typing"]["who"]
  : Name extends "presence"
    ? SetPayloads["presence"]["contacts"]
    : SetPayloads["viewers"]["agents"];

function peopleOf(name: SetName, payload: SetPayloads[SetName]): readonly unknown[] {
  return (payload as unknown as Record<string, readonly unknown[]>)[FIELDS[name]] ?? [];
}

function emptied<Payload extends SetPayloads[SetName]>(payload: Payload): Payload {
  const people = Object.values(FIELDS).filter((field) => field in payload);
  return { ...payload, ...Object.fromEntries(people.map((field) => [field, []])), expiresInMs: 0 };
}

function keyOf(name: SetName, sessionId: string, chatId: string): string {
  return JSON.stringify([name, sessionId, chatId]);
}
