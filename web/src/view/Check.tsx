import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { checkConnection, type Finding, type Verdict } from "../store/check";
import { usePage } from "./context";
import { Dialog } from "./Dialog";
import { Icon, type IconName } from "./icons";

const ICONS: Record<Verdict, IconName> = { ok: "check", warning: "warning", failure: "close" };

/** Shows the checks of the connection, and what to do. */
export function Check(): JSX.Element {
  const { t, checkOptions } = usePage();
  const [findings, setFindings] = useState<readonly Finding[]>([]);
  const [round, setRound] = useState(0);
  const [finished, setFinished] = useState(false);
  const [copied, setCopied] = useState(false);
  const list = useRef<HTMLUListElement>(null);

  useEffect(() => {
    let gone = false;
    setFindings([]);
    setFinished(false);
    setCopied(false);
    const found = (finding: Finding): void => {
      if (!gone) setFindings((before) => [...before, finding]);
    };
    void checkConnection(checkOptions(), found).finally(() => {
      if (!gone) setFinished(true);
    });
    return () => {
      gone = true;
    };
  }, [round]);

  const bad = findings.filter(({ verdict }) => verdict !== "ok").length;
  const words = ({ name, value, advice, places }: Finding): string =>
    [[t(name), value].filter(Boolean).join(": "), advice && t(advice, places)].filter(Boolean).join(". ");
  const copy = async (): Promise<void> => {
    const { url, version } = checkOptions();
    const head = `Roomcast ${version}, ${url}, ${new Date().toISOString()}, ${navigator.userAgent}`;
    const text = [head, ...findings.map((finding) => `${finding.verdict.toUpperCase()}  ${words(finding)}`)].join("\n");
    setCopied(await copyText(text, list.current));
  };

  return (
    <Dialog title={t("check")}>
      <ul class="check" ref={list} data-testid="check">
        {findings.map((finding) => (
          <li key={finding.name} class={`is-${finding.verdict}`} data-check={finding.name} data-verdict={finding.verdict}>
            <Icon name={ICONS[finding.verdict]} />
            <span>
              <span class="for-ears">{t(VERDICTS[finding.verdict])}: </span>
              {t(finding.name)}
              {finding.value && <span class="check-value"> {finding.value}</span>}
              {finding.advice && <span class="hint">{t(finding.advice, finding.places)}</span>}
            </span>
          </li>
        ))}
      </ul>
      <p class="check-result" role="status">
        {!finished ? t("checkRunning") : bad > 0 ? t("checkBad", { count: bad }) : t("checkGood")}
      </p>
      <p class="buttons">
        <button type="button" class="secondary" disabled={!finished} onClick={() => setRound(round + 1)}>
          {t("checkAgain")}
        </button>
        <button type="button" class="secondary" disabled={!finished} onClick={() => void copy()}>
          {t(copied ? "copied" : "checkCopy")}
        </button>
      </p>
    </Dialog>
  );
}

const VERDICTS = { ok: "checkOk", warning: "checkWarning", failure: "checkFailure" } as const;

/** A page without TLS has no clipboard API: select the list and copy it instead. */
async function copyText(text: string, shown: Element | null): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    if (shown) getSelection()?.selectAllChildren(shown);
    return document.execCommand("copy");
  }
}
