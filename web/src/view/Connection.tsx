import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { ClientState } from "../client";
import type { TextKey } from "../text/en";
import type { Translate } from "../text/language";
import { usePage } from "./context";

const WORDS: Record<Exclude<ClientState["name"], "reconnecting">, TextKey> = {
  connecting: "stateConnecting",
  connected: "stateConnected",
  catching_up: "stateCatchingUp",
  offline: "stateOffline",
  unauthorized: "stateUnauthorized",
  closed: "stateClosed",
};

/** The one line that says how the connection is. */
export function Connection(): JSX.Element {
  const { inbox, t, retryNow } = usePage();
  const state = inbox.connection.value;
  const retryAt = "retryAt" in state ? state.retryAt : null;
  const seconds = useSecondsUntil(retryAt);
  return (
    <footer class={`connection is-${state.name}`} data-testid="connection" data-state={state.name}>
      <span class="dot" aria-hidden="true" />
      <span role="status">{words(state, seconds, t)}</span>
      {retryAt !== null && (
        <button type="button" class="plain link" onClick={retryNow}>
          {t("tryNow")}
        </button>
      )}
    </footer>
  );
}

function words(state: ClientState, seconds: number, t: Translate): string {
  if (state.name !== "reconnecting") return t(WORDS[state.name]);
  // A wait that is over before it has been read is not worth a number.
  return seconds >= 2 ? t("stateReconnectingIn", { seconds }) : t("stateReconnecting");
}

function useSecondsUntil(time: number | null): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    setNow(Date.now());
    if (time === null) return;
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, [time]);
  return time === null ? 0 : Math.max(0, Math.ceil((time - now) / 1000));
}
