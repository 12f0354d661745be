import { Manager, type Socket } from "socket.io-client";

import { RoomcastError, type ErrorCode } from "./errors.js";
import type { Transport } from "./runtime.js";
import type { Answer, DurableName, PositionPayload, RequestName, Requests, ServicePayload, SessionPayload, SetName, SetPayloads } from "./types.js";

const DURABLE: readonly DurableName[] = ["new_message", "message_updated", "chat_updated", "chat_merged"];
const SETS: readonly SetName[] = ["typing", "presence", "viewers"];

export interface LinkOptions {
  url: string;
  path: string;
  token: string;
  transports: readonly Transport[];
  connectTimeoutMs: number;
  ackTimeoutMs: number;
}

export interface LinkListener {
  up(): void;
  /** Called once, whether or not the link was ever connected. */
  down(error: RoomcastError): void;
  durable(name: DurableName, payload: unknown): void;
  position(payload: PositionPayload): void;
  service(payload: ServicePayload): void;
  session(payload: SessionPayload): void;
  set<Name extends SetName>(name: Name, payload: SetPayloads[Name]): void;
}

/**
 * One connection, from its first packet to its end. The next attempt uses a new Link, so nothing that was waiting
 * on an old connection can leak into a new one.
 */
export class Link {
  readonly openedAt = Date.now();
  upAt: number | null = null;
  private readonly socket: Socket;
  private readonly deadline: ReturnType<typeof setTimeout>;
  private ended = false;

  constructor(
    private readonly options: LinkOptions,
    private readonly listener: LinkListener,
  ) {
    const manager = new Manager(options.url, {
      path: options.path,
      transports: [...options.transports],
      // If both are given, the second one is tried at once when the first is refused.
      tryAllTransports: true,
      reconnection: false,
      autoConnect: false,
      timeout: options.connectTimeoutMs,
    });
    this.socket = manager.socket("/", { auth: { token: options.token } });
    // The server may accept the transport and never answer the CONNECT packet: one deadline covers both.
    this.deadline = setTimeout(
      () => this.end(new RoomcastError("timeout", "no connection in time")),
      options.connectTimeoutMs,
    );
    this.socket.on("connect", () => {
      clearTimeout(this.deadline);
      this.upAt = Date.now();
      listener.up();
    });
    this.socket.on("connect_error", (error) => this.end(refusal(error)));
    this.socket.on("disconnect", (reason, details) => {
      this.end(new RoomcastError(isRestart(details) ? "restarting" : "disconnected", reason));
    });
    for (const name of DURABLE) this.socket.on(name, (payload: unknown) => listener.durable(name, payload));
    this.socket.on("position", (payload: PositionPayload) => listener.position(payload));
    this.socket.on("service", (payload: ServicePayload) => listener.service(payload));
    this.socket.on("session", (payload: SessionPayload) => listener.session(payload));
    for (const name of SETS) this.socket.on(name, (payload: SetPayloads[typeof name]) => listener.set(name, payload));
    this.socket.connect();
  }

  get isUp(): boolean {
    return this.upAt !== null && !this.ended;
  }

  /**
   * Sends, and calls back with the answer in the same turn in which it is read. A promise would be a turn late, and
   * events that follow the answer in the same payload would come first.
   */
  request<Name extends RequestName>(
    name: Name,
    payload: Requests[Name]["payload"],
    done: (error: RoomcastError | null, data: Requests[Name]["data"] | null) => void,
    timeoutMs = this.options.ackTimeoutMs,
  ): void {
    if (!this.isUp) {
      done(new RoomcastError("disconnected", "not connected"), null);
      return;
    }
    const answered = (error: Error | null, answer?: Answer<Requests[Name]["data"]>): void => {
      if (error) {
        // The library's two errors here have no code: a late answer, and a connection that ended before the answer.
        const code: ErrorCode = error.message === "operation has timed out" ? "timeout" : "disconnected";
        done(new RoomcastError(code, `${name}: no answer`, { cause: error }), null);
      } else if (answer?.ok) {
        done(null, answer.data);
      } else {
        const refused = { code: "internal", message: "an answer of no known form", details: undefined };
        const { code, message, details } = { ...refused, ...answer?.error };
        done(new RoomcastError(code as ErrorCode, message, { details }), null);
      }
    };
    this.socket.timeout(timeoutMs).emit(name, payload, answered);
  }

  end(error: RoomcastError): void {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.deadline);
    this.socket.off();
    this.socket.disconnect();
    this.listener.down(error);
  }
}

/** The WebSocket close code of a restarting server. */
const SERVICE_RESTART = 1012;

function isRestart(details: unknown): boolean {
  const { context } = Object(details) as { context?: unknown };
  return (Object(context) as { code?: unknown }).code === SERVICE_RESTART;
}

function refusal(error: Error): RoomcastError {
  const code = (error as Error & { data?: { code?: unknown } }).data?.code;
  // A refusal by the server has `data`; a transport error does not.
  return new RoomcastError(typeof code === "string" ? (code as ErrorCode) : "unreachable", error.message, {
    cause: error,
  });
}
