import { computed, effect, signal } from "@preact/signals";
import { render } from "preact";

import { RoomcastApi, RoomcastClient } from "./client";
import { Attendance } from "./store/attendance";
import { showUnread } from "./store/badge";
import { Cache } from "./store/cache";
import { Desk } from "./store/desk";
import { Drafts } from "./store/drafts";
import { Inbox } from "./store/inbox";
import { keep } from "./store/keeper";
import { tellOfNews } from "./store/notifier";
import { preference } from "./store/preferences";
import { readWhatIsSeen } from "./store/reader";
import { QuickReplies } from "./store/quickreplies";
import { goTo, parseRoute, routeOf } from "./store/route";
import { Search } from "./store/search";
import type { SavedSession } from "./store/sessionstore";
import type { Settings } from "./store/settings";
import { Sound } from "./store/sound";
import { attended, now, visible } from "./store/surroundings";
import { Tabs } from "./store/tabs";
import { forgetToken, keepToken, readClaims, type Claims } from "./store/token";
import { IndexedShelf } from "./store/unsentshelf";
import type { Formats } from "./text/formats";
import type { Translate } from "./text/language";
import { originOf } from "./text/links";
import { chatName, isGroup, senderName } from "./text/names";
import { summary } from "./text/summary";
import { App } from "./view/App";
import { PageContext, type Overlay, type Page } from "./view/context";

interface Options {
  settings: Settings;
  t: Translate;
  formats: Formats;
  /** `ended`: the sign-in ended by itself. */
  onSignedOut: (ended: boolean) => void;
  /** A token of another person was given. */
  onOther: (token: string) => void;
}

