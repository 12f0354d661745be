import type { JSX } from "preact";
import { useState } from "preact/hooks";

import type { Media as MediaObject, Message, MessageType } from "../client";
import { safeUrl } from "../text/links";
import { kindOf } from "../text/summary";
import { usePage } from "./context";
import { Icon, type IconName } from "./icons";

const ICONS: Partial<Record<MessageType, IconName>> = {
  image: "image",
  sticker: "image",
  video: "video",
  audio: "audio",
  location: "pin",
  contact: "person",
};

/** The largest box that a picture gets, in CSS pixels; the narrow screen makes it smaller by itself. */
const MOST = { image: { width: 320, height: 320 }, sticker: { width: 140, height: 140 } };

export function Media({ message, media }: { message: Message; media: MediaObject }): JSX.Element {
  const [missing, setMissing] = useState(false);
  const url = safeUrl(media.url);
  const asPicture = (message.type === "image" || message.type === "sticker") && url !== null && !missing;
  return asPicture ? (
    <Picture message={message} media={media} url={url} onMissing={() => setMissing(true)} />
  ) : (
    <Card message={message} media={media} url={url} missing={missing} />
  );
}

interface PictureProps {
  message: Message;
  media: MediaObject;
  url: string;
  onMissing: () => void;
}

/** The box has its size before the picture is there, so that nothing moves when it comes. */
function Picture({ message, media, url, onMissing }: PictureProps): JSX.Element {
  const { t } = usePage();
  const most = message.type === "sticker" ? MOST.sticker : MOST.image;
  const [width, height] = media.width && media.height ? [media.width, media.height] : [4, 3];
  const scale = Math.min(most.width / width, most.height / height);
  const shown = Math.max(96, Math.round(width * scale));
  const name = media.fileName || kindOf(message.type, t);
  return (
    <a
      class={`picture is-${message.type}`}
      href={url}
      target="_blank"
      rel="noopener noreferrer"
      aria-label={t("openMedia", { name })}
      style={{ width: `${shown}px`, aspectRatio: `${width} / ${height}` }}
    >
      <img
        src={url}
        alt={message.text || name}
        loading="lazy"
        decoding="async"
        referrerpolicy="no-referrer"
        onError={onMissing}
      />
    </a>
  );
}

interface CardProps {
  message: Message;
  media: MediaObject;
  url: string | null;
  missing: boolean;
}

function Card({ message, media, url, missing }: CardProps): JSX.Element {
  const { t, formats } = usePage();
  const kind = kindOf(message.type, t);
  const facts = [
    missing ? t("imageMissing") : media.fileName && kind,
    media.mimeType,
    typeof media.durationSeconds === "number" && formats.duration(media.durationSeconds),
    typeof media.size === "number" && formats.size(media.size),
  ].filter(Boolean);
  const content = (
    <>
      <span class="card-icon">
        <Icon name={ICONS[message.type] ?? "file"} />
      </span>
      <span class="card-name" dir="auto">
        {media.fileName || kind}
      </span>
      <span class="card-facts">{facts.join(" · ")}</span>
    </>
  );
  return url ? (
    <a class="card" href={url} target="_blank" rel="noopener noreferrer">
      {content}
    </a>
  ) : (
    <span class="card">{content}</span>
  );
}
