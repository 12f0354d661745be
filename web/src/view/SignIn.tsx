import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { findToken } from "../store/token";
import type { Translate } from "../text/language";

interface Props {
  /** There was a token, and it is not good any more. */
  ended: boolean;
  t: Translate;
  onToken: (token: string) => void;
}

export function SignIn({ ended, t, onToken }: Props): JSX.Element {
  const [bad, setBad] = useState(false);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const token = findToken(String(new FormData(event.currentTarget as HTMLFormElement).get("token") ?? ""));
    if (token) onToken(token);
    else setBad(true);
  };
  return (
    <main class="sign-in" data-testid="sign-in">
      <form onSubmit={submit}>
        <p class="brand">{t("appName")}</p>
        <h1>{t(ended ? "signInEnded" : "signInTitle")}</h1>
        {ended && <p role="status">{t("signInEndedHint")}</p>}
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
    </main>
  );
}
