import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import type { Message, MessageStatus } from "../client";
import type { TextKey } from "../text/en";
import type { Translate } from "../text/language";
import type { UnsentMessage } from "../store/unsent";
import { colleague, hueOf, senderName } from "../text/names";
import { isBlank, kindOf } from "../text/summary";
import { Contact, Location } from "./Card";
import { usePage } from "./context";
import { FailedFate, UnsentFate } from "./Fate";
import { Icon, type IconName } from "./icons";
import { Media } from "./Media";
import { Quote, type Quoted } from "./Quote";
import { Reactions } from "./Reactions";
import { canReply, onLongPress } from "./replying";
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
  /** The sender's name, above the first of several messages by the same person in a group. */
  named: boolean;
  /** Whether the message before is by somebody else, or from another day. */
  leads: boolean;
  quoted: Quoted | null;
  /** Whether a quote led here. */
  found: boolean;
  onQuote: (messageId: string) => void;
  /** `focus`: also focus the composer. */
  onReply: ((messageId: string, focus: boolean) => void) | null;
  /** If the message is not sent yet. */
  unsent: UnsentMessage | null;
}

export function Bubble({ message, named, leads, quoted, found, onQuote, onReply, unsent }: Props): JSX.Element {
  const { t, formats, me } = usePage();
  const { deletedAt, editedAt, fromMe, media, reactions, status, type } = message;
  const reacted = reactions?.length > 0;
  const by = colleague(message, me.id);
  const reply = onReply && canReply(message) ? (focus: boolean) => onReply(message.messageId, focus) : null;
  const classes = [
    "bubble",
    fromMe ? "is-mine" : "is-theirs",
    leads && "leads",
    type === "system" && "is-quiet",
    deletedAt && "is-deleted",
    found && "is-found",
    reacted && "has-reactions",
  ];
  const self = useRef<HTMLElement>(null);
  // Keyboard users continue from here.
  useLayoutEffect(() => {
    if (found) self.current?.focus({ preventScroll: true });
  }, [found]);
  return (
    <article
      {...(reply && onLongPress(() => reply(false)))}
      ref={self}
      class={classes.filter(Boolean).join(" ")}
      data-testid="message"
      data-message-id={message.messageId}
      data-seq={message.seq}
      data-type={type}
      tabIndex={-1}
      aria-label={`${by ?? senderName(message, t)}, ${formats.time(message.timestamp)}`}
    >
      {named && (
        <span class="sender" dir="auto" style={{ "--hue": String(hueOf(message.sender.id)) }}>
          {senderName(message, t)}
        </span>
      )}
      {by && leads && (
        <span class="sender" dir="auto" data-testid="author" style={{ "--hue": String(hueOf(message.author?.id ?? "")) }}>
          {by}
        </span>
      )}
      {quoted && <Quote quoted={quoted} onQuote={onQuote} />}
      {deletedAt && (
        <span class="aside" data-testid="deleted">
          {t("deleted")}
        </span>
      )}
      {media && <Media message={message} media={media} />}
      <Body message={message} />
      {unsent ? <UnsentFate unsent={unsent} /> : status === "failed" && !deletedAt && <FailedFate message={message} />}
      <span class="meta">
        {editedAt && !deletedAt && (
          <span data-testid="edited" title={t("editedAt", { time: formats.moment(editedAt) })}>
            {t("edited")}
          </span>
        )}
        <time dateTime={message.timestamp} title={formats.moment(message.timestamp)}>
          {formats.time(message.timestamp)}
        </time>
        {fromMe && !deletedAt && <Status message={message} />}
      </span>
      {reacted && <Reactions reactions={reactions} />}
      {reply && (
        <button type="button" class="plain reply" tabIndex={-1} aria-label={t("reply")} title={t("reply")} onClick={() => reply(true)}>
          <Icon name="reply" />
        </button>
      )}
    </article>
  );
}

function Body({ message }: { message: Message }): JSX.Element | null {
  const { t } = usePage();
  const { deletedAt, media, text, type } = message;
  if (deletedAt && !text) return null;
  if (type === "location" && text) return <Location text={text} />;
  if (type === "contact" && text) return <Contact text={text} />;
  // Media and text describe themselves. For other messages, the kind has to be shown.
  const says = media || type === "text" || type === "system";
  return (
    <>
      {!says && <span class="aside">{kindOf(type, t)}</span>}
      {text && isBlank(text) && !media && <span class="aside">{t("blank")}</span>}
      {text && !isBlank(text) && <Words text={text} />}
      {!text && says && !media && <span class="aside">{kindOf(type, t)}</span>}
    </>
  );
}

function Status({ message: { receipts, status } }: { message: Message }): JSX.Element | null {
  const { t } = usePage();
  const [icon, text] = STATUS[status] ?? [];
  if (!icon || !text) return null;
  const people = receipts ? receiptsOf(receipts, t) : [];
  const words = people.length > 0 ? people.join(", ") : t(text);
  return (
    <span class={`status is-${status}`} title={words} data-testid="status" data-status={status}>
      {receipts && receipts.read > 0 && <span aria-hidden="true">{t("receiptsRead", { count: receipts.read })}</span>}
      <Icon name={icon} />
      <span class="for-ears">{words}</span>
    </span>
  );
}

/** In a group: how many people have received, read and played it. */
function receiptsOf({ delivered, read, played }: NonNullable<Message["receipts"]>, t: Translate): string[] {
  const counts: [number, TextKey][] = [
    [delivered, "receiptsDelivered"],
    [read, "receiptsRead"],
    [played, "receiptsPlayed"],
  ];
  return counts.filter(([count]) => count > 0).map(([count, text]) => t(text, { count }));
}
