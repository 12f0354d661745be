import type { JSX } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import type { Chat } from "../client";
import type { Address } from "../store/address";
import { MAX_TEXT } from "../store/desk";
import type { MessageLog } from "../store/messagelog";
import { filled, matching, slashBefore, type Slash } from "../store/quickreplies";
import { hueOf, isGroup } from "../text/names";
import { usePage } from "./context";
import { Icon } from "./icons";
import { Known, quotedOf } from "./known";
import { QuickList, quickId } from "./QuickReplies";
import { canReply } from "./replying";

interface Props {
  address: Address;
  chat: Chat | null;
  log: MessageLog | null;
}

/** The composer, or a line that says why there is none. */
export function Composer(props: Props): JSX.Element {
  const { rights, t } = usePage();
  return rights.value.send ? <Writer {...props} /> : <p class="cannot-send">{t("cannotSend")}</p>;
}

/** Each chat has a composer of its own, so that what is typed never reaches another chat. */
function Writer({ address, chat, log }: Props): JSX.Element {
  const { desk, drafts, quick, rights, t } = usePage();
  const box = useRef<HTMLTextAreaElement>(null);
  const { text, replyTo } = drafts.get(address);
  const [slash, setSlash] = useState<Slash | null>(null);
  const [active, setActive] = useState(0);
  const all = quick.all.value.get(address.sessionId);
  const found = slash && all ? matching(all, slash.word) : [];
  const choice = found[Math.min(active, found.length - 1)];
  const length = text.length > MAX_TEXT ? [...text].length : text.length;
  const good = text.trim() !== "" && length <= MAX_TEXT;

  useLayoutEffect(() => {
    // Grow with the text, in browsers without `field-sizing`.
    if (!box.current || CSS.supports("field-sizing", "content")) return;
    box.current.style.height = "0";
    box.current.style.height = `${box.current.scrollHeight}px`;
  }, [text]);

  const typed = (): void => {
    if (!box.current) return;
    const { value, selectionEnd } = box.current;
    drafts.set(address, { text: value });
    desk.typing(address, value.trim() !== "");
    look(value, selectionEnd);
  };

  const look = (value: string, caret: number): void => {
    const next = slashBefore(value, caret);
    if (next && !slash) void quick.load(address.sessionId).catch(() => undefined);
    setSlash(next);
    setActive(0);
  };

  const insert = (quickText: string): void => {
    if (!box.current || !slash) return;
    const quoted = isGroup(address.chatId) ? log?.messages.peek().find(({ messageId }) => messageId === replyTo) : null;
    const name = isGroup(address.chatId) ? (quoted?.sender.name ?? null) : (chat?.name ?? null);
    box.current.setRangeText(filled(quickText, name), slash.from, slash.to, "end");
    setSlash(null);
    box.current.focus();
    drafts.set(address, { text: box.current.value });
  };

  const send = (): void => {
    // The draft may be newer than what was rendered.
    const draft = drafts.get(address);
    if (draft.text.trim() === "" || [...draft.text].length > MAX_TEXT) return;
    setSlash(null);
    desk.send(address, draft);
  };

  /** Reply to an older (-1) or newer (1) message; after the newest one, to none. */
  const replyOther = (step: 1 | -1): void => {
    const messages = log?.shown.peek().filter(canReply) ?? [];
    const at = replyTo === null ? messages.length : messages.findIndex(({ messageId }) => messageId === replyTo);
    drafts.set(address, { replyTo: messages[Math.max(0, at + step)]?.messageId ?? null });
  };

  const pressed = (event: KeyboardEvent): void => {
    // The key belongs to the input method. Some browsers report only 229 for the Enter that ends a composition.
    if (event.isComposing || event.keyCode === 229) return;
    const { key } = event;
    const step = key === "ArrowDown" ? 1 : key === "ArrowUp" ? -1 : null;
    if ((event.ctrlKey || event.metaKey) && step) replyOther(step);
    else if (choice && step && !event.altKey) setActive((active + step + found.length) % found.length);
    else if (choice && (key === "Tab" || key === "Enter") && !event.shiftKey) insert(choice.text);
    else if (key === "Enter" && !event.shiftKey && !event.altKey) send();
    else if (key === "Escape" && slash) setSlash(null);
    else if (key === "Escape" && replyTo !== null) drafts.set(address, { replyTo: null });
    else return;
    event.preventDefault();
  };

  return (
    <div class="composer">
      {slash && all && (found.length > 0 || rights.value.write) && (
        <QuickList sessionId={address.sessionId} replies={found} active={choice ?? null} onChoose={(reply) => insert(reply.text)} />
      )}
      {replyTo !== null && <ReplyQuote address={address} log={log} replyTo={replyTo} />}
      {length > MAX_TEXT && (
        <p class="fault" role="status">
          {t("tooLong", { count: length, most: MAX_TEXT })}
        </p>
      )}
      <div class="composer-line">
        <textarea
          ref={box}
          id="composer"
          rows={1}
          dir="auto"
          value={text}
          placeholder={t("write")}
          aria-label={t("write")}
          aria-autocomplete="list"
          {...(choice && { "aria-controls": "quick-replies", "aria-activedescendant": quickId(choice) })}
          enterkeyhint="send"
          onInput={typed}
          onKeyDown={pressed}
          onBlur={() => setSlash(null)}
        />
        <button
          type="button"
          class="plain send"
          aria-label={t("send")}
          title={t("send")}
          disabled={!good}
          // A phone's keyboard stays open.
          onPointerDown={(event) => event.preventDefault()}
          onClick={send}
        >
          <Icon name="send" />
        </button>
      </div>
    </div>
  );
}

/** The message that the draft replies to. */
function ReplyQuote({ address, log, replyTo }: { address: Address; log: MessageLog | null; replyTo: string }): JSX.Element {
  const { drafts, t } = usePage();
  const messages = log?.messages.value;
  const known = useMemo(() => new Known(messages ?? []), [messages]);
  const quoted = quotedOf({ messageId: replyTo, senderId: null, text: null }, known, t);
  const { hue, name, text } = quoted ?? { hue: "", name: null, text: "" };
  return (
    <div class="reply-quote" data-testid="reply-quote">
      <div class="quote" style={{ "--hue": String(hueOf(hue)) }}>
        <span class="quote-name" dir="auto">
          {t("replyingTo", { name: name ?? "" })}
        </span>
        <span class="quote-text" dir="auto">
          {text}
        </span>
      </div>
      <button
        type="button"
        class="plain"
        aria-label={t("replyCancel")}
        title={t("replyCancel")}
        onClick={() => drafts.set(address, { replyTo: null })}
      >
        <Icon name="close" />
      </button>
    </div>
  );
}
