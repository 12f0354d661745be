import type { JSX } from "preact";

import type { TextKey } from "../text/en";
import { usePage } from "./context";
import { Dialog } from "./Dialog";

const KEYS: readonly [keys: readonly string[], text: TextKey][] = [
  [["↑", "↓"], "helpMove"],
  [["Home", "End", "PgUp", "PgDn"], "helpPages"],
  [["Enter"], "helpOpen"],
  [["Esc"], "helpLeave"],
  [["/"], "helpSearch"],
  [["End"], "helpNewest"],
  [["Alt ↓", "Alt ↑"], "helpUnread"],
  [["Alt Shift ↓"], "helpOldest"],
  [["Alt Home"], "helpFirstUnread"],
  [["Enter"], "helpWrite"],
  [["r"], "helpReply"],
  [["Enter"], "send"],
  [["Shift Enter"], "helpBreak"],
  [["Ctrl ↑", "Ctrl ↓"], "helpReplyOther"],
  [["/"], "helpQuick"],
  [["?"], "helpHelp"],
];

/** The list of keys. */
export function Help(): JSX.Element {
  const { t } = usePage();
  return (
    <Dialog title={t("help")}>
      <dl class="keys">
        {KEYS.map(([keys, text]) => (
          <div>
            <dt>
              {keys.map((key) => (
                <kbd>{key}</kbd>
              ))}
            </dt>
            <dd>{t(text)}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
