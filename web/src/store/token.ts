const KEY = "roomcast.token";

export interface Claims {
  name: string | null;
  /** Whose it is; empty where it does not say. */
  sub: string;
  /** In milliseconds as of `Date.now()`. */
  expiresAt: number;
  sessions: readonly string[];
}

/** A token out of a fragment `#token=…`, a whole link with such a fragment, or as it is. */
export function findToken(text: string): string | null {
  const candidate = decodeURIComponent(/[#&]token=([^&\s]+)/.exec(text)?.[1] ?? text).trim();
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(candidate) ? candidate : null;
}

/**
 * What a token says of itself, for words on the page. It is not verified here, and need not be:
 * the server decides about everything.
 */
export function readClaims(token: string): Claims {
  let claims: Record<string, unknown> = {};
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    claims = Object(JSON.parse(new TextDecoder().decode(bytes))) as Record<string, unknown>;
  } catch {
    // The server will say what it thinks of it.
  }
  const { name, sub, exp, sessions } = claims;
  const words = [name, sub].filter((word): word is string => typeof word === "string" && word !== "");
  return {
    name: words[0] ?? null,
    sub: typeof sub === "string" ? sub : "",
    expiresAt: typeof exp === "number" ? exp * 1000 : 0,
    sessions: Array.isArray(sessions) ? sessions.filter((id): id is string => typeof id === "string") : [],
  };
}

/** The token of this tab. It is taken out of the address bar at once, and lives as long as the tab does. */
export function takeToken(): string | null {
  if (location.hash.startsWith("#token=")) {
    const token = findToken(location.hash);
    history.replaceState(null, "", location.pathname + location.search);
    if (token) keepToken(token);
  }
  return sessionStorage.getItem(KEY);
}

export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token);
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}
