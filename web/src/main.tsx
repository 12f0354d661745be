import { effect } from "@preact/signals";
import { options, render } from "preact";

import { RoomcastApi, RoomcastClient } from "./client";
import { Inbox } from "./store/inbox";
import { readWhatIsSeen } from "./store/reader";
import { parseRoute } from "./store/route";
import { readSettings } from "./store/settings";
import { visible } from "./store/surroundings";
import { forgetToken, keepToken, readClaims, takeToken } from "./store/token";
import { Formats } from "./text/formats";
import { chooseLanguage } from "./text/language";
import { App } from "./view/App";
import { PageContext, type Page } from "./view/context";
import { SignIn } from "./view/SignIn";
import "./styles/page.css";

/** A hidden tab draws no frames; what is in it should not be too old when it is looked at. */
const HIDDEN_MS = 250;

// However many events a frame brings, the page is drawn once for them.
options.debounceRendering = (draw) => {
  if (document.hidden) setTimeout(draw, HIDDEN_MS);
  else requestAnimationFrame(draw);
};

const root = document.body;
const settings = readSettings(document.querySelector<HTMLMetaElement>('meta[name="roomcast"]')?.content);
const language = chooseLanguage(navigator.languages);
const { t } = language;
const formats = new Formats(language);
document.documentElement.lang = language.locale;

let stop = (): void => undefined;

function signIn(ended: boolean): void {
  stop();
  forgetToken();
  document.title = t("appName");
  render(<SignIn ended={ended} t={t} onToken={start} />, root);
}

function start(token: string): void {
  stop();
  keepToken(token);
  const claims = readClaims(token);
  const client = new RoomcastClient({
    url: location.origin,
    path: settings.socketPath,
    token,
    backoff: settings.backoff,
  });
  const api = new RoomcastApi({ url: location.origin, token: () => client.token });
  const inbox = new Inbox(client, api, claims.sessions.includes("*"));
  const page: Page = {
    inbox,
    t,
    formats,
    agent: claims.name,
    signOut: () => signIn(false),
    retryNow: () => client.retryNow(),
  };
  const stops = [
    () => inbox.stop(),
    readWhatIsSeen(inbox, visible),
    effect(() => {
      const count = inbox.unread.value;
      document.title = count > 0 ? `(${count}) ${t("appName")}` : t("appName");
    }),
    effect(() => {
      if (inbox.connection.value.name === "unauthorized") queueMicrotask(() => signIn(true));
    }),
    listen("popstate", () => inbox.open(parseRoute(location.hash))),
  ];
  stop = () => stops.splice(0).forEach((end) => end());
  inbox.open(parseRoute(location.hash));
  inbox.start();
  render(
    <PageContext.Provider value={page}>
      <App />
    </PageContext.Provider>,
    root,
  );
}

function listen(name: "popstate" | "hashchange", listener: () => void): () => void {
  addEventListener(name, listener);
  return () => removeEventListener(name, listener);
}

function enter(): void {
  const token = takeToken();
  if (token) start(token);
  else signIn(false);
}

// The same tab is given another sign-in link.
listen("hashchange", () => {
  if (location.hash.startsWith("#token=")) enter();
});
enter();
