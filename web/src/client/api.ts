import { RoomcastError, type ErrorCode } from "./errors.js";
import type { ChatPage, MessagePage, SessionPage } from "./types.js";

export interface ApiOptions {
  /** The server's origin, without a trailing slash; empty for the page's own. */
  url: string;
  token: () => string;
  timeoutMs?: number;
}

interface CallOptions {
  signal?: AbortSignal | undefined;
}

/** The lists of the REST API. */
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

  private async get<Body>(
    path: string,
    query: Record<string, string | number | undefined>,
    { signal }: CallOptions,
  ): Promise<Body> {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
    const suffix = search.size ? `?${search}` : "";
    const timeout = AbortSignal.timeout(this.options.timeoutMs ?? 15_000);
    try {
      const response = await fetch(`${this.options.url}${path}${suffix}`, {
        headers: { Accept: "application/json", Authorization: `Bearer ${this.options.token()}` },
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

const CODE_OF_STATUS: Record<number, ErrorCode> = { 401: "unauthorized", 404: "not_found", 429: "rate_limited" };

async function problem(response: Response): Promise<RoomcastError> {
  const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : null;
  // Something between us and the server may have answered instead, in its own format.
  const body: { code?: unknown; title?: unknown; detail?: unknown } = response.headers
    .get("Content-Type")
    ?.includes("json")
    ? await response.json().catch(() => ({}))
    : {};
  const fallback: ErrorCode = CODE_OF_STATUS[response.status] ?? (response.status >= 500 ? "unavailable" : "invalid");
  const code = typeof body.code === "string" ? (body.code as ErrorCode) : fallback;
  return new RoomcastError(code, String(body.detail ?? body.title ?? response.statusText), { retryAfterMs });
}
