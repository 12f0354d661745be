import { withoutBidiControls } from "../text/names";

const KEY = "roomcast.token";

export interface Claims {
  name: string | null;
  /** Its owner; empty if unknown. */
  sub: string;
  /** In milliseconds like `Date.now()`. */
  expiresAt: number;
  sessions: readonly string[];
  scopes: readonly string[];
}

/** A token from a fragment `#token=…`, from a link with such a fragment, or as it is. */
export function findToken(text: string): string | null {
  const candidate = decoded(/[#&]token=([^&\s]+)/.exec(text)?.[1] ?? text).trim();
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(candidate) ? candidate : null;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray "%": a damaged link
  }
}

/**
 * The contents of a token, for display. It is not verified here: the server decides about everything.
 */
export function readClaims(token: string): Claims {
  let claims: Record<string, unknown> = {};
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    claims = Object(JSON.parse(new TextDecoder().decode(bytes))) as Record<string, unknown>;
  } catch {
    // The server decides whether it is valid.
  }
  const { name, sub, exp } = claims;
  const strings = (value: unknown): string[] => (Array.isArray(value) ? value.filter((one) => typeof one === "string") : []);
  const words = [name, sub].filter((word): word is string => typeof word === "string" && word !== "");
  return {
    name: withoutBidiControls(words[0] ?? "") || null,
    sub: typeof sub === "string" ? sub : "",
    expiresAt: typeof exp === "number" ? exp * 1000 : 0,
    sessions: strings(claims["sessions"]),
    scopes: strings(claims["scopes"]),
  };
}

/**
 * Takes a token out of the address bar: the token, `broken` if it is damaged, or `null` if there is none. `before`: the
 * fragment to restore.
 */
export function takeToken(before = ""): { token: string } | "broken" | null {
  if (!location.hash.startsWith("#token=")) return null;
  const token = findToken(location.hash);
  history.replaceState(history.state, "", location.pathname + location.search + before);
  return token ? { token } : "broken";
}

/** The token of this tab, kept as long as the tab, or, without browser storage, as long as the page. */
export function keptToken(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export function keepToken(token: string): void {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // Not stored.
  }
}

export function forgetToken(): void {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // Nothing was stored.
  }
}

/** Whether a link would replace the signed-in person by another one. */
export function isAnother(brought: string, present: string | null): boolean {
  if (present === null) return false;
  const { sub, expiresAt } = readClaims(present);
  return expiresAt > Date.now() && readClaims(brought).sub !== sub;
}
