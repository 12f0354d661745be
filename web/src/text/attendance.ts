import type { SessionPayload } from "../client";
import type { There } from "../store/attendance";
import type { Formats } from "./formats";
import type { Translate } from "./language";
import { agentName, isGroup, personName, withoutBidiControls } from "./names";

/** "typing…", in a group with the names. */
export function writingLine(who: There["typing"], chatId: string, t: Translate): string {
  const [first] = who;
  if (!first) return "";
  const recording = who.every(({ action }) => action === "recording");
  if (!isGroup(chatId)) return t(recording ? "recording" : "typing");
  if (who.length > 1) return t("typingSeveral", { count: who.length });
  return t(recording ? "recordingBy" : "typingBy", { name: personName(false, first, t) });
}

/** "Ann is answering…" */
export function answeringLine(who: There["typing"], t: Translate): string {
  const [first] = who;
  if (!first) return "";
  return who.length > 1 ? t("answeringSeveral", { count: who.length }) : t("answering", { name: agentName(first) });
}

/** "online", or when the contact was last; in a group, how many are online. */
export function presenceLine({ contacts }: There, chatId: string, t: Translate, formats: Formats, now: number): string {
  const online = contacts.filter(({ state }) => state === "online").length;
  if (isGroup(chatId)) return online > 0 ? t("onlineCount", { count: online }) : "";
  if (online > 0) return t("online");
  const seen = contacts[0]?.lastSeen;
  return seen ? t("lastSeen", { time: formats.brief(seen, now) }) : "";
}

/** What is wrong with the account, since when, and what to do. */
export function accountLines(session: SessionPayload, t: Translate, formats: Formats, now: number): { what: string; todo: string } {
  const { connection, name, sessionId } = session;
  const out = connection?.state === "logged_out";
  const places = { name: withoutBidiControls(name ?? sessionId), time: connection ? formats.brief(connection.since, now) : "" };
  return { what: t(out ? "accountLoggedOut" : "accountDisconnected", places), todo: t(out ? "accountLoggedOutHint" : "accountDisconnectedHint") };
}
