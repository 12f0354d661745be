import { options, render } from "preact";

import { Cache } from "./store/cache";
import { readSettings } from "./store/settings";
import { keepShell } from "./store/shell";
import { forgetToken, keepToken, takeToken } from "./store/token";
import { Formats } from "./text/formats";
import { chooseLanguage } from "./text/language";
import { signedIn } from "./signedin";
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
  stop = () => undefined;
  forgetToken();
  void new Cache("").forget();
  document.title = t("appName");
  render(<SignIn ended={ended} t={t} onToken={start} />, root);
}

function start(token: string): void {
  stop();
  keepToken(token);
  stop = signedIn(root, token, { settings, t, formats, onSignedOut: signIn, onOther: start });
}

function enter(): void {
  const token = takeToken();
  if (token) start(token);
  else signIn(false);
}

// The same tab is given another sign-in link.
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) enter();
});
enter();
keepShell();
