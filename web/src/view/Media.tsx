import type { JSX } from "preact";
import { useState } from "preact/hooks";

import type { Media as MediaObject, Message, MessageType } from "../client";
import { safePreview, safeUrl } from "../text/links";
import { withoutBidiControls } from "../text/names";
import { kindOf } from "../text/summary";
import { Card } from "./Card";
import { usePage } from "./context";
import type { IconName } from "./icons";

const ICONS: Partial<Record<MessageType, IconName>> = {
  image: "image",
  sticker: "image",
  video: "video",
  audio: "audio",
  location: "pin",
  contact: "person",
};

/** Maximum size of a picture, in CSS pixels. It shrinks on narrow screens. */
const MOST = { image: 320, video: 320, sticker: 140 };

/**
 * Media from other origins than MEDIA_ORIGINS is shown as a card, and opens in a new tab after a click: its address was
 * chosen by the message's sender, who would otherwise learn when it was read, and from where.
 */
interface Props {
  message: Message;
  media: MediaObject;
}

export function Media({ message, media }: Props): JSX.Element {
  const { loadsByItself } = usePage();
  const [missing, setMissing] = useState(false);
  const url = safeUrl(media.url);
  const props = { message, media, onMissing: () => setMissing(true) };
  if (url !== null && !missing && loadsByItself(url)) {
    if (message.type === "image" || message.type === "sticker") return <Picture {...props} url={url} />;
    if (message.type === "video") return <Video {...props} url={url} />;
    if (message.type === "audio") return <Audio {...props} url={url} />;
  }
  return <File message={message} media={media} url={url} missing={missing} />;
}

interface ShownProps extends Props {
  url: string;
  onMissing: () => void;
}

/** The box has its final size before the media is loaded, so that nothing moves. */
function boxOf({ width, height }: MediaObject, most: number): { width: string; aspectRatio: string } {
  const [wide, high] = width && height ? [width, height] : [4, 3];
  const scale = Math.min(most / wide, most / high);
  return { width: `${Math.max(96, Math.round(wide * scale))}px`, aspectRatio: `${wide} / ${high}` };
}

/** Shown until the picture is loaded. */
function behind({ preview }: MediaObject): { backgroundImage?: string } {
  const url = safePreview(preview);
  return url ? { backgroundImage: `url(${url})` } : {};
}

function Picture({ message, media, url, onMissing }: ShownProps): JSX.Element {
  const { overlay, t } = usePage();
  const alt = withoutBidiControls(message.text ?? "") || useName(message, media);
  return (
    <a
      class={`picture is-${message.type}`}
      href={url}
      target="_blank"
      rel="noopener noreferrer"
      aria-label={t("openMedia", { name: alt })}
      style={{ ...boxOf(media, message.type === "sticker" ? MOST.sticker : MOST.image), ...behind(media) }}
      onClick={(event) => {
        // With a modifier key it behaves like a normal link.
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        overlay.value = { name: "picture", picture: { url, alt } };
      }}
    >
      <img src={url} alt={alt} loading="lazy" decoding="async" referrerpolicy="no-referrer" onError={onMissing} />
    </a>
  );
}

function Video({ message, media, url, onMissing }: ShownProps): JSX.Element {
  return (
    <span class="player">
      {/* Nothing is fetched before somebody wants to see it. */}
      <video
        controls
        playsInline
        preload="none"
        src={url}
        style={boxOf(media, MOST.video)}
        aria-label={useName(message, media)}
        onError={onMissing}
      />
      <Facts media={media} />
    </span>
  );
}

function Audio({ message, media, url, onMissing }: ShownProps): JSX.Element {
  return (
    <span class="player is-audio">
      <audio controls preload="none" src={url} aria-label={useName(message, media)} onError={onMissing} />
      <Facts media={media} />
    </span>
  );
}

function useName(message: Message, media: MediaObject): string {
  const { t } = usePage();
  return withoutBidiControls(media.fileName ?? "") || kindOf(message.type, t);
}

function Facts({ media }: { media: MediaObject }): JSX.Element | null {
  const facts = [withoutBidiControls(media.fileName ?? ""), ...useFacts(media)].filter(Boolean);
  return facts.length > 0 ? <span class="card-facts">{facts.join(" · ")}</span> : null;
}

function useFacts({ durationSeconds, size }: MediaObject): (string | false)[] {
  const { formats } = usePage();
  return [
    typeof durationSeconds === "number" && formats.duration(durationSeconds),
    typeof size === "number" && formats.size(size),
  ];
}

function File({ message, media, url, missing }: Props & { url: string | null; missing: boolean }): JSX.Element {
  const { t, loadsByItself } = usePage();
  const kind = kindOf(message.type, t);
  const held = url !== null && !loadsByItself(url);
  const playable = message.type === "audio" || message.type === "video";
  const facts = [
    missing ? t(playable ? "playerMissing" : "imageMissing") : media.fileName && kind,
    media.mimeType,
    ...useFacts(media),
  ].filter(Boolean);
  const lines = [facts.join(" · "), held && new URL(url).host].filter(Boolean);
  return (
    <Card
      icon={ICONS[message.type] ?? "file"}
      name={useName(message, media)}
      facts={lines.join("\n")}
      url={url}
      held={held}
      preview={safePreview(media.preview)}
    />
  );
}
