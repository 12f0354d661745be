import { createServer, type IncomingMessage, type Server as HttpServer, type ServerResponse } from "node:http";
import type { AddressInfo, Socket as TcpSocket } from "node:net";

import { Server, type Socket } from "socket.io";

import type { Answer, Chat, DurableName, Message, Position } from "../../src/client";
import { chat as anyChat, message as anyMessage, session as anySession } from "./objects";

interface Entry {
  name: DurableName;
  payload: { sessionId: string; chatId: string; seq: number; from?: string; message?: Message; chat: Chat };
}

interface Stored {
  log: Entry[];
  messages: Map<string, Message>;
  chats: Map<string, Chat>;
}

interface Stream {
  whole: boolean;
  chats: Set<string>;
}

type Ack = (answer: Answer<unknown>) => void;

/** A server that speaks the contract from memory, and can be told to misbehave. */
export class FakeServer {
  epoch = "e1";
  /** Positions below this are no longer kept. */
  keptFrom = 0;
  /** Events that are not answered at all. */
  readonly deaf = new Set<string>();
  /** Answers given in place of the real one, each once. */
  readonly refusals: { event: string; code: string; details?: unknown }[] = [];
  /** What requests are answered with that it does not know otherwise. */
  readonly answers = new Map<string, unknown>();
  readonly received: { event: string; payload: Record<string, unknown> }[] = [];
  readonly tokens = new Set(["good"]);
  connections = 0;
  /** So many sessions make a page of their list. */
  sessionsAtOnce = Infinity;
  /** Runs before a REST answer is sent; for tests of what happens meanwhile. */
  beforeList: (path: string) => Promise<void> | void = () => undefined;
  private readonly store = new Map<string, Stored>();
  private readonly tcp = new Set<TcpSocket>();
  private http: HttpServer | null = null;
  private io: Server | null = null;
  private port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(port = this.port): Promise<this> {
    const http = createServer((request, response) => void this.rest(request, response));
    http.on("connection", (socket) => {
      this.tcp.add(socket);
      socket.on("close", () => this.tcp.delete(socket));
    });
    this.io = new Server(http, { serveClient: false, pingInterval: 25_000, pingTimeout: 20_000 });
    this.io.use((socket, next) => {
      const refused = Object.assign(new Error("unauthorized"), { data: { code: "unauthorized" } });
      next(this.tokens.has(socket.handshake.auth["token"]) ? undefined : refused);
    });
    this.io.on("connection", (socket) => this.serve(socket));
    await new Promise<void>((resolve) => http.listen(port, "127.0.0.1", resolve));
    this.http = http;
    this.port = (http.address() as AddressInfo).port;
    return this;
  }

  async stop(): Promise<void> {
    const { http, io } = this;
    this.io = this.http = null;
    for (const socket of this.tcp) socket.destroy();
    http?.closeAllConnections();
    await io?.close();
  }

  /** Breaks every TCP connection, as a network that is gone would in the end. */
  cut(): void {
    for (const socket of this.tcp) socket.destroy();
  }

  /** The network swallows everything from now on, on the connections that there are. */
  freeze(): void {
    for (const socket of this.tcp) {
      socket.pause();
      socket.write = () => true;
    }
  }

  /** The server itself ends every connection ("io server disconnect"). */
  kick(): void {
    this.io?.disconnectSockets(false);
  }

  position(sessionId: string): Position {
    return { epoch: this.epoch, seq: this.session(sessionId).log.length };
  }

  post(sessionId: string, chatId: string, text: string, more: Partial<Message> & { chatName?: string } = {}): Message {
    const session = this.session(sessionId);
    const seq = session.log.length + 1;
    const timestamp = new Date().toISOString();
    const { chatName, ...fields } = more;
    const message = anyMessage(seq, {
      sessionId,
      chatId,
      sender: { id: chatId, name: chatName ?? null },
      text,
      status: more.fromMe ? "sent" : "received",
      timestamp,
      receivedAt: timestamp,
      ...fields,
    });
    const before = session.chats.get(chatId);
    const chat = anyChat(chatId, seq, {
      sessionId,
      name: chatName ?? before?.name ?? null,
      unreadCount: (before?.unreadCount ?? 0) + (message.fromMe ? 0 : 1),
      lastMessage: {
        messageId: message.messageId,
        type: message.type,
        text: message.text?.slice(0, 120) ?? null,
        fromMe: message.fromMe,
        senderName: message.sender.name ?? null,
        deletedAt: null,
        timestamp: message.timestamp,
      },
      readSeq: before?.readSeq ?? 0,
      updatedAt: message.receivedAt,
    });
    session.messages.set(message.messageId, message);
    this.commit("new_message", { sessionId, chatId, seq, message, chat });
    return message;
  }

