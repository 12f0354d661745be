const LATER_MS = 1_000;

/** Lets the page itself be there without a network, see `public/sw.js`. */
export function keepShell(): void {
  // While it is worked on, what was built last must not be in the way.
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  // The page has the line first. A browser that refuses (a private window, no TLS) goes without.
  const register = (): void => void navigator.serviceWorker.register("/sw.js").catch(() => undefined);
  addEventListener("load", () => setTimeout(register, LATER_MS));
  navigator.serviceWorker.addEventListener("message", (event: MessageEvent<{ open?: unknown }>) => {
    const { open } = Object(event.data) as { open?: unknown };
    if (typeof open === "string" && open.startsWith("#/")) location.hash = open;
  });
}
