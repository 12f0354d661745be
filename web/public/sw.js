// Caches the page's own files, so that it opens offline; its data is in IndexedDB. API answers and message texts are
// never cached here.
const SHELL = "roomcast-shell";
/** If the network does not answer the request for the page by then, the cache is used. */
const PATIENCE_MS = 3000;

self.addEventListener("install", (event) => {
  event.waitUntil(refresh().then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(self.clients.claim());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (request.mode === "navigate" && url.pathname === "/") event.respondWith(page(event));
  // These names change with their content.
  else if (url.pathname.startsWith("/assets/")) event.respondWith(asset(request));
});

// For phones, where a page may not notify by itself: the tag is the chat's address in the page.
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(
    self.clients.matchAll({ type: "window" }).then(async ([open]) => {
      if (!open) return self.clients.openWindow(`/${event.notification.tag}`);
      await open.focus();
      return open.postMessage({ open: event.notification.tag });
    }),
  );
});

/** The newest page from the network, or else the last one. */
async function page(event) {
  const fresh = refresh();
  event.waitUntil(fresh.catch(() => undefined));
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));
  const answer = await Promise.race([fresh.catch(() => undefined), late]);
  return answer ?? (await (await caches.open(SHELL)).match("/")) ?? fresh;
}

async function refresh() {
  const answer = await fetch("/", { cache: "no-cache" });
  // A proxy's error page is not the page.
  if (answer.status >= 500) throw new Error(`${answer.status}`);
  if (!answer.ok) return answer;
  const shell = await caches.open(SHELL);
  const html = await answer.clone().text();
  const assets = [...new Set(html.match(/\/assets\/[\w.-]+/g))];
  await Promise.all(
    assets.map(async (asset) => {
      if (!(await shell.match(asset))) await shell.add(asset);
    }),
  );
  await shell.put("/", answer.clone());
  const kept = new Set([...assets, "/"]);
  for (const { url } of await shell.keys()) {
    if (!kept.has(new URL(url).pathname)) await shell.delete(url);
  }
  return answer;
}

async function asset(request) {
  // The request's headers do not matter: the file is identified by its name.
  const kept = await caches.match(request, { cacheName: SHELL, ignoreVary: true });
  return kept ?? fetch(request);
}