  update(sessionId: string, messageId: string, change: Partial<Message>): void {
    const session = this.session(sessionId);
    const seq = session.log.length + 1;
    const message = { ...session.messages.get(messageId)!, ...change, updatedSeq: seq };
    const chat = { ...session.chats.get(message.chatId)!, updatedSeq: seq };
    session.messages.set(messageId, message);
    this.commit("message_updated", { sessionId, chatId: message.chatId, seq, message, chat });
  }

  /** The chat `from` proves to be the same person's as `to`. */
  merge(sessionId: string, from: string, to: string): void {
    const session = this.session(sessionId);
    const [old, present] = [session.chats.get(from)!, session.chats.get(to)!];
    for (const [id, message] of session.messages) {
      if (message.chatId === from) session.messages.set(id, { ...message, chatId: to });
    }
    const seq = session.log.length + 1;
    const newest = old.lastSeq > present.lastSeq ? old : present;
    const { lastMessage, lastSeq } = newest;
    const unreadCount = old.unreadCount + present.unreadCount;
    session.chats.delete(from);
    const chat = { ...present, lastMessage, lastSeq, unreadCount, readSeq: Math.min(old.readSeq, present.readSeq), updatedSeq: seq };
    this.commit("chat_merged", { sessionId, chatId: to, seq, from, chat });
  }

  markRead(sessionId: string, chatId: string, upTo: number): Chat {
    const session = this.session(sessionId);
    const chat = session.chats.get(chatId)!;
    const readSeq = Math.min(Math.max(chat.readSeq, upTo), chat.lastSeq);
    if (readSeq === chat.readSeq) return chat;
    const seq = session.log.length + 1;
    const unread = [...session.messages.values()].filter((m) => m.chatId === chatId && !m.fromMe && m.seq > readSeq);
    const after = { ...chat, readSeq, unreadCount: unread.length, updatedSeq: seq };
    this.commit("chat_updated", { sessionId, chatId, seq, chat: after });
    return after;
  }

  /** Loses count and sends all of a session's events again. */
  repeat(sessionId: string): void {
    for (const entry of this.session(sessionId).log) this.io?.emit(entry.name, entry.payload);
  }

  /** To every connection, as it is. */
  tell(name: string, payload: unknown): void {
    this.io?.emit(name, payload);
  }

  /** Starts the numbering of a restored database. */
  restore(): void {
    this.epoch += "'";
  }

  private session(sessionId: string): Stored {
    let session = this.store.get(sessionId);
    if (!session) this.store.set(sessionId, (session = { log: [], messages: new Map(), chats: new Map() }));
    return session;
  }

  private commit(name: DurableName, payload: Entry["payload"]): void {
    const session = this.session(payload.sessionId);
    session.chats.set(payload.chatId, payload.chat);
    session.log.push({ name, payload });
    for (const socket of this.io?.sockets.sockets.values() ?? []) this.push(socket, { name, payload });
  }

  private push(socket: Socket, { name, payload }: Entry): void {
    const stream = (socket.data["streams"] as Map<string, Stream>).get(payload.sessionId);
    const follows = stream?.chats.has(payload.chatId) || (payload.from !== undefined && stream?.chats.has(payload.from));
    if (stream?.whole || follows) socket.emit(name, payload);
  }

  private serve(socket: Socket): void {
    this.connections += 1;
    socket.data["streams"] = new Map<string, Stream>();
    socket.onAny((event: string, payload: Record<string, unknown>, ack: Ack) => {
      this.received.push({ event, payload });
      if (this.deaf.has(event)) return;
      const index = this.refusals.findIndex((refusal) => refusal.event === event);
      const [refusal] = index < 0 ? [] : this.refusals.splice(index, 1);
      if (refusal) ack({ ok: false, error: { code: refusal.code, message: refusal.code, details: refusal.details } });
      else this.answer(socket, event, payload, ack);
    });
  }

