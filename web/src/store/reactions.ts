import type { Message } from "../client";

export interface Reaction {
  emoji: string;
  /** Of each who reacted so, the message that did. */
  by: readonly Message[];
}

export interface Reacted {
  /** What has a place of its own: all but the reactions to messages that are among these. */
  shown: readonly Message[];
  /** By the id of the message reacted to. */
  reactions: ReadonlyMap<string, readonly Reaction[]>;
}

const NONE: ReadonlyMap<string, readonly Reaction[]> = new Map();

/** Puts reactions to what they react to. Of one person's to one message the last counts; an empty one takes it back. */
export function withReactions(messages: readonly Message[]): Reacted {
  const toOthers = messages.filter(({ type, replyTo }) => type === "reaction" && replyTo !== null);
  if (toOthers.length === 0) return { shown: messages, reactions: NONE };
  const known = new Set(messages.map(({ messageId }) => messageId));
  const last = new Map<string, Map<string, Message>>();
  const placed = new Set<string>();
  for (const message of toOthers) {
    const target = message.replyTo?.messageId ?? "";
    if (!known.has(target)) continue;
    placed.add(message.messageId);
    let people = last.get(target);
    if (!people) last.set(target, (people = new Map()));
    people.set(message.fromMe ? "" : message.sender.id, message);
  }
  const reactions = new Map([...last].map(([target, people]) => [target, counted([...people.values()])]));
  return { shown: messages.filter(({ messageId }) => !placed.has(messageId)), reactions };
}

function counted(messages: readonly Message[]): readonly Reaction[] {
  const byEmoji = new Map<string, Message[]>();
  for (const message of messages) {
    if (message.text) byEmoji.set(message.text, [...(byEmoji.get(message.text) ?? []), message]);
  }
  return [...byEmoji].map(([emoji, by]) => ({ emoji, by })).sort((a, b) => b.by.length - a.by.length);
}
