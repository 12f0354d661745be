import { effect, type ReadonlySignal } from "@preact/signals";

/** Shows the number of unread messages in the title and on the icon of the tab. Returns a function that stops it. */
export function showUnread(unread: ReadonlySignal<number>, appName: string): () => void {
  const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
  const plain = icon?.href ?? "";
  const show = (count: number): void => {
    document.title = count > 0 ? `(${count}) ${appName}` : appName;
    const href = count > 0 ? `data:image/svg+xml,${encodeURIComponent(drawn(count))}` : plain;
    if (icon && icon.href !== href) icon.href = href;
  };
  const stop = effect(() => show(unread.value));
  return () => {
    stop();
    show(0);
  };
}

/** Nothing but a number of ours is in it. */
function drawn(count: number): string {
  const words = count > 99 ? "99+" : String(count);
  const size = { 1: 17, 2: 15, 3: 11 }[words.length] ?? 11;
  return (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">' +
    '<rect width="32" height="32" rx="8" fill="#0f766e"/><path d="M6 7h16v11H12l-5 4v-4H6z" fill="#fff"/>' +
    '<circle cx="21" cy="21" r="11" fill="#c62828"/>' +
    `<text x="21" y="${21 + size * 0.36}" font-size="${size}" font-family="sans-serif" font-weight="700" ` +
    `text-anchor="middle" fill="#fff">${words}</text></svg>`
  );
}
