import { DEFAULT_BACKOFF, type BackoffOptions } from "../client";
import { originOf } from "../text/links";

export interface Settings {
  backoff: BackoffOptions;
  socketPath: string;
  version: string;
  /** Origins from which media loads by itself. */
  mediaOrigins: ReadonlySet<string>;
}

/** The server's settings for the page, from the page's `meta` tag, with defaults. */
export function readSettings(json: string | null | undefined): Settings {
  let given: Record<string, unknown> = {};
  try {
    given = Object(JSON.parse(json || "{}")) as Record<string, unknown>;
  } catch {
    // Served without settings.
  }
  const amount = (name: string, otherwise: number, most = Infinity): number => {
    const value = given[name];
    return typeof value === "number" && value >= 0 && value <= most ? value : otherwise;
  };
  const word = (name: string, otherwise: string): string => {
    const value = given[name];
    return typeof value === "string" ? value : otherwise;
  };
  const origins = Array.isArray(given["mediaOrigins"]) ? given["mediaOrigins"].map(originOf) : [];
  return {
    backoff: {
      delayMs: amount("reconnectDelayMs", DEFAULT_BACKOFF.delayMs),
      delayMaxMs: amount("reconnectDelayMaxMs", DEFAULT_BACKOFF.delayMaxMs),
      jitter: amount("reconnectJitter", DEFAULT_BACKOFF.jitter, 1),
    },
    socketPath: word("socketPath", "/socket.io/"),
    version: word("version", ""),
    mediaOrigins: new Set(origins.filter((origin) => origin !== null)),
  };
}
