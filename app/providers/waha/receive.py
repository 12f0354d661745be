"""Payloads of WAHA: `{"event", "session", "payload", "me", …}`, one event per body, for all its engines.

- Ids are `true_CHAT_ID` or `false_CHAT_ID_PARTICIPANT`; the messageId is the bare ID. GOWS sends some bare ids.
- `message` and `message.any` of one message are stored once.
- Bodies are signed: `X-Webhook-Hmac`, the HMAC-SHA512 of the raw body in hexadecimal.
- Times are seconds inside the payload, and milliseconds outside of it. WEBJS reports an edit or a deletion as the
  message itself, with the message's time; the time of the event is used instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from app.domain.incoming import ReactionChange, Receipt
from app.domain.models import MAX_NAME, MAX_TEXT, IncomingMessage, MessageError, Sender
from app.providers.addresses import GROUP, NEWSLETTER, STATUS, as_address, as_lid, best_of, is_person
from app.providers.baileys.kinds import Content, Edited, Reacted, Revoked
from app.providers.collector import Collector, receipt_status
from app.providers.parsed import Parsed
from app.providers.provider import Numbers
from app.providers.signatures import header, hexadecimal, matches
from app.providers.values import as_dict, as_flag, as_known_time, as_name, as_text, as_time
from app.providers.waha import people
from app.providers.waha.content import read_content, reply_to
from app.providers.waha.ids import WahaId, ack_of, read_id
from app.providers.words import Node

SIGNATURE: Final = "X-Webhook-Hmac"
ALGORITHM: Final = "sha512"


def verify(raw: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> bool:
    told = header(headers, f"{SIGNATURE}-Algorithm").lower() or ALGORITHM
    return told == ALGORITHM and matches(raw, header(headers, SIGNATURE), secrets, ALGORITHM)


def sign(secret: str, raw: bytes) -> dict[str, str]:
    return {SIGNATURE: hexadecimal(raw, secret, ALGORITHM), f"{SIGNATURE}-Algorithm": ALGORITHM}


def parse(payload: object, session_id: str, now: datetime, numbers: Numbers | None = None) -> Parsed:
    """The reasons in `skipped` are explained in `app.providers.reasons`."""
    out = Collector(session_id, now)
    for event in map(as_dict, payload if isinstance(payload, list) else [payload]):
        name = event.get("event")
        handler = _HANDLERS.get(name) if isinstance(name, str) else None
        if handler is None:
            out.skip("event" if isinstance(name, str) else "no_event")
            continue
        me = as_dict(event.get("me"))
        ours = (me.get("id"), as_lid(me.get("lid")), me.get("jid"))
        own = {address for value in ours if (address := as_address(value))}
        handler(_Event(out, own, as_known_time(event.get("timestamp"))), as_dict(event.get("payload")))
    return out.parsed()


class _Event(NamedTuple):
    out: Collector
    own: set[str]
    """Our own addresses."""
    at: datetime | None
    """When the event was sent."""


def _place(event: _Event, node: Node, known: WahaId) -> tuple[str, bool] | None:
    """The chat, and whether the message is ours."""
    out = event.out
    from_me = as_flag(node.get("fromMe"))
    if from_me is None:
        from_me = known.from_me or False
    data = as_dict(node.get("_data"))
    key, info = as_dict(data.get("key")), as_dict(data.get("Info"))
    if from_me:
        # The other fields may have our own address, so they are only used if the id has no chat.
        told = [known.chat, info.get("RecipientAlt")] if known.chat else [node.get("to"), node.get("from")]
    else:
        told = [known.chat, node.get("from"), key.get("remoteJidAlt"), info.get("SenderAlt")]
    addresses = [one for value in told if (one := as_address(value)) and one not in event.own]
    shared = [one for one in addresses if one.endswith((GROUP, NEWSLETTER, "@broadcast"))]
    chat = shared[0] if shared else best_of(*addresses)
    if chat is None:
        out.skip("no_id")
    elif chat == STATUS:
        out.skip("status")
    elif chat.endswith(NEWSLETTER):
        out.skip("newsletter")
    else:
        if is_person(chat) and (not from_me or info):
            out.learn(*addresses)
        return chat, from_me
    return None


def _sender(event: _Event, node: Node, known: WahaId, chat: str, from_me: bool) -> Sender:
    if from_me:
        return Sender(event.out.session_id)
    data = as_dict(node.get("_data"))
    info = as_dict(data.get("Info"))
    name = as_name(data.get("notifyName")) or as_name(data.get("pushName")) or as_name(info.get("PushName"))
    if chat.endswith(GROUP):
        key = as_dict(data.get("key"))
        told = (node.get("participant"), known.participant, node.get("author"))
        people = (*told, key.get("participantAlt"), info.get("SenderAlt"))
        event.out.learn(*people)
        return Sender(best_of(*people) or chat, name)
    return Sender(chat, name)


def _message(event: _Event, node: Node) -> None:
    out = event.out
    known = read_id(node.get("id"))
    if known.message_id is None:
        out.skip("no_id" if node else "no_message")
        return
    place = _place(event, node, known)
    if place is None:
        return
    chat, from_me = place
    content = read_content(node, out.names)
    at = as_time(node.get("timestamp"), event.at or out.now)
    if not isinstance(content, Content):
        if isinstance(content, Edited):
            out.update(content.message_id, chat, content.at or at, text=content.text, mentions=content.mentions)
        elif isinstance(content, Revoked):
            out.update(content.message_id, chat, at, deleted=True)
        elif isinstance(content, Reacted):
            change = ReactionChange(_sender(event, node, known, chat, from_me), from_me, content.emoji)
            out.update(content.message_id, chat, content.at or at, reaction=change)
        else:
            out.skip(content.reason)
        out.update(known.message_id, chat, nothing_to_read=True)
        return
    out.messages.append(
        IncomingMessage(
            message_id=known.message_id,
            chat_id=chat,
            from_me=from_me,
            sender=_sender(event, node, known, chat, from_me),
            type=content.type,
            text=content.text,
            media=content.media,
            reply_to=content.reply_to or reply_to(node),
            status=(ack_of(node) or "sent") if from_me else "received",
            timestamp=at,
            mentions=content.mentions,
        )
    )


def _acknowledged(event: _Event, node: Node) -> None:
    """`message.ack` and `message.ack.group`."""
    out, known, status = event.out, read_id(node.get("id")), ack_of(node)
    if known.message_id is None:
        out.skip("no_id")
        return
    place = _place(event, node, known)
    if place is None:
        return
    chat, from_me = place
    if status is None:
        out.skip("no_change")
    elif not from_me and (known.from_me is False or as_flag(node.get("fromMe")) is False):
        if status in ("read", "played"):
            out.read(chat)
        else:
            out.skip("not_ours")
    else:
        # The id may have our own address in a group.
        person = as_address(node.get("participant")) or as_address(known.participant)
        reached = receipt_status(status)
        if chat.endswith(GROUP) and person and person not in event.own and reached:
            out.update(known.message_id, chat, event.at, receipt=Receipt(person, reached))
        else:
            error = MessageError("ERROR", "The message was not sent.") if status == "failed" else None
            out.status(known.message_id, chat, event.at, status=status, error=error)


def _reaction(event: _Event, node: Node) -> None:
    out, reaction = event.out, as_dict(node.get("reaction"))
    target, known = read_id(reaction.get("messageId")), read_id(node.get("id"))
    if target.message_id is None:
        out.skip("no_id")
        return
    place = _place(event, node, known if known.chat else target._replace(from_me=None))
    if place is None:
        return
    chat, from_me = place
    emoji = as_text(reaction.get("text"), MAX_NAME)
    change = ReactionChange(_sender(event, node, known, chat, from_me), from_me, emoji)
    out.update(target.message_id, chat, as_known_time(node.get("timestamp")) or event.at, reaction=change)


def _edited(event: _Event, node: Node) -> None:
    target, known = read_id(node.get("editedMessageId")), read_id(node.get("id"))
    target_id = target.message_id or known.message_id
    text = as_text(node.get("body"), MAX_TEXT)
    if target_id is None or text is None:
        event.out.skip("no_id" if target_id is None else "edit")
        return
    place = _place(event, node, known if known.chat else target)
    if place is not None:
        itself = known.message_id == target_id
        latest = as_known_time(as_dict(node.get("_data")).get("latestEditSenderTimestampMs"))
        at = latest or (None if itself else as_known_time(node.get("timestamp"))) or event.at
        content = read_content({**node, "hasMedia": False, "media": None}, event.out.names)
        mentions = content.mentions if isinstance(content, Content | Edited) else ()
        event.out.update(target_id, place[0], at, text=text, mentions=mentions)


def _revoked(event: _Event, node: Node) -> None:
    """WEBJS sends the message as `before`; the others send its id. `after` is its replacement."""
    before, after = as_dict(node.get("before")), as_dict(node.get("after"))
    ids = [
        read_id(value) for value in (node.get("revokedMessageId"), before.get("id"), after.get("id"), node.get("id"))
    ]
    target = next((known for known in ids if known.message_id), None)
    if target is None or target.message_id is None:
        event.out.skip("no_id")
        return
    whole = after or before or node
    known = next((known for known in ids if known.chat), target)
    place = _place(event, whole, known)
    if place is not None:
        itself = read_id(after.get("id")).message_id in (target.message_id, None)
        at = (None if itself else as_known_time(after.get("timestamp"))) or event.at
        event.out.update(target.message_id, place[0], at, deleted=True)


def _told(read: Callable[[Collector, Node], None]) -> Callable[[_Event, Node], None]:
    return lambda event, node: read(event.out, node)


_HANDLERS: Final[dict[str, Callable[[_Event, Node], None]]] = {
    "message": _message,
    "message.any": _message,
    "message.waiting": _message,
    "message.ack": _acknowledged,
    "message.ack.group": _acknowledged,
    "message.reaction": _reaction,
    "message.edited": _edited,
    "message.revoked": _revoked,
    "presence.update": _told(people.read_presence),
    "session.status": _told(people.read_session),
    "contact.upsert": _told(people.read_contact),
    "contact.update": _told(people.read_contact),
    "contacts.upsert": _told(people.read_contact),
    "contacts.update": _told(people.read_contact),
    "group.v2.join": _told(people.read_group),
    "group.v2.update": _told(people.read_group),
    "group.v2.participants": _told(people.read_group),
    "group.join": _told(people.read_group),
    "chat.update": _told(people.read_chat),
}
