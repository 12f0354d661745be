"""Payloads of Meta's Cloud API: entries with changes, each with messages, statuses and echoes of one number.

- Bodies are signed: `X-Hub-Signature-256: sha256=…`, the HMAC of the raw body with the app's secret.
- A body may be about several numbers. Each change goes to the session that names its `phone_number_id`, or, without
  such settings, to the session in the path. Others are skipped and counted.
- People may hide their number; then `user_id` is their address. If a body has both, they are one person.
- Media has an id but no address.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from app.domain.incoming import Contact, ReactionChange
from app.domain.models import MAX_NAME, MAX_TEXT, IncomingMessage, MessageError, MessageStatus, ReplyTo, Sender
from app.providers.addresses import PERSON, as_phone, is_person
from app.providers.cloud_api.content import read_content
from app.providers.collector import Collector
from app.providers.parsed import Parsed
from app.providers.provider import Numbers, SourceSettings
from app.providers.signatures import header, hexadecimal, matches
from app.providers.values import as_dict, as_id, as_known_time, as_list, as_name, as_number, as_text, as_time
from app.providers.words import Node, lines

SIGNATURE: Final = "X-Hub-Signature-256"
MAX_CHALLENGE: Final = 1_024

_STATUSES: Final[dict[str, MessageStatus]] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "played": "played",
    "failed": "failed",
}


def verify(raw: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> bool:
    kind, _, signature = header(headers, SIGNATURE).partition("=")
    return kind.strip().lower() == "sha256" and matches(raw, signature, secrets, "sha256")


def sign(secret: str, raw: bytes) -> dict[str, str]:
    return {SIGNATURE: f"sha256={hexadecimal(raw, secret, 'sha256')}"}


def challenge(query: Mapping[str, str], settings: SourceSettings) -> str | None:
    token = settings.verify_token
    if not token or query.get("hub.mode") != "subscribe":
        return None
    if not hmac.compare_digest(query.get("hub.verify_token", "").encode(), token.encode()):
        return None
    return query.get("hub.challenge", "")[:MAX_CHALLENGE]


def parse(payload: object, session_id: str, now: datetime, numbers: Numbers | None = None) -> Parsed:
    """The reasons in `skipped` are explained in `app.providers.reasons`."""
    out = {session_id: Collector(session_id, now)}
    own = out[session_id]
    numbers = numbers or {}
    for body in map(as_dict, payload if isinstance(payload, list) else [payload]):
        if not isinstance(body.get("entry"), list):
            own.skip("no_event")
        for entry in map(as_dict, as_list(body.get("entry"))):
            for change in map(as_dict, as_list(entry.get("changes"))):
                value = as_dict(change.get("value"))
                target = _session(as_dict(value.get("metadata")), session_id, numbers)
                if target is None:
                    own.skip("other_number", max(1, _count(value)))
                    continue
                _change(out.setdefault(target, Collector(target, now)), change.get("field"), value)
    elsewhere = {target: collector.parsed() for target, collector in out.items() if target != session_id}
    parsed = own.parsed()
    return Parsed(
        parsed.messages,
        parsed.aliases,
        parsed.skipped,
        parsed.updates,
        parsed.contacts,
        parsed.reads,
        parsed.signals,
        elsewhere,
    )


def _session(metadata: Node, session_id: str, numbers: Numbers) -> str | None:
    value = metadata.get("phone_number_id")
    number = str(value) if isinstance(value, str | int) else ""
    if number in numbers:
        return numbers[number]
    # A session without a number takes those that no other session names.
    return None if session_id in numbers.values() else session_id


def _count(value: Node) -> int:
    return sum(len(as_list(value.get(name))) for name in ("messages", "statuses", "message_echoes"))


def _change(out: Collector, field: object, value: Node) -> None:
    if field not in ("messages", "smb_message_echoes", "message_echoes", None):
        out.skip("event")
        return
    for contact in map(as_dict, as_list(value.get("contacts"))):
        _contact(out, contact)
    for message in map(as_dict, as_list(value.get("messages"))):
        _message(out, message, from_me=False)
    for message in map(as_dict, as_list(value.get("message_echoes"))):
        _message(out, message, from_me=True)
    for status in map(as_dict, as_list(value.get("statuses"))):
        _status(out, status)
    out.skip("errors", len(as_list(value.get("errors"))))


def _person(phone: object, user: object) -> str | None:
    """The person's address, from the number, or from the id if the number is hidden."""
    address = as_phone(phone)
    if address is not None and address.endswith(PERSON) and is_person(address):
        return address
    return as_id(user) or as_id(phone)


