import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { findToken } from "../store/token";
import type { Translate } from "../text/language";

interface FormProps {
  t: Translate;
  /** Tells whether it was a good one, where that is known. */
  onToken: (token: string) => void | Promise<boolean>;
}

/** How to come by a token, and where to put it. */
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

interface Props extends FormProps {
  /** There was a token, and it is not good any more. */
  ended: boolean;
}

export function SignIn({ ended, t, onToken }: Props): JSX.Element {
  return (
    <main class="sign-in" data-testid="sign-in">
      <div class="sign-in-card">
        <p class="brand">{t("appName")}</p>
        <h1>{t(ended ? "signInEnded" : "signInTitle")}</h1>
        {ended && <p role="status">{t("signInEndedHint")}</p>}
        <SignInForm t={t} onToken={onToken} />
      </div>
    </main>
  );
}
