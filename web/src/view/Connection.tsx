import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { ClientState } from "../client";
import type { TextKey } from "../text/en";
import type { Translate } from "../text/language";
import { usePage } from "./context";

/** The text of each state, and the one with a countdown. */
const WORDS: Record<ClientState["name"], [plain: TextKey, waiting?: TextKey]> = {
  connecting: ["stateConnecting"],
  connected: ["stateConnected"],
  catching_up: ["stateCatchingUp"],
  unavailable: ["stateUnavailable", "stateUnavailableIn"],
  reconnecting: ["stateReconnecting", "stateReconnectingIn"],
  restarting: ["stateRestarting", "stateRestartingIn"],
  offline: ["stateOffline"],
  unauthorized: ["stateUnauthorized"],
  closed: ["stateClosed"],
};

/** The status line of the connection. */
export function Connection(): JSX.Element {
  const { desk, inbox, t, overlay } = usePage();
  const unsent = desk.unsent.all.value.filter(({ refused }) => !refused).length;
  const state = inbox.connection.value;
  const retryAt = "retryAt" in state ? state.retryAt : null;
  const seconds = useSecondsUntil(retryAt);
  return (
    <footer class={`connection is-${state.name}`} data-testid="connection" data-state={state.name}>
      <span class="dot" aria-hidden="true" />
      {/* The seconds are for the eye: nobody wants to hear them counted. */}
      <span class="for-ears" role="status">
        {words(state, 0, t)}
      </span>
      <span aria-hidden="true">{words(state, seconds, t)}</span>
      {unsent > 0 && state.name !== "connected" && <span role="status">{t("unsentCount", { count: unsent })}</span>}
      {retryAt !== null && (
        <button type="button" class="plain link" onClick={() => inbox.retryNow()}>
          {t("tryNow")}
        </button>
      )}
      {(retryAt !== null || state.name === "unavailable") && (
        <button type="button" class="plain link wide-only" onClick={() => (overlay.value = { name: "check" })}>
          {t("check")}
        </button>
      )}
      {state.name === "unauthorized" && (
        <button type="button" class="plain link" onClick={() => (overlay.value = { name: "signIn" })}>
          {t("signInAgain")}
        </button>
      )}
    </footer>
  );
}

function words(state: ClientState, seconds: number, t: Translate): string {
  const [plain, waiting] = WORDS[state.name];
  // A wait that is too short to read needs no countdown.
  return waiting && seconds >= 2 ? t(waiting, { seconds }) : t(plain);
}

function useSecondsUntil(time: number | null): number {
  const [, draw] = useState(0);
  useEffect(() => {
    if (time === null) return;
    const timer = setInterval(() => draw((drawn) => drawn + 1), 250);
    return () => clearInterval(timer);
  }, [time]);
  return time === null ? 0 : Math.max(0, Math.ceil((time - Date.now()) / 1000));
}
