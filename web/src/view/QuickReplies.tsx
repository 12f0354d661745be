import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { QuickReply } from "../client";
import { usePage } from "./context";
import { Dialog } from "./Dialog";
import { Icon } from "./icons";

export function quickId({ shortcut }: QuickReply): string {
  return `quick-${shortcut}`;
}

interface Props {
  sessionId: string;
  replies: readonly QuickReply[];
  /** The reply that Enter inserts. */
  active: QuickReply | null;
  onChoose: (reply: QuickReply) => void;
}

/** The list above the composer. The focus stays in the composer. */
export function QuickList({ sessionId, replies, active, onChoose }: Props): JSX.Element {
  const { overlay, rights, t } = usePage();
  const stay = (event: Event): void => event.preventDefault();
  useEffect(() => {
    if (active) document.getElementById(quickId(active))?.scrollIntoView({ block: "nearest" });
  }, [active]);
  return (
    <div class="quick" onPointerDown={stay} onMouseDown={stay}>
      <p class="for-ears" role="status">
        {t("quickReplies")}: {replies.length}
      </p>
      {replies.length > 0 && (
        <ul id="quick-replies" role="listbox" aria-label={t("quickReplies")}>
          {replies.map((reply) => (
            <li
              key={reply.shortcut}
              id={quickId(reply)}
              role="option"
              aria-selected={reply === active}
              onClick={() => onChoose(reply)}
            >
              <span class="quick-name" dir="auto">
                {reply.shortcut}
              </span>
              <span class="quick-text" dir="auto">
                {reply.text}
              </span>
            </li>
          ))}
        </ul>
      )}
      <p class="quick-foot">
        {rights.value.write && (
          <button type="button" class="plain link" onClick={() => (overlay.value = { name: "quickReplies", sessionId })}>
            {t("quickEdit")}
          </button>
        )}
      </p>
    </div>
  );
}

/** The dialog for editing the quick replies of a session. */
export function QuickReplyEditor({ sessionId }: { sessionId: string }): JSX.Element {
  const { overlay, quick, t } = usePage();
  const [rows, setRows] = useState<readonly QuickReply[] | null>(null);
  const [fault, setFault] = useState("");

  useEffect(() => {
    quick.load(sessionId).then(
      (replies) => setRows(replies.length > 0 ? replies : [{ shortcut: "", text: "" }]),
      () => setFault(t("notDone")),
    );
  }, [quick, sessionId, t]);

  const change = (index: number, change: Partial<QuickReply>): void =>
    setRows((all) => all && all.map((row, at) => (at === index ? { ...row, ...change } : row)));
  const save = async (event: Event): Promise<void> => {
    event.preventDefault();
    try {
      await quick.save(sessionId, (rows ?? []).filter(({ shortcut, text }) => shortcut.trim() || text.trim()));
      overlay.value = null;
    } catch (error) {
      setFault(error instanceof Error ? error.message : t("notDone"));
    }
  };

  return (
    <Dialog title={t("quickReplies")} class="is-wide">
      <p class="hint">{t("quickHint", { variable: "{name}" })}</p>
      <form class="quick-form" onSubmit={(event) => void save(event)}>
        {rows?.map(({ shortcut, text }, index) => (
          <div class="quick-row" key={index}>
            <input
              aria-label={t("quickName")}
              placeholder={t("quickName")}
              maxLength={32}
              pattern="[^\s\/]+"
              title={t("quickNameHint")}
              required={text.trim() !== ""}
              value={shortcut}
              onInput={(event) => change(index, { shortcut: event.currentTarget.value })}
            />
            <button
              type="button"
              class="plain"
              aria-label={t("quickRemove", { name: shortcut })}
              title={t("quickRemove", { name: shortcut })}
              onClick={() => setRows(rows.filter((_, at) => at !== index))}
            >
              <Icon name="close" />
            </button>
            <textarea
              aria-label={t("quickText")}
              placeholder={t("quickText")}
              dir="auto"
              rows={2}
              maxLength={4096}
              required={shortcut !== ""}
              value={text}
              onInput={(event) => change(index, { text: event.currentTarget.value })}
            />
          </div>
        ))}
        <p class="fault" role="alert">
          {fault}
        </p>
        <p class="buttons">
          <button type="button" class="secondary" disabled={!rows} onClick={() => setRows([...(rows ?? []), { shortcut: "", text: "" }])}>
            {t("quickAdd")}
          </button>
          <button type="submit" class="primary" disabled={!rows}>
            {t("save")}
          </button>
        </p>
      </form>
    </Dialog>
  );
}
