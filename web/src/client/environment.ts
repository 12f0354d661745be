/**
 * What the surroundings tell about the network and about sleep. In a browser it is read from `window`
 * and `document`; elsewhere (Node, a worker) only the clock's jumps are left. Tests bring their own.
 */
export interface Environment {
  /** Whether the system says that there is a network. It may be wrong: it is used for words and hurry, never as a reason not to try. */
  isOnline(): boolean;
  /** Calls back when something happened after which a connection deserves a look. Returns how to stop. */
  watch(callback: (sign: Sign) => void): () => void;
}

/** `online`, `offline`: the network. `wake`: the page is looked at again, or time has jumped. */
export type Sign = "online" | "offline" | "wake";

const TICK_MS = 5_000;
/** A tick that comes this late was slept through, not merely delayed by a busy moment. */
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
        // The timers of a hidden page are slowed down by the browser: that is no sleep.
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
