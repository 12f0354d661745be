import { computed, useComputed, type ReadonlySignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";

import type { Agent } from "../client";
import type { Address } from "../store/address";
import { spoken } from "../store/attendance";
import { now } from "../store/surroundings";
import { accountLines, answeringLine, presenceLine, writingLine } from "../text/attendance";
import { agentName } from "../text/names";
import { Avatar } from "./Avatar";
import { usePage } from "./context";
import { Icon } from "./icons";

const FACES = 3;

/** Small faces of colleagues, with their names for those who ask, and for ears. */
export function Faces({ agents, label, id }: { agents: readonly Agent[]; label: string; id: string }): JSX.Element | null {
  if (agents.length === 0) return null;
  const names = agents.map(agentName).join(", ");
  return (
    <span class="faces" title={`${label}: ${names}`} data-testid={id}>
      {agents.slice(0, FACES).map((agent) => (
        <Avatar key={agent.id} id={agent.id} name={agentName(agent)} />
      ))}
      {agents.length > FACES && <span aria-hidden="true">+{agents.length - FACES}</span>}
      <span class="for-ears">{`${label}: ${names}`}</span>
    </span>
  );
}

/** Colleagues who have this chat open. */
export function Viewers({ address }: { address: Address }): JSX.Element | null {
  const { attendance, t } = usePage();
  return <Faces agents={attendance.in(address).value.agents} label={t("viewers")} id="viewers" />;
}

/** Colleagues who are here. */
export function Team(): JSX.Element | null {
  const { attendance, t } = usePage();
  return <Faces agents={attendance.team.value} label={t("team")} id="team" />;
}

/** Whether the contact is typing or online. Typing is announced elsewhere (`Spoken`). */
export function useHeadLine(address: Address): string {
  const { attendance, t, formats } = usePage();
  const there = attendance.in(address).value;
  return writingLine(attendance.writing(address), address.chatId, t) || presenceLine(there, address.chatId, t, formats, now.value);
}

/** What is going on in a chat of the list: the contact is typing, or a colleague is answering. */
export function useRowLine(address: Address): ReadonlySignal<string> {
  const { attendance, t } = usePage();
  return useComputed(() => writingLine(attendance.writing(address), address.chatId, t) || answeringLine(attendance.answering(address), t));
}

/** A colleague is answering, which one should know before one begins. */
export function Answering({ address }: { address: Address }): JSX.Element | null {
  const { attendance, t } = usePage();
  const words = answeringLine(attendance.answering(address), t);
  return words ? (
    <p class="answering" data-testid="answering" dir="auto" aria-hidden="true">
      {words}
    </p>
  ) : null;
}

/** Says who begins to type in the open chat, now and then. */
export function Spoken({ address }: { address: Address }): JSX.Element {
  const { attendance, t } = usePage();
  const words = useMemo(
    () =>
      spoken(
        computed(() => answeringLine(attendance.answering(address), t) || writingLine(attendance.writing(address), address.chatId, t)),
      ),
    [attendance, address.sessionId, address.chatId, t],
  );
  useEffect(() => words.stop, [words]);
  return (
    <p class="for-ears" role="status" data-testid="spoken">
      {words.text}
    </p>
  );
}

/** After this time, an account that is not connected is worth a banner: providers reconnect by themselves. */
const PATIENCE_MS = 10_000;

/** The accounts that need attention, with what to do. */
export function Accounts(): JSX.Element | null {
  const { attendance, t, formats } = usePage();
  const shown = attendance.broken.value.filter(
    ({ connection }) => connection && (connection.state === "logged_out" || now.value - Date.parse(connection.since) >= PATIENCE_MS),
  );
  return (
    <div class="accounts" role="status" data-testid="accounts">
      {shown.map((session) => {
        const { what, todo } = accountLines(session, t, formats, now.value);
        return (
          <p key={session.sessionId} data-session-id={session.sessionId} title={session.connection?.detail ?? ""}>
            <Icon name="warning" />
            <span>
              <strong dir="auto">{what}</strong> {todo}
            </span>
          </p>
        );
      })}
    </div>
  );
}
