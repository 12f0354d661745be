/** The objects and events of the wire contract, named as they are there. */

export interface Position {
  epoch: string;
  seq: number;
}

export type MessageType =
  | "text"
  | "image"
  | "video"
  | "audio"
  | "document"
  | "sticker"
  | "location"
  | "contact"
  | "system"
  | "unknown";

export type MessageStatus = "received" | "pending" | "sent" | "delivered" | "read" | "played" | "failed";

export interface Media {
  url: string;
  mimeType?: string | null;
  fileName?: string | null;
  size?: number | null;
  width?: number | null;
  height?: number | null;
  durationSeconds?: number | null;
  /** A small picture, as a `data:` URL. */
  preview?: string | null;
}

/** Somebody who signed in. */
export interface Agent {
  id: string;
  name: string | null;
}

/** At most one of each sender, in the order in which they came. */
export interface Reaction {
  sender: { id: string; name?: string | null };
  fromMe: boolean;
  emoji: string;
  timestamp: string;
}

export interface Message {
  messageId: string;
  sessionId: string;
  chatId: string;
  seq: number;
  updatedSeq: number;
  fromMe: boolean;
  sender: { id: string; name?: string | null };
  type: MessageType;
  text: string | null;
  media: Media | null;
  replyTo: { messageId: string; senderId: string | null; text: string | null } | null;
  status: MessageStatus;
  timestamp: string;
  receivedAt: string;
  /** The agent who sent it from here. */
  author: Agent | null;
  clientId: string | null;
  editedAt: string | null;
  /** Then its text, media, quote and reactions are gone, unless the server keeps them. */
  deletedAt: string | null;
  reactions: readonly Reaction[];
  /** In a group, for our own message: how many people. */
  receipts: { delivered: number; read: number; played: number } | null;
  /** Why it has failed. */
  error: { code: string; title: string } | null;
  /** The event that gave it its content: `seq`, or a later one. */
  contentSeq: number;
}

export interface LastMessage {
  messageId: string;
  type: MessageType;
  text: string | null;
  fromMe: boolean;
  senderName: string | null;
  timestamp: string;
  deletedAt: string | null;
}

export interface Chat {
  sessionId: string;
  chatId: string;
  name: string | null;
  unreadCount: number;
  lastMessage: LastMessage | null;
  lastSeq: number;
  readSeq: number;
  updatedSeq: number;
  updatedAt: string;
  kind: "person" | "group" | "other";
  assignee: Agent | null;
  state: "open" | "closed";
  /** Whether the last message that is no `system` one is ours. */
  answered: boolean;
}

export interface Session {
  sessionId: string;
  position: Position;
}

interface Durable {
  sessionId: string;
  chatId: string;
  seq: number;
  chat: Chat;
}

/** What travels with each durable event, by the event's name. */
export interface DurablePayloads {
  new_message: Durable & { message: Message };
  message_updated: Durable & { message: Message };
  chat_updated: Durable;
  /** The chat `from` has become a part of this one: all its messages are here now. */
  chat_merged: Durable & { from: string };
}

export type DurableName = keyof DurablePayloads;

/** A durable event as the client hands it on: the payload, and the event's name in `event`. */
export type DurableEvent = { [Name in DurableName]: { event: Name } & DurablePayloads[Name] }[DurableName];

export interface PositionPayload {
  sessionId: string;
  position: Position;
}

/** Whether the server has its database: while it has not, nothing comes. */
export interface ServicePayload {
  available: boolean;
}

/** What the client sends, with the data that the answer to it brings. */
export interface Requests {
  subscribe: {
    payload: { sessionId: string; chatId?: string; position?: Position };
    data: { position: Position; recovered: boolean };
  };
  unsubscribe: { payload: { sessionId: string; chatId?: string }; data: Record<string, never> };
  mark_read: { payload: { sessionId: string; chatId: string; seq: number }; data: { chat: Chat } };
  authenticate: { payload: { token: string }; data: { exp: number } };
}

export type RequestName = keyof Requests;

export type Answer<Data> =
  | { ok: true; data: Data }
  | { ok: false; error: { code: string; message: string; details?: unknown } };

/** Lists as REST answers them. */
export interface SessionPage {
  data: Session[];
  /** Left out where all sessions are in the answer. */
  nextCursor?: string | null;
}

export interface ChatPage {
  data: Chat[];
  position: Position;
  nextCursor: string | null;
}

export interface MessagePage {
  data: Message[];
  position: Position;
  hasMore: boolean;
}
