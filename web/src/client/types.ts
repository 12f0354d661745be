/** The objects and events of the wire contract, with the same names. */

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

/** A signed-in person. */
export interface Agent {
  id: string;
  name: string | null;
}

/** At most one per sender, ordered by time. */
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
  /** The agent who sent it with Roomcast. */
  author: Agent | null;
  clientId: string | null;
  editedAt: string | null;
  /** If deleted, its text, media, quote and reactions are removed, unless the server keeps them. */
  deletedAt: string | null;
  reactions: readonly Reaction[];
  /** For our own messages in a group: the number of people. */
  receipts: { delivered: number; read: number; played: number } | null;
  /** Why it failed. */
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
  /** Whether the last message, not counting `system` ones, is ours. */
  answered: boolean;
  /** The time of the first message since our last one; `null` if there is none. */
  waitingSince: string | null;
}

/** A session's name, its account's state at the provider, and whether messages can be sent. */
export interface SessionPayload {
  sessionId: string;
  name: string | null;
  /** As reported last, with the time since which it is the same; `null` if nothing was reported. */
  connection: { state: "connected" | "connecting" | "disconnected" | "logged_out"; detail: string | null; since: string } | null;
  sending: { via: string; available: boolean };
}

export interface Session extends SessionPayload {
  position: Position;
}

interface Durable {
  sessionId: string;
  chatId: string;
  seq: number;
  chat: Chat;
}

/** The payload of each durable event, by event name. */
export interface DurablePayloads {
  new_message: Durable & { message: Message };
  message_updated: Durable & { message: Message };
  chat_updated: Durable;
  /** The chat `from` was merged into this one, with all its messages. */
  chat_merged: Durable & { from: string };
}

export type DurableName = keyof DurablePayloads;

/** A durable event as emitted by the client: the payload, and the event's name in `event`. */
export type DurableEvent = { [Name in DurableName]: { event: Name } & DurablePayloads[Name] }[DurableName];

export interface PositionPayload {
  sessionId: string;
  position: Position;
}

/** Whether the server's database is available. While it is not, no events come. */
export interface ServicePayload {
  available: boolean;
}

export type TypingAction = "typing" | "recording" | "stopped";

/** Who is typing, in a chat. */
export interface TypingPayload extends Place {
  who: readonly { id: string; name: string | null; kind: "contact" | "agent"; action: Exclude<TypingAction, "stopped"> }[];
  expiresInMs: number;
}

/** Which contacts of a chat are online, or when they last were. */
export interface PresencePayload extends Place {
  contacts: readonly { id: string; state: "online" | "offline"; lastSeen: string | null }[];
  expiresInMs: number;
}

/** Which agents look at a chat. */
export interface ViewersPayload extends Place {
  agents: readonly { id: string; name: string | null; since: string }[];
  expiresInMs: number;
}

/** The payload of each set of people, by event name. */
export interface SetPayloads {
  typing: TypingPayload;
  presence: PresencePayload;
  viewers: ViewersPayload;
}

export type SetName = keyof SetPayloads;

interface Place {
  sessionId: string;
  chatId: string;
}

/** A message to send. Either `text` (not blank) or `media` is required. */
export interface OutgoingMessage {
  /** A UUID, or another id that is unique among the sender's messages. */
  clientId: string;
  text?: string;
  media?: Media;
  /** The messageId of a message of the chat. */
  replyTo?: string;
  /** The last `seq` of the chat that its author has seen. */
  after?: number;
}

/** A text that is inserted by its shortcut. Clients replace `{name}` with the contact's name. */
export interface QuickReply {
  /** 1–32 characters, without spaces and slashes. */
  shortcut: string;
  text: string;
}

/** The client's requests, with the data of their answers. */
export interface Requests {
  subscribe: {
    payload: { sessionId: string; chatId?: string; position?: Position };
    data: { position: Position; recovered: boolean };
  };
  unsubscribe: { payload: { sessionId: string; chatId?: string }; data: Record<string, never> };
  mark_read: { payload: { sessionId: string; chatId: string; seq: number }; data: { chat: Chat } };
  send_message: { payload: OutgoingMessage & Place; data: { message: Message } };
  retry_message: { payload: Place & { messageId: string }; data: { message: Message } };
  cancel_message: { payload: Place & { messageId: string }; data: { message: Message } };
  assign_chat: { payload: Place & { assignee: Agent | null; expected?: string | null }; data: { chat: Chat } };
  set_chat_state: { payload: Place & { state: Chat["state"] }; data: { chat: Chat } };
  typing: { payload: Place & { action: TypingAction }; data: Record<string, never> };
  view: { payload: { sessionId: string; chatId: string | null }; data: Record<string, never> };
  authenticate: { payload: { token: string }; data: { exp: number } };
}

export type RequestName = keyof Requests;

export type Answer<Data> =
  | { ok: true; data: Data }
  | { ok: false; error: { code: string; message: string; details?: unknown } };

/** Lists as returned by the REST API. */
export interface SessionPage {
  data: Session[];
  /** Missing if all sessions are in the answer. */
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
