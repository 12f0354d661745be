import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { findToken } from "../store/token";
import type { Translate } from "../text/language";

interface FormProps {
  t: Translate;
  /** Returns false if the token is known to be invalid. */
  onToken: (token: string) => void | Promise<boolean>;
}

/** Explains how to get a token, and takes one. */
export function SignInForm({ t, onToken }: FormProps): JSX.Element {
  const [bad, setBad] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const token = findToken(String(new FormData(event.currentTarget as HTMLFormElement).get("token") ?? ""));
    setBad(!token || (await onToken(token)) === false);
  };
  return (
    <form class="sign-in-form" onSubmit={(event) => void submit(event)}>
      <p>{t("signInHint")}</p>
      <code>python -m app token</code>
      <label for="token">{t("signInPaste")}</label>
      <input
        id="token"
        name="token"
        autocomplete="off"
        spellcheck={false}
        aria-invalid={bad}
        aria-describedby="token-fault"
        onInput={() => setBad(false)}
      />
      <p class="fault" id="token-fault" role="alert">
        {bad ? t("signInBad") : ""}
      </p>
      <button type="submit" class="primary">
        {t("signInButton")}
      </button>
    </form>
  );
}

/** Why nobody is signed in: the token is no longer valid, the link was damaged, or there was no token yet. */
export type Why = "ended" | "broken" | null;

interface Props extends FormProps {
  why: Why;
}

export function SignIn({ why, t, onToken }: Props): JSX.Element {
  return (
    <main class="sign-in" data-testid="sign-in">
      <div class="sign-in-card">
        <p class="brand">{t("appName")}</p>
        <h1>{t(why === "ended" ? "signInEnded" : "signInTitle")}</h1>
        {why && <p role="status">{t(why === "ended" ? "signInEndedHint" : "signInBroken")}</p>}
        <SignInForm t={t} onToken={onToken} />
      </div>
    </main>
  );
}

interface ReplaceProps {
  /** The names of the signed-in person and of the link's owner, if the tokens have them. */
  present: string | null;
  brought: string | null;
  t: Translate;
  onStay: () => void;
  onReplace: () => void;
}

/** Asks before a link signs in another person. */
export function Replace({ present, brought, t, onStay, onReplace }: ReplaceProps): JSX.Element {
  const [here, other] = [present ?? t("replaceUnnamed"), brought ?? t("replaceUnnamed")];
  const stay = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => stay.current?.focus(), []);
  return (
    <main class="sign-in" data-testid="replace">
      <div class="sign-in-card">
        <p class="brand">{t("appName")}</p>
        <h1>{t("replaceTitle")}</h1>
        <p>{t("replaceHint", { here, other })}</p>
        <button ref={stay} type="button" class="primary" onClick={onStay}>
          {t("replaceStay", { here })}
        </button>
        <button type="button" class="secondary" onClick={onReplace}>
          {t("replaceGo", { other })}
        </button>
      </div>
    </main>
  );
}
