import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import type { Message, MessageStatus } from "../client";
import type { Reaction } from "../store/reactions";
import type { TextKey } from "../text/en";
import { hueOf, senderName } from "../text/names";
import { kindOf, summary } from "../text/summary";
import { Contact, Location } from "./Card";
import { usePage } from "./context";
import { Icon, type IconName } from "./icons";
import { Media } from "./Media";
import { Quote, type Quoted } from "./Quote";
import { Reactions } from "./Reactions";
import { Words } from "./Words";

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
  quoted: Quoted | null;
  reactions: readonly Reaction[] | null;
  /** Somebody has come here by a quote. */
  found: boolean;
  onQuote: (messageId: string) => void;
}

export function Bubble({ message, named, leads, quoted, reactions, found, onQuote }: Props): JSX.Element {
  const { t, formats } = usePage();
  const { fromMe, media, type } = message;
  const quiet = type === "system" || type === "reaction";
  const classes = [
    "bubble",
    fromMe ? "is-mine" : "is-theirs",
    leads && "leads",
    quiet && "is-quiet",
    found && "is-found",
    reactions && reactions.length > 0 && "has-reactions",
  ];
  const self = useRef<HTMLElement>(null);
  // Who came by the keyboard goes on from here.
  useLayoutEffect(() => {
    if (found) self.current?.focus({ preventScroll: true });
  }, [found]);
  return (
    <article
      ref={self}
      class={classes.filter(Boolean).join(" ")}
      data-testid="message"
      data-message-id={message.messageId}
      data-seq={message.seq}
      data-type={type}
      tabIndex={-1}
      aria-label={`${senderName(message, t)}, ${formats.time(message.timestamp)}`}
    >
      {named && (
        <span class="sender" dir="auto" style={{ "--hue": String(hueOf(message.sender.id)) }}>
          {senderName(message, t)}
        </span>
      )}
      {quoted && <Quote quoted={quoted} onQuote={onQuote} />}
      {media && <Media message={message} media={media} />}
      <Body message={message} />
      <span class="meta">
        <time dateTime={message.timestamp} title={formats.moment(message.timestamp)}>
          {formats.time(message.timestamp)}
        </time>
        {fromMe && <Status status={message.status} />}
      </span>
      {reactions && <Reactions reactions={reactions} />}
    </article>
  );
}

function Body({ message }: { message: Message }): JSX.Element | null {
  const { t } = usePage();
  const { media, text, type } = message;
  if (type === "reaction") return <span class="aside">{summary(message, t)}</span>;
  if (type === "location" && text) return <Location text={text} />;
  if (type === "contact" && text) return <Contact text={text} />;
  // Media says by itself what it is; a text too. Of the rest, the kind has to be said.
  const says = media || type === "text" || type === "system";
  return (
    <>
      {!says && <span class="aside">{kindOf(type, t)}</span>}
      {text ? <Words text={text} /> : says && !media && <span class="aside">{kindOf(type, t)}</span>}
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