def _contact(out: Collector, node: Node) -> None:
    address = _person(node.get("wa_id"), node.get("user_id"))
    if address is None:
        return
    name = as_name(as_dict(node.get("profile")).get("name"))
    if name:
        out.names[address] = name
    user = as_id(node.get("user_id"))
    if user and user != address:
        out.contacts.append(Contact(address, None, (user,)))


def _message(out: Collector, node: Node, *, from_me: bool) -> None:
    message_id = as_id(node.get("id"))
    other = (
        _person(node.get("to"), node.get("to_user_id"))
        if from_me
        else _person(node.get("from"), node.get("from_user_id"))
    )
    if other is None or message_id is None:
        out.skip("no_message" if not node else "no_id")
        return
    group = as_id(node.get("group_id"))
    chat = group or other
    sender = Sender(out.session_id) if from_me else Sender(other, out.names.get(other))
    at = as_time(node.get("timestamp"), out.now)
    kind = node.get("type")
    if kind == "reaction":
        reaction = as_dict(node.get("reaction"))
        change = ReactionChange(sender, from_me, as_text(reaction.get("emoji"), MAX_NAME))
        _update(out, reaction.get("message_id"), chat, at, reaction=change)
    elif kind == "edit":
        edit = as_dict(node.get("edit"))
        inner = as_dict(edit.get("message"))
        text = read_content({"type": "text", **inner}).text
        if text is None:
            out.skip("edit")
        else:
            _update(out, edit.get("original_message_id"), chat, at, text=text)
    elif kind == "revoke":
        _update(out, as_dict(node.get("revoke")).get("original_message_id"), chat, at, deleted=True)
    else:
        content = read_content(node)
        context = as_dict(node.get("context"))
        quoted = as_id(context.get("id"))
        out.messages.append(
            IncomingMessage(
                message_id=message_id,
                chat_id=chat,
                from_me=from_me,
                sender=sender,
                type=content.type,
                text=content.text,
                media=content.media,
                reply_to=ReplyTo(quoted, _person(context.get("from"), context.get("from_user_id"))) if quoted else None,
                status="sent" if from_me else "received",
                timestamp=at,
            )
        )


def _update(out: Collector, target: object, chat: str, at: datetime, **change: object) -> None:
    message_id = as_id(target)
    if message_id is None:
        out.skip("no_id")
    else:
        out.update(message_id, chat, at, **change)


def _status(out: Collector, node: Node) -> None:
    """Statuses come in any order; `delivered` may be missing, or come after `failed`."""
    message_id = as_id(node.get("id"))
    word = node.get("status")
    status = _STATUSES.get(word.lower()) if isinstance(word, str) else None
    if message_id is None or status is None:
        out.skip("no_id" if message_id is None else "no_change")
        return
    chat = _person(node.get("recipient_id"), node.get("recipient_user_id"))
    error = _error(node.get("errors")) if status == "failed" else None
    out.update(message_id, chat, as_known_time(node.get("timestamp")), status=status, error=error)


def _error(errors: object) -> MessageError:
    node = as_dict(next(iter(as_list(errors)), None))
    code = as_number(node.get("code"))
    details = as_dict(node.get("error_data")).get("details")
    title = lines(node.get("title") or node.get("message"), details)
    return MessageError(str(code) if code is not None else "unknown", as_text(title, MAX_TEXT) or "Not delivered.")
