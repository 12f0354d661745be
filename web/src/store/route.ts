import type { Address } from "./address";

/** The open chat is in the fragment, `#/session/chat`, which survives a reload and is not logged by servers. */
export function parseRoute(hash: string): Address | null {
  const match = /^#\/([^/]+)\/([^/]+)$/.exec(hash);
  try {
    const [, sessionId, chatId] = match ?? [];
    return sessionId && chatId
      ? { sessionId: decodeURIComponent(sessionId), chatId: decodeURIComponent(chatId) }
      : null;
  } catch {
    return null; // not written by the page
  }
}

export function routeOf({ sessionId, chatId }: Address): string {
  return `#/${encodeURIComponent(sessionId)}/${encodeURIComponent(chatId)}`;
}

interface RouteState {
  overList?: true;
}

/** The history has two steps: the list and an open chat. Changing chats adds no step, so "back" always leads to the list. */
export function goTo(address: Address | null): void {
  const overList = (history.state as RouteState | null)?.overList === true;
  if (address && parseRoute(location.hash)) history.replaceState(history.state, "", routeOf(address));
  else if (address) history.pushState({ overList: true } satisfies RouteState, "", routeOf(address));
  else if (overList) return history.back(); // `popstate` does the rest
  else history.replaceState(null, "", location.pathname + location.search);
  dispatchEvent(new PopStateEvent("popstate"));
}