/** The page for a signed-in person. Returns a function that stops it. */
export function signedIn(root: Element, token: string, { settings, t, formats, ...options }: Options): () => void {
  const claims = readClaims(token);
  const url = location.origin;
  const log = debugLog();
  const client = new RoomcastClient({ url, path: settings.socketPath, token, backoff: settings.backoff, ...(log && { log }) });
  const api = new RoomcastApi({ url, token: () => client.token });
  const expiresAt = (): number => readClaims(client.token).expiresAt;
  const cache = new Cache(claims.sub, expiresAt);
  const any = claims.sessions.includes("*");
  const allowed = ({ sessionId }: SavedSession): boolean => any || claims.sessions.includes(sessionId);
  // If the token has expired, stored data is not shown before the server has been asked.
  const saved = claims.expiresAt > Date.now() ? cache.read().then((all) => all.filter(allowed)) : Promise.resolve([]);
  const inbox = new Inbox(client, api, { mayGrow: any, named: claims.sessions, saved: saved.catch(() => []) });
  const me = { id: claims.sub, name: claims.name };
  const drafts = new Drafts(claims.sub);
  const desk = new Desk({ client, api, inbox, drafts, shelf: new IndexedShelf(claims.sub), me });
  const attendance = new Attendance(client, me, inbox.opened, visible);
  const rights = signal(rightsOf(claims));
  const search = new Search(inbox, inbox.opened, t, me.id);
  const [notify, sounds] = [preference("notify"), preference("sound")];
  const sound = new Sound();
  const tabs = new Tabs(claims.sub, {
    reading: () => (attended.peek() && inbox.opened.peek() ? routeOf(inbox.opened.peek()!) : null),
    audible: () => sound.audible,
    ring: () => sound.play(),
    signedOut: () => options.onSignedOut(false),
  });
  const touched = (): void => {
    if (sounds.on.peek()) sound.touched();
  };
  let wasConnected = false;

  const page: Page = {
    inbox,
    search,
    attendance,
    desk,
    drafts,
    quick: new QuickReplies(api),
    rights,
    me,
    t,
    formats,
    loadsByItself: (url) => settings.mediaOrigins.has(originOf(url) ?? ""),
    overlay: signal<Overlay | null>(null),
    notify,
    sound: sounds,
    hearable: () => sound.touched(),
    checkOptions: () => ({
      url,
      socketPath: settings.socketPath,
      token: client.token,
      expiresAt: expiresAt(),
      version: settings.version,
      moment: (time) => formats.moment(new Date(time).toISOString()),
    }),
    signOut: () => {
      const count = desk.unsent.all.peek().length;
      if (count > 0 && !confirm(t("signOutUnsent", { count }))) return;
      void cache.forget();
      void desk.unsent.forget();
      drafts.forget();
      tabs.signOut();
      options.onSignedOut(false);
    },
    signInAgain: async (given) => {
      const other = readClaims(given);
      if (other.sub !== claims.sub || other.sessions.join() !== claims.sessions.join()) {
        options.onOther(given);
        return true;
      }
      try {
        await inbox.resume(given);
      } catch {
        return false;
      }
      keepToken(given);
      rights.value = rightsOf(other);
      await cache.read();
      return true;
    },
  };

  const stops = [
    () => inbox.stop(),
    () => attendance.stop(),
    () => search.stop(),
    () => desk.stop(),
    () => drafts.stop(),
    () => tabs.stop(),
    readWhatIsSeen(inbox, attended),
    keep(inbox, cache),
    showUnread(inbox.unread, t("appName")),
    tellOfNews({
      inbox,
      tabs,
      notifies: () => notify.on.peek(),
      sounds: () => sounds.on.peek(),
      words: ({ chat, message }) => {
        const [name, sender] = [chatName(chat, t), senderName(message, t)];
        const title = isGroup(chat.chatId) ? t("notifyPlace", { name: sender, chat: name }) : name;
        return { title, body: summary(message, t).slice(0, 200) };
      },
      open: goTo,
    }),
    effect(() => {
      const { name } = inbox.connection.value;
      if (name === "connected") wasConnected = true;
      if (name !== "unauthorized") return;
      // The content stays visible, and the status line says what to do; stored data is deleted at once.
      forgetToken();
      void cache.forget();
      if (!wasConnected) queueMicrotask(() => options.onSignedOut(true));
    }),
    endWithToken(cache, expiresAt),
    measure(inbox),
    effect(() => {
      // A merged chat has another address.
      const address = inbox.opened.value;
      if (address && parseRoute(location.hash)) history.replaceState(history.state, "", routeOf(address));
    }),
    listen("popstate", () => inbox.open(parseRoute(location.hash))),
    listen("pointerdown", touched),
    listen("keydown", touched),
  ];
  inbox.open(parseRoute(location.hash));
  inbox.start();
  render(
    <PageContext.Provider value={page}>
      <App />
    </PageContext.Provider>,
    root,
  );
  return () => stops.splice(0).forEach((end) => end());
}

/** The rights that the token claims, for what the page offers; the server decides. */
function rightsOf({ scopes }: Claims): { send: boolean; write: boolean } {
  return { send: scopes.includes("send"), write: scopes.includes("write") };
}

/** Stored data is deleted when the token expires, even if the server cannot be reached. */
function endWithToken(cache: Cache, expiresAt: () => number): () => void {
  const expired = computed(() => now.value >= expiresAt());
  return effect(() => {
    if (expired.value) void cache.forget();
  });
}

function listen(name: "popstate" | "pointerdown" | "keydown", listener: () => void): () => void {
  addEventListener(name, listener);
  return () => removeEventListener(name, listener);
}

/** Performance marks: when the list and when a chat were first visible. */
function measure(inbox: Inbox): () => void {
  const mark = (name: string): void => {
    if (performance.getEntriesByName(name).length === 0) requestAnimationFrame(() => performance.mark(name));
  };
  return effect(() => {
    if (inbox.ready.value && inbox.chats.value.length > 0) mark("roomcast:list");
    if (inbox.log.value?.ready.value) mark("roomcast:chat");
  });
}

/** With `localStorage.debug = "roomcast"` and a reload, the console shows each step. */
function debugLog(): ((step: string, details?: Readonly<Record<string, unknown>>) => void) | null {
  try {
    if (!localStorage.getItem("debug")) return null;
  } catch {
    return null;
  }
  return (step, details) => console.debug(`[roomcast] ${new Date().toISOString().slice(11, 23)} ${step}`, details ?? "");
}
