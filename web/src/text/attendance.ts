import type { SessionPayload } from "../client";
import type { There } from "../store/attendance";
import type { Formats } from "./formats";
import type { Translate } from "./language";
import { agentName, isGroup, personName, withoutBidiControls } from "./names";

/** "typing…", in a group with the name of the only one. */
export function writingLine(who: There["typing"], chatId: string, t: Translate): string {
  const [first] = who;
  if (!first) return "";
  const recording = who.every(({ action }) => action === "recording");
  if (!isGroup(chatId) || who.length > 1) return t(recording ? "recording" : "typing");
  return t(recording ? "recordingBy" : "typingBy", { name: personName(false, first, t) });
}

/** "Ann is answering…" */
export function answeringLine(who: There["typing"], t: Translate): string {
  const [first] = who;
  if (!first) return "";
  return who.length > 1 ? t("answeringSeveral", { count: who.length }) : t("answering", { name: agentName(first) });
}

/** "online", or when the contact was last. */
export function presenceLine({ contacts }: There, chatId: string, t: Translate, formats: Formats, now: number): string {
  const [contact] = contacts;
  if (!contact || isGroup(chatId)) return "";
  if (contact.state === "online") return t("online");
  return contact.lastSeen ? t("lastSeen", { time: formats.brief(contact.lastSeen, now) }) : "";
}

/** What is wrong with the account, since when, and what to do. */
export function accountLines(session: SessionPayload, t: Translate, formats: Formats, now: number): { what: string; todo: string } {
  const { connection, name, sessionId } = session;
  const out = connection?.state === "logged_out";
  const places = { name: withoutBidiControls(name ?? sessionId), time: connection ? formats.brief(connection.since, now) : "" };
  return { what: t(out ? "accountLoggedOut" : "accountDisconnected", places), todo: t(out ? "accountLoggedOutHint" : "accountDisconnectedHint") };
}
