const LATER_MS = 1_000;

/** Makes the page itself available offline, see `public/sw.js`. */
export function keepShell(): void {
  // Not during development, where it would serve old builds.
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  // After the page has loaded. If the browser refuses (a private window, no TLS), it works without.
  const register = (): void => void navigator.serviceWorker.register("/sw.js").catch(() => undefined);
  addEventListener("load", () => setTimeout(register, LATER_MS));
  navigator.serviceWorker.addEventListener("message", (event: MessageEvent<{ open?: unknown }>) => {
    const { open } = Object(event.data) as { open?: unknown };
    if (typeof open === "string" && open.startsWith("#/")) location.hash = open;
  });
}
