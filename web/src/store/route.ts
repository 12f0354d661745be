import type { Address } from "./address";

/** Which chat is open stands in the fragment, `#/session/chat`: it survives a reload and reaches no log. */
export function parseRoute(hash: string): Address | null {
  const match = /^#\/([^/]+)\/([^/]+)$/.exec(hash);
  try {
    const [, sessionId, chatId] = match ?? [];
    return sessionId && chatId
      ? { sessionId: decodeURIComponent(sessionId), chatId: decodeURIComponent(chatId) }
      : null;
  } catch {
    return null; // not what we write
  }
}

export function routeOf({ sessionId, chatId }: Address): string {
  return `#/${encodeURIComponent(sessionId)}/${encodeURIComponent(chatId)}`;
}

interface RouteState {
  overList?: true;
}

/** The list is one step, an open chat the next one; from chat to chat is no step. So "back" always leads to the list. */
export function goTo(address: Address | null): void {
  const overList = (history.state as RouteState | null)?.overList === true;
  if (address && parseRoute(location.hash)) history.replaceState(history.state, "", routeOf(address));
  else if (address) history.pushState({ overList: true } satisfies RouteState, "", routeOf(address));
  else if (overList) return history.back(); // `popstate` does the rest
  else history.replaceState(null, "", location.pathname + location.search);
  dispatchEvent(new PopStateEvent("popstate"));
}
