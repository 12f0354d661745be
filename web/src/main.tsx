import { options, render } from "preact";

import { Cache } from "./store/cache";
import { readSettings } from "./store/settings";
import { keepShell } from "./store/shell";
import { forgetToken, isAnother, keepToken, keptToken, readClaims, takeToken } from "./store/token";
import { Formats } from "./text/formats";
import { chooseLanguage } from "./text/language";
import { signedIn } from "./signedin";
import { Replace, SignIn, type Why } from "./view/SignIn";
import "./styles/page.css";

/** A hidden tab draws no frames, but its content should not be too old when it becomes visible. */
const HIDDEN_MS = 250;

// All events within a frame are drawn together.
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

function signIn(why: Why): void {
  stop();
  stop = () => undefined;
  forgetToken();
  void new Cache("", () => 0).forget();
  document.title = t("appName");
  render(<SignIn why={why} t={t} onToken={start} />, root);
}

function start(token: string): void {
  stop();
  keepToken(token);
  const onSignedOut = (ended: boolean): void => signIn(ended ? "ended" : null);
  stop = signedIn(root, token, { settings, t, formats, onSignedOut, onOther: start });
}

/** `before`: the fragment before a link put a token there. */
function enter(before = ""): void {
  const [brought, present] = [takeToken(before), keptToken()];
  if (brought && brought !== "broken") {
    if (isAnother(brought.token, present)) ask(brought.token, present ?? "");
    else start(brought.token);
  } else if (present) start(present);
  else signIn(brought);
}

/** The person who opens a link may not know whose it is, and should not read or write in another's name. */
function ask(brought: string, present: string): void {
  stop();
  stop = () => undefined;
  const names = { present: readClaims(present).name, brought: readClaims(brought).name };
  render(<Replace {...names} t={t} onStay={() => start(present)} onReplace={() => start(brought)} />, root);
}

// Another sign-in link was opened in the same tab.
addEventListener("hashchange", (event) => {
  if (location.hash.startsWith("#token=")) enter(new URL(event.oldURL).hash);
});
enter();
keepShell();
