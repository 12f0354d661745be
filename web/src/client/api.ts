import { RoomcastError, type ErrorCode } from "./errors.js";
import type { ChatPage, Message, MessagePage, OutgoingMessage, QuickReply, SessionPage } from "./types.js";

export interface ApiOptions {
  /** The server's origin, without a trailing slash; empty for the page's own. */
  url: string;
  token: () => string;
  timeoutMs?: number;
}

interface CallOptions {
  signal?: AbortSignal | undefined;
}

/** The REST API: the lists, quick replies, and messages that are too large for a packet. */
export class RoomcastApi {
  constructor(private readonly options: ApiOptions) {}

  sessions(options: CallOptions & { limit?: number; cursor?: string | undefined } = {}): Promise<SessionPage> {
    const { limit, cursor } = options;
    return this.get("/api/v1/sessions", { limit, cursor }, options);
  }

  chats(
    sessionId: string,
    options: CallOptions & { limit?: number; cursor?: string | undefined } = {},
  ): Promise<ChatPage> {
    const { limit, cursor } = options;
    return this.get(`/api/v1/sessions/${encodeURIComponent(sessionId)}/chats`, { limit, cursor }, options);
  }

  messages(
    sessionId: string,
    chatId: string,
    options: CallOptions & { limit?: number; before?: number | undefined; after?: number | undefined } = {},
  ): Promise<MessagePage> {
    const { limit, before, after } = options;
    const path = `/api/v1/sessions/${encodeURIComponent(sessionId)}/chats/${encodeURIComponent(chatId)}/messages`;
    return this.get(path, { limit, before, after }, options);
  }

  /** The same as `RoomcastClient.sendMessage`, for programs and for long texts. */
  async sendMessage(sessionId: string, chatId: string, message: OutgoingMessage, options: CallOptions = {}): Promise<Message> {
    const path = `/api/v1/sessions/${encodeURIComponent(sessionId)}/chats/${encodeURIComponent(chatId)}/messages`;
    const body = await this.call<{ data: { message: Message } }>("POST", path, options, message);
    return body.data.message;
  }

  async quickReplies(sessionId: string, options: CallOptions = {}): Promise<QuickReply[]> {
    return (await this.get<{ data: QuickReply[] }>(quickRepliesOf(sessionId), {}, options)).data;
  }

  /** Puts these in place of the session's quick replies. */
  async putQuickReplies(sessionId: string, quickReplies: readonly QuickReply[], options: CallOptions = {}): Promise<QuickReply[]> {
    return (await this.call<{ data: QuickReply[] }>("PUT", quickRepliesOf(sessionId), options, quickReplies)).data;
  }

  private get<Body>(path: string, query: Record<string, string | number | undefined>, options: CallOptions): Promise<Body> {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
    return this.call("GET", path + (search.size ? `?${search}` : ""), options);
  }

  private async call<Body>(method: string, path: string, { signal }: CallOptions, body?: unknown): Promise<Body> {
    const timeout = AbortSignal.timeout(this.options.timeoutMs ?? 15_000);
    try {
      const response = await fetch(this.options.url + path, {
        method,
        headers: {
          Accept: "application/json",
          Authorization: `Bearer ${this.options.token()}`,
          ...(body !== undefined && { "Content-Type": "application/json" }),
        },
        body: body === undefined ? null : JSON.stringify(body),
        cache: "no-store",
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      if (!response.ok) throw await problem(response);
      return (await response.json()) as Body;
    } catch (error) {
      if (error instanceof RoomcastError) throw error;
      if (signal?.aborted) throw new RoomcastError("aborted", "given up by the caller", { cause: error });
      if (timeout.aborted) throw new RoomcastError("timeout", "no answer in time", { cause: error });
      throw new RoomcastError("unreachable", "the server cannot be reached", { cause: error });
    }
  }
}

function quickRepliesOf(sessionId: string): string {
  return `/api/v1/sessions/${encodeURIComponent(sessionId)}/quick-replies`;
}

const CODE_OF_STATUS: Record<number, ErrorCode> = {
  401: "unauthorized",
  404: "not_found",
  409: "conflict",
  413: "too_large",
  429: "rate_limited",
};

async function problem(response: Response): Promise<RoomcastError> {
  const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : null;
  // Something between us and the server may have answered instead, in its own format.
  const body: { code?: unknown; title?: unknown; detail?: unknown; details?: unknown } = response.headers
    .get("Content-Type")
    ?.includes("json")
    ? await response.json().catch(() => ({}))
    : {};
  const fallback: ErrorCode = CODE_OF_STATUS[response.status] ?? (response.status >= 500 ? "unavailable" : "invalid");
  const code = typeof body.code === "string" ? (body.code as ErrorCode) : fallback;
  return new RoomcastError(code, String(body.detail ?? body.title ?? response.statusText), {
    retryAfterMs,
    details: body.details,
  });
}
