import type { Message } from "../client";
import type { Translate } from "../text/language";
import { readableId, senderName } from "../text/names";
import { summary } from "../text/summary";
import type { Quoted } from "./Quote";

/** Messages by their ids and names by their addresses, made only where something is quoted. */
export class Known {
  private readonly byId: () => ReadonlyMap<string, Message>;
  private readonly bySender: () => ReadonlyMap<string, Message>;

  constructor(messages: readonly Message[]) {
    this.byId = lazy(() => new Map(messages.map((message) => [message.messageId, message])));
    this.bySender = lazy(() => {
      const named = messages.filter(({ fromMe, sender }) => fromMe || sender.name);
      return new Map(named.map((message) => [message.sender.id, message]));
    });
  }

  message(id: string): Message | undefined {
    return this.byId().get(id);
  }

  /** One of somebody's messages, for the name in it. */
  someOf(senderId: string): Message | undefined {
    return this.bySender().get(senderId);
  }
}

function lazy<Value>(make: () => Value): () => Value {
  let made: { value: Value } | null = null;
  return () => (made ??= { value: make() }).value;
}

/** What is quoted, by whom and in which words: the original knows best, where it is here. */
export function quotedOf(replyTo: Message["replyTo"], known: Known, t: Translate): Quoted | null {
  if (!replyTo) return null;
  const { messageId, senderId, text } = replyTo;
  const original = known.message(messageId);
  const byThem = original ?? (senderId ? known.someOf(senderId) : undefined);
  const address = senderId?.includes("@") ? readableId(senderId, t) : null;
  return {
    messageId,
    hue: original?.sender.id ?? senderId ?? "",
    name: byThem ? senderName(byThem, t) : address,
    text: original ? summary(original, t) : text || t("quotedUnknown"),
  };
}