  private answer(socket: Socket, event: string, payload: unknown, ack: Ack): void {
    const { sessionId, chatId, position, seq } = payload as {
      sessionId: string;
      chatId?: string;
      position?: Position;
      seq: number;
    };
    const streams = socket.data["streams"] as Map<string, Stream>;
    const stream = streams.get(sessionId) ?? { whole: false, chats: new Set<string>() };
    if (event === "subscribe") {
      streams.set(sessionId, stream);
      if (chatId) stream.chats.add(chatId);
      else stream.whole = true;
      const now = this.position(sessionId);
      const recovered =
        position !== undefined &&
        position.epoch === this.epoch &&
        position.seq <= now.seq &&
        position.seq >= this.keptFrom;
      ack({ ok: true, data: { position: now, recovered } });
      if (recovered) for (const entry of this.session(sessionId).log.slice(position.seq)) this.push(socket, entry);
    } else if (event === "unsubscribe") {
      if (chatId) stream.chats.delete(chatId);
      else stream.whole = false;
      ack({ ok: true, data: {} });
    } else if (event === "mark_read") {
      ack({ ok: true, data: { chat: this.markRead(sessionId, chatId!, seq) } });
    } else if (event === "view" || event === "typing") {
      ack({ ok: true, data: {} });
    } else if (event === "authenticate") {
      ack({ ok: true, data: { exp: 0 } });
    } else if (this.answers.has(event)) {
      ack({ ok: true, data: this.answers.get(event) });
    } else {
      ack({ ok: false, error: { code: "unknown_event", message: event } });
    }
  }

  private async rest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? "/", this.url);
    const send = (status: number, body: unknown): void => {
      const type = status === 200 ? "application/json" : "application/problem+json";
      response.writeHead(status, { "Content-Type": type }).end(JSON.stringify(body));
    };
    if (!this.tokens.has(request.headers.authorization?.replace("Bearer ", "") ?? "")) {
      send(401, { code: "unauthorized", title: "Unauthorized", status: 401, detail: "no good token" });
      return;
    }
    const [, , , , sessionPart, kind, chatPart] = pathname.split("/").map(decodeURIComponent);
    const limit = Number(searchParams.get("limit") ?? 50);
    if (sessionPart === undefined) {
      await this.beforeList(pathname);
      const all = [...this.store.keys()].sort().filter((sessionId) => sessionId > (searchParams.get("cursor") ?? ""));
      const ids = all.slice(0, this.sessionsAtOnce);
      const data = ids.map((sessionId) => ({ ...anySession(sessionId), position: this.position(sessionId) }));
      // Left out, as by the server, where all of them are on one page.
      const more = ids.length < all.length || searchParams.has("cursor");
      send(200, { ok: true, data, ...(more && { nextCursor: ids.length < all.length ? ids.at(-1) : null }) });
      return;
    }
    const session = this.session(sessionPart);
    const position = this.position(sessionPart);
    if (kind === "chats" && chatPart === undefined) {
      const below = Number(searchParams.get("cursor") ?? Infinity);
      const all = [...session.chats.values()].filter((chat) => chat.lastSeq < below).sort((a, b) => b.lastSeq - a.lastSeq);
      const data = all.slice(0, limit);
      await this.beforeList(pathname);
      send(200, { ok: true, data, position, nextCursor: all.length > limit ? String(data.at(-1)!.lastSeq) : null });
    } else {
      const before = Number(searchParams.get("before") ?? Infinity);
      // The old name of a merged chat goes on as if it were the new one.
      const named = session.log.findLast(({ payload }) => payload.from === chatPart)?.payload.chatId ?? chatPart;
      const all = [...session.messages.values()]
        .filter((m) => m.chatId === named && m.seq < before)
        .sort((a, b) => a.seq - b.seq);
      const data = all.slice(-limit);
      await this.beforeList(pathname);
      send(200, { ok: true, data, position, hasMore: all.length > data.length });
    }
  }
}
