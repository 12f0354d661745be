/**
 * Reports changes of the network and sleep. In a browser this uses `window` and `document`; elsewhere (Node, a
 * worker) only jumps of the clock are noticed. Tests pass their own.
 */
export interface Environment {
  /** Whether the system reports a network. This may be wrong, so it never prevents an attempt to connect. */
  isOnline(): boolean;
  /** Calls back when a connection should be checked. Returns a function that stops this. */
  watch(callback: (sign: Sign) => void): () => void;
}

/** `online`, `offline`: the network. `wake`: the page became visible, or the clock has jumped. */
export type Sign = "online" | "offline" | "wake";

const TICK_MS = 5_000;
/** If a tick is this late, the machine was asleep, and not just busy. */
const JUMP_MS = 10_000;

export function detectEnvironment(scope: typeof globalThis = globalThis): Environment {
  const document = "document" in scope ? scope.document : null;
  const events = typeof scope.addEventListener === "function" ? scope : null;

  return {
    isOnline: () => !("navigator" in scope) || scope.navigator.onLine !== false,

    watch(callback) {
      const online = (): void => callback("online");
      const offline = (): void => callback("offline");
      const shown = (): void => callback("wake");
      const visible = (): void => {
        if (!document?.hidden) callback("wake");
      };
      events?.addEventListener("online", online);
      events?.addEventListener("offline", offline);
      events?.addEventListener("pageshow", shown);
      document?.addEventListener("visibilitychange", visible);

      let last = Date.now();
      const ticker = setInterval(() => {
        const late = Date.now() - last - TICK_MS;
        last = Date.now();
        // The browser slows down the timers of a hidden page, which is not sleep.
        if (late > JUMP_MS && !document?.hidden) callback("wake");
      }, TICK_MS);

      return () => {
        events?.removeEventListener("online", online);
        events?.removeEventListener("offline", offline);
        events?.removeEventListener("pageshow", shown);
        document?.removeEventListener("visibilitychange", visible);
        clearInterval(ticker);
      };
    },
  };
}
