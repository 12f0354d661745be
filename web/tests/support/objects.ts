import type { Chat, Message, SessionPayload } from "../../src/client";

export function message(seq: number, more: Partial<Message> = {}): Message {
  return {
    messageId: `m${seq}`,
    sessionId: "a",
    chatId: "x",
    seq,
    updatedSeq: seq,
    fromMe: false,
    sender: { id: "x", name: null },
    type: "text",
    text: `message ${seq}`,
    media: null,
    replyTo: null,
    status: "received",
    timestamp: "2026-02-06T12:04:00.000Z",
    receivedAt: "2026-02-06T12:04:00.120Z",
    author: null,
    clientId: null,
    editedAt: null,
    deletedAt: null,
    reactions: [],
    receipts: null,
    error: null,
    contentSeq: seq,
    ...more,
  };
}

export function chat(chatId: string, lastSeq: number, more: Partial<Chat> = {}): Chat {
  return {
    sessionId: "a",
    chatId,
    name: null,
    unreadCount: 0,
    lastMessage: null,
    lastSeq,
    readSeq: 0,
    updatedSeq: lastSeq,
    updatedAt: "2026-02-06T12:04:00.120Z",
    kind: "person",
    assignee: null,
    state: "open",
    waitingSince: null,
    answered: false,
    ...more,
  };
}

/** A chat whose last message came at this hour of one day. */
export function chatAt(sessionId: string, chatId: string, lastSeq: number, hour: number): Chat {
  const timestamp = `2026-02-06T${String(hour).padStart(2, "0")}:00:00.000Z`;
  const lastMessage = { messageId: "m", type: "text", text: "", fromMe: false, senderName: null, timestamp, deletedAt: null } as const;
  return chat(chatId, lastSeq, { sessionId, lastMessage });
}

export function session(sessionId: string, more: Partial<SessionPayload> = {}): SessionPayload {
  return { sessionId, name: null, connection: null, sending: { via: "bot", available: true }, ...more };
}
