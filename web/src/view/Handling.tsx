import type { JSX } from "preact";

import type { Chat } from "../client";
import { goTo } from "../store/route";
import { nextWaiting } from "../store/waiting";
import { usePage } from "./context";

/** Buttons to assign the chat, and to close and reopen it. */
export function Handling({ chat }: { chat: Chat }): JSX.Element | null {
  const { desk, inbox, me, rights, search, t } = usePage();
  if (!rights.value.write) return null;
  const mine = chat.assignee?.id === me.id;

  const done = async (): Promise<void> => {
    const next = nextWaiting(search.found.peek(), chat, me.id);
    if (!(await desk.setState(chat, "closed"))) return;
    const opened = inbox.opened.peek();
    // The agent may have opened another chat by now.
    if (opened?.chatId === chat.chatId && opened.sessionId === chat.sessionId) goTo(next);
  };

  return (
    <span class="handling">
      <button type="button" class="chip" onClick={() => void desk.assign(chat, mine ? null : me)}>
        {t(mine ? "release" : chat.assignee ? "takeOver" : "take")}
      </button>
      {chat.state === "open" ? (
        <button type="button" class="chip" title={t("doneHint")} onClick={() => void done()}>
          {t("done")}
        </button>
      ) : (
        <button type="button" class="chip" onClick={() => void desk.setState(chat, "open")}>
          {t("reopen")}
        </button>
      )}
    </span>
  );
}
