import type { JSX } from "preact";

import { initials, withoutBidiControls } from "../text/names";
import { placeOf } from "../text/place";
import { usePage } from "./context";
import { Icon, type IconName } from "./icons";

interface Props {
  icon: IconName;
  name: string;
  facts: string;
  /** A safe link, if there is one. */
  url?: string | null;
  /** Whether it is media that would be shown here if its origin were allowed. */
  held?: boolean;
  /** A safe preview. */
  preview?: string | null;
}

/** Media or a file that is described instead of shown. */
export function Card({ icon, name, facts, url = null, held = false, preview = null }: Props): JSX.Element {
  const { t } = usePage();
  const content = (
    <>
      {preview && (
        <span class="card-preview">
          <img src={preview} alt="" />
        </span>
      )}
      <span class="card-icon">
        <Icon name={icon} />
      </span>
      <span class="card-name" dir="auto">
        {withoutBidiControls(name)}
      </span>
      <span class="card-facts" dir="auto">
        {withoutBidiControls(facts)}
      </span>
      {held && <Icon name="outside" />}
    </>
  );
  return url ? (
    <a
      class="card"
      href={url}
      target="_blank"
      rel="noopener noreferrer"
      title={t("openOutside")}
      {...(held && { "data-testid": "held-media" })}
    >
      {content}
    </a>
  ) : (
    <span class="card">{content}</span>
  );
}

export function Location({ text }: { text: string }): JSX.Element {
  const { t } = usePage();
  const { title, detail, map } = placeOf(text);
  return (
    <>
      <Card icon="pin" name={title ?? t("typeLocation")} facts={detail} url={map} />
      {map && (
        <a class="card-link" href={map} target="_blank" rel="noopener noreferrer">
          {t("openMap")}
        </a>
      )}
    </>
  );
}

export function Contact({ text }: { text: string }): JSX.Element {
  const { t } = usePage();
  const [name = "", ...numbers] = text.split("\n");
  const unnamed = initials(name) === "#";
  return (
    <Card
      icon="person"
      name={unnamed ? t("typeContact") : name}
      facts={(unnamed ? [name, ...numbers] : numbers).join("\n")}
    />
  );
}
