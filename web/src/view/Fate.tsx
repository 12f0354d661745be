import type { ComponentChildren, JSX } from "preact";

import type { Message } from "../client";
import type { UnsentMessage } from "../store/unsent";
import type { Translate } from "../text/language";
import { withoutBidiControls } from "../text/names";
import { summary } from "../text/summary";
import { usePage } from "./context";

/** Why a message is not sent yet, and what the agent can do. */
export function UnsentFate({ unsent }: { unsent: UnsentMessage }): JSX.Element | null {
  const { desk, inbox, t } = usePage();
  const { refused } = unsent;
  const connected = inbox.connection.value.name === "connected";
  if (!refused) {
    const held = desk.unsent.all.value.some((one) => holds(one, unsent));
    if (connected && !held) return null;
    return (
      <Fate words={t(held ? "waitsForOther" : "waitsForConnection")} waiting>
        <Button name={t("discard")} onClick={() => desk.discard(unsent)} />
      </Fate>
    );
  }
  const { code, other } = refused;
  return (
    <Fate words={refusal(code, other, t)}>
      {other && (
        <span class="fate-other" dir="auto">
          {summary(other, t)}
        </span>
      )}
      <Button name={t(code === "conflict" ? "sendAnyway" : "again")} onClick={() => desk.again(unsent)} />
      <Button name={t("edit")} onClick={() => desk.edit(unsent)} />
      <Button name={t("discard")} onClick={() => desk.discard(unsent)} />
    </Fate>
  );
}

/** Whether `other` waits until the agent has decided about `one`. */
function holds(one: UnsentMessage, other: UnsentMessage): boolean {
  const before = one.order < other.order && one.chatId === other.chatId && one.sessionId === other.sessionId;
  return before && one.refused?.code === "conflict";
}

/** Why a message could not be delivered, and what the agent can do. */
export function FailedFate({ message }: { message: Message }): JSX.Element {
  const { desk, rights, t } = usePage();
  // Only messages that were sent from Roomcast can be sent again.
  const may = rights.value.send && message.clientId !== null;
  return (
    <Fate words={failure(message, t)}>
      {may && <Button name={t("again")} onClick={() => desk.again(message)} />}
      {may && <Button name={t("discard")} onClick={() => desk.discard(message)} />}
    </Fate>
  );
}

export function failure({ error }: Message, t: Translate): string {
  return error ? t("failedBecause", { title: error.title || error.code }) : t("statusFailed");
}

export function refusal(code: string, other: Message | null, t: Translate): string {
  if (code === "conflict") {
    const name = withoutBidiControls(other?.author?.name ?? other?.author?.id ?? "") || t("somebody");
    return t("answeredMeanwhile", { name });
  }
  return code === "forbidden" ? t("notAllowed") : t("refusedOther", { code });
}

function Fate({ words, waiting = false, children }: { words: string; waiting?: boolean; children: ComponentChildren }): JSX.Element {
  return (
    <span class={`fate ${waiting ? "is-waiting" : ""}`} data-testid={waiting ? "waits" : "error"}>
      <span class="fate-words">{words}</span>
      {children}
    </span>
  );
}

function Button({ name, onClick }: { name: string; onClick: () => void }): JSX.Element {
  return (
    <button type="button" class="plain link" onClick={onClick}>
      {name}
    </button>
  );
}
