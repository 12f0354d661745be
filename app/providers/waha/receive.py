"""What WAHA posts: `{"event", "session", "payload", "me", …}`, one event in a body, alike for its engines.

- Ids are `true_CHAT_ID` or `false_CHAT_ID_PARTICIPANT`; the messageId is the bare ID. GOWS tells some bare already.
- `message` and `message.any` of one message are one.
- It signs: `X-Webhook-Hmac`, the HMAC-SHA512 of the raw body in hexadecimal.
- Times are seconds inside the payload, and milliseconds outside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from app.domain.incoming import ConnectionSignal, ConnectionState, ReactionChange, Receipt
from app.domain.models import MAX_NAME, MAX_TEXT, IncomingMessage, MessageError, Sender
from app.providers.addresses import GROUP, NEWSLETTER, STATUS, as_address, as_lid, best_of, is_person
from app.providers.baileys.kinds import NoMessage
from app.providers.baileys.signals import SCAN, read_one
from app.providers.collector import Collector, receipt_status
from app.providers.parsed import Parsed
from app.providers.provider import Numbers
from app.providers.signatures import header, hexadecimal, matches
from app.providers.values import as_dict, as_flag, as_known_time, as_list, as_name, as_number, as_text, as_time
from app.providers.waha.content import read_content, reply_to
from app.providers.waha.ids import WahaId, ack_of, read_id
from app.providers.words import Node, first

SIGNATURE: Final = "X-Webhook-Hmac"
ALGORITHM: Final = "sha512"

_STATES: Final[dict[str, tuple[ConnectionState, str | None]]] = {
    "WORKING": ("connected", None),
    "STARTING": ("connecting", None),
    "SCAN_QR_CODE": ("connecting", SCAN),
    "STOPPED": ("disconnected", "The session is stopped."),
    "FAILED": ("disconnected", "The session has failed."),
}


def verify(raw: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> bool:
    told = header(headers, f"{SIGNATURE}-Algorithm").lower() or ALGORITHM
    return told == ALGORITHM and matches(raw, header(headers, SIGNATURE), secrets, ALGORITHM)


def sign(secret: str, raw: bytes) -> dict[str, str]:
    return {SIGNATURE: hexadecimal(raw, secret, ALGORITHM), f"{SIGNATURE}-Algorithm": ALGORITHM}


def parse(payload: object, session_id: str, now: datetime, numbers: Numbers | None = None) -> Parsed:
    """Reasons in `skipped`: `event`, `no_event`, `no_message`, `no_id`, `bad_id`, `bad_address`, `status`,
    `newsletter`, `revoke`, `edit`, `protocol`, `not_ours`, `no_change`; see `app.providers.baileys.receive`."""
    out = Collector(session_id, now)
    for event in map(as_dict, payload if isinstance(payload, list) else [payload]):
        name = event.get("event")
        handler = _HANDLERS.get(name) if isinstance(name, str) else None
        if handler is None:
            out.skip("event" if isinstance(name, str) else "no_event")
            continue
        me = as_dict(event.get("me"))
        own = {address for value in (me.get("id"), as_lid(me.get("lid"))) if (address := as_address(value))}
        handler(_Event(out, own, as_known_time(event.get("timestamp"))), as_dict(event.get("payload")))
    return out.parsed()


class _Event(NamedTuple):
    out: Collector
    own: set[str]
    """Our own addresses."""
    at: datetime | None
    """When the event was sent."""


def _place(event: _Event, node: Node, known: WahaId) -> tuple[str, bool] | None:
    """The chat and whether the message is ours."""
    out = event.out
    from_me = as_flag(node.get("fromMe"))
    if from_me is None:
        from_me = known.from_me or False
    info = as_dict(as_dict(node.get("_data")).get("key"))
    others = [node.get("to"), node.get("from")] if from_me else [node.get("from"), info.get("remoteJidAlt")]
    # Of our own message the other fields may hold our own address: they are taken only where the id tells no chat.
    told = [known.chat] if from_me and known.chat else [known.chat, *others]
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
        if not from_me and is_person(chat):
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
    content = read_content(node)
    if isinstance(content, NoMessage):
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
            timestamp=as_time(node.get("timestamp"), event.at or out.now),
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
        person = best_of(node.get("participant"), known.participant)
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
        at = as_known_time(node.get("timestamp")) or event.at
        event.out.update(target_id, place[0], at, text=text)


def _revoked(event: _Event, node: Node) -> None:
    """WEBJS tells the message `before` it; the others its id. `after` is what stands in its place."""
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
        event.out.update(
            target.message_id or "", place[0], as_known_time(after.get("timestamp")) or event.at, deleted=True
        )


def _presence(event: _Event, node: Node) -> None:
    chat = as_address(node.get("id"))
    if chat is None:
        event.out.skip("no_id")
        return
    for presence in map(as_dict, as_list(node.get("presences"))):
        read_one(event.out, chat, presence.get("participant") or chat, presence)


def _session(event: _Event, node: Node) -> None:
    word = node.get("status")
    state = _STATES.get(word.upper()) if isinstance(word, str) else None
    if state is None:
        event.out.skip("no_change")
    else:
        event.out.signals.append(ConnectionSignal(*state))


def _contact(event: _Event, node: Node) -> None:
    addresses = (node.get("id"), as_lid(node.get("lid")), node.get("phoneNumber"))
    event.out.learn(*addresses)
    given = first(node, "name", "shortName", longest=MAX_NAME)
    own = first(node, "pushName", "pushname", longest=MAX_NAME)
    event.out.name(best_of(*addresses), given or own, calls_itself=given is None)


def _group(event: _Event, node: Node) -> None:
    group = as_dict(node.get("group")) or node
    address = as_address(group.get("id"))
    if address is None:
        event.out.skip("no_id")
        return
    for member in map(as_dict, as_list(group.get("participants"))):
        event.out.learn(member.get("id"), member.get("pn"), as_lid(member.get("lid")))
    event.out.name(address, first(group, "subject", "name", longest=MAX_NAME))


def _chat(event: _Event, node: Node) -> None:
    address = as_address(node.get("id"))
    event.out.name(address, as_text(node.get("name"), MAX_NAME))
    if address is None:
        event.out.skip("no_id")
    elif as_number(node.get("unreadCount")) == 0:
        event.out.read(address)


_HANDLERS: Final[dict[str, Callable[[_Event, Node], None]]] = {
    "message": _message,
    "message.any": _message,
    "message.ack": _acknowledged,
    "message.ack.group": _acknowledged,
    "message.reaction": _reaction,
    "message.edited": _edited,
    "message.revoked": _revoked,
    "presence.update": _presence,
    "session.status": _session,
    "contact.upsert": _contact,
    "contact.update": _contact,
    "contacts.upsert": _contact,
    "contacts.update": _contact,
    "group.v2.join": _group,
    "group.v2.update": _group,
    "group.join": _group,
    "chat.update": _chat,
}
