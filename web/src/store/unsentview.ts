import type { Agent, Message } from "../client";
import type { Address } from "./address";
import type { UnsentMessage } from "./unsent";

/** The unsent messages of a chat, without those that are already among its loaded messages. */
export function unsentOf(all: readonly UnsentMessage[], { sessionId, chatId }: Address, stored: readonly Message[]): UnsentMessage[] {
  const here = all.filter((message) => message.chatId === chatId && message.sessionId === sessionId);
  if (here.length === 0) return here;
  const known = new Set(stored.map(({ clientId }) => clientId));
  return here.filter(({ clientId }) => !known.has(clientId));
}

const made = new WeakMap<UnsentMessage, Message>();

/** The message as the server will store it, except that its messageId is its clientId and its `seq` is 0. */
export function asMessage(unsent: UnsentMessage, author: Agent): Message {
  const message = made.get(unsent) ?? draw(unsent, author);
  made.set(unsent, message);
  return message;
}

function draw({ sessionId, chatId, clientId, text, replyTo, at, refused }: UnsentMessage, author: Agent): Message {
  return {
    messageId: clientId,
    sessionId,
    chatId,
    seq: 0,
    updatedSeq: 0,
    contentSeq: 0,
    fromMe: true,
    sender: { id: sessionId },
    type: "text",
    text,
    media: null,
    replyTo: replyTo === null ? null : { messageId: replyTo, senderId: null, text: null },
    status: refused ? "failed" : "pending",
    timestamp: at,
    receivedAt: at,
    author,
    clientId,
    editedAt: null,
    deletedAt: null,
    reactions: [],
    receipts: null,
    error: null,
  };
}
