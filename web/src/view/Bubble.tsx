import type { JSX } from "preact";

import type { Message, MessageStatus } from "../client";
import type { TextKey } from "../text/en";
import { linked } from "../text/links";
import { hueOf, senderName } from "../text/names";
import { kindOf, summary } from "../text/summary";
import { usePage } from "./context";
import { Icon, type IconName } from "./icons";
import { Media } from "./Media";

const STATUS: Partial<Record<MessageStatus, [IconName, TextKey]>> = {
  pending: ["clock", "statusPending"],
  sent: ["check", "statusSent"],
  delivered: ["checks", "statusDelivered"],
  read: ["checks", "statusRead"],
  played: ["checks", "statusPlayed"],
  failed: ["warning", "statusFailed"],
};

interface Props {
  message: Message;
  /** Above the first of several by the same person, in a group. */
  named: boolean;
  /** Whether the one before is by somebody else, or from another day. */
  leads: boolean;
}

export function Bubble({ message, named, leads }: Props): JSX.Element {
  const { t, formats } = usePage();
  const { fromMe, media, replyTo, type } = message;
  const quiet = type === "system" || type === "reaction";
  const classes = ["bubble", fromMe ? "is-mine" : "is-theirs", leads && "leads", quiet && "is-quiet"].filter(Boolean);
  return (
    <article
      class={classes.join(" ")}
      data-testid="message"
      data-message-id={message.messageId}
      data-seq={message.seq}
      data-type={type}
      aria-label={`${senderName(message, t)}, ${formats.time(message.timestamp)}`}
    >
      {named && (
        <span class="sender" dir="auto" style={{ "--hue": String(hueOf(message.sender.id)) }}>
          {senderName(message, t)}
        </span>
      )}
      {replyTo && (
        <blockquote class="quote" dir="auto">
          <span class="for-ears">{t("quoted")}: </span>
          {replyTo.text || t("quotedUnknown")}
        </blockquote>
      )}
      {media && <Media message={message} media={media} />}
      <Body message={message} />
      <span class="meta">
        <time dateTime={message.timestamp} title={formats.moment(message.timestamp)}>
          {formats.time(message.timestamp)}
        </time>
        {fromMe && <Status status={message.status} />}
      </span>
    </article>
  );
}

function Body({ message }: { message: Message }): JSX.Element | null {
  const { t } = usePage();
  const { media, text, type } = message;
  if (type === "reaction") return <span class="aside">{summary(message, t)}</span>;
  // Media says by itself what it is; a text too. Of the rest, the kind has to be said.
  const says = media || type === "text" || type === "system";
  return (
    <>
      {!says && <span class="aside">{kindOf(type, t)}</span>}
      {text ? (
        <span class="text" dir="auto">
          {linked(text).map(({ text: words, href }) =>
            href ? (
              <a href={href} target="_blank" rel="noopener noreferrer">
                {words}
              </a>
            ) : (
              words
            ),
          )}
        </span>
      ) : (
        says && !media && <span class="aside">{kindOf(type, t)}</span>
      )}
    </>
  );
}

function Status({ status }: { status: MessageStatus }): JSX.Element | null {
  const { t } = usePage();
  const [icon, text] = STATUS[status] ?? [];
  if (!icon || !text) return null;
  return (
    <span class={`status is-${status}`} title={t(text)} data-testid="status" data-status={status}>
      <Icon name={icon} />
      <span class="for-ears">{t(text)}</span>
    </span>
  );
}
