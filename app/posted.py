"""Roomcast's own webhook form: messages, updates, signals and contacts, validated into domain objects.

A body with an invalid item is refused as a whole, with all its errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from marshmallow import RAISE, Schema, ValidationError, fields, validates_schema

from app.domain.incoming import (
    ConnectionSignal,
    Contact,
    IncomingUpdate,
    PresenceSignal,
    ReactionChange,
    Receipt,
    Signal,
    TypingSignal,
)
from app.domain.models import MAX_NAME, MAX_TEXT, OWN_STATUSES, IncomingMessage, MessageError, Sender
from app.errors import AppError, Fault
from app.fields import Choice, Flag, Id, Name, Text, Timestamp
from app.schemas import MAX_FAULTS, SenderSchema, escape, faults_of, invalid, load_message

MAX_ITEMS: Final = 500
"""Maximum number of messages, updates, signals and contacts in one body."""
MAX_EMOJI: Final = 64
MAX_ALIASES: Final = 20
_CHANGES: Final = ("status", "error", "text", "deleted", "reaction", "receipt")


@dataclass(frozen=True, slots=True)
class Posted:
    messages: Sequence[IncomingMessage] = ()
    updates: Sequence[IncomingUpdate] = ()
    signals: Sequence[Signal] = ()
    contacts: Sequence[Contact] = ()


class _Strict(Schema):
    class Meta:
        unknown = RAISE


class _ErrorSchema(_Strict):
    code = Text(MAX_NAME, shortest=1, required=True)
    title = Text(MAX_NAME, required=True)


class _ReactionSchema(_Strict):
    sender = fields.Nested(SenderSchema, required=True)
    fromMe = Flag()  # noqa: N815  names of the wire, here and below
    emoji = Text(MAX_EMOJI, required=True, allow_none=True)


class _ReceiptSchema(_Strict):
    by = Id(required=True)
    status = Choice(("delivered", "read", "played"), required=True)


class _UpdateSchema(_Strict):
    messageId = Id(required=True)  # noqa: N815
    chatId = Id(allow_none=True)  # noqa: N815
    timestamp = Timestamp()
    status = Choice(OWN_STATUSES)
    error = fields.Nested(_ErrorSchema)
    text = Text(MAX_TEXT, shortest=1)
    deleted = Flag()
    reaction = fields.Nested(_ReactionSchema)
    receipt = fields.Nested(_ReceiptSchema)

    @validates_schema
    def _says_something(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        if data.get("deleted") is False:
            raise ValidationError("Must be true: a deletion cannot be undone.", "deleted")
        if data.get("error") and data.get("status", "failed") != "failed":
            raise ValidationError("Only allowed with the status failed.", "error")
        if not any(name in data for name in _CHANGES):
            raise ValidationError(f"One of these is required: {', '.join(_CHANGES)}.")


class _TypingSchema(_Strict):
    type = Choice(("typing",), required=True)
    chatId = Id(required=True)  # noqa: N815
    sender = fields.Nested(SenderSchema, required=True)
    action = Choice(("typing", "recording", "stopped"), required=True)


class _PresenceSchema(_Strict):
    type = Choice(("presence",), required=True)
    chatId = Id(required=True)  # noqa: N815
    sender = fields.Nested(SenderSchema, required=True)
    state = Choice(("online", "offline"), required=True)
    lastSeen = Timestamp(allow_none=True)  # noqa: N815


class _ConnectionSchema(_Strict):
    type = Choice(("connection",), required=True)
    state = Choice(("connected", "connecting", "disconnected", "logged_out"), required=True)
    detail = Text(MAX_NAME, allow_none=True)


class _ContactSchema(_Strict):
    id = Id(required=True)
    name = Name(shortest=1)
    aliases = fields.List(Id(), validate=lambda value: len(value) <= MAX_ALIASES)


_UPDATE, _CONTACT = _UpdateSchema(), _ContactSchema()
_SIGNALS: Final[Mapping[str, Schema]] = {
    "typing": _TypingSchema(),
    "presence": _PresenceSchema(),
    "connection": _ConnectionSchema(),
}
_LISTS: Final = ("messages", "updates", "signals", "contacts")

Item = TypeVar("Item")


def load_body(body: object, session_id: str, received_at: datetime) -> Posted:
    """Validate one message, or an object with lists of 1 to MAX_ITEMS items in all. Raises AppError `invalid`."""
    if not isinstance(body, dict):
        raise AppError("invalid", "The body must be an object.", [Fault("#", "Must be an object.")])
    if body.keys().isdisjoint(_LISTS):
        return Posted([load_message(body, session_id, received_at)])
    faults = [Fault(f"#/{escape(key)}", "Unknown field.") for key in body if key not in _LISTS]
    given = {name: body[name] for name in _LISTS if name in body}
    faults += [Fault(f"#/{name}", "Must be a list.") for name, items in given.items() if not isinstance(items, list)]
    if faults:
        raise invalid(faults)
    count = sum(len(items) for items in given.values())
    if not 1 <= count <= MAX_ITEMS:
        where = f"#/{next(iter(given))}" if len(given) == 1 else "#"
        raise invalid([Fault(where, f"Must be 1 to {MAX_ITEMS} items in all, not {count}.")])

    def load_all(name: str, load: Callable[[object, str], Item]) -> list[Item]:
        loaded = []
        for number, one in enumerate(given.get(name, ())):
            if len(faults) >= MAX_FAULTS:
                break
            try:
                loaded.append(load(one, f"#/{name}/{number}"))
            except AppError as error:
                faults.extend(error.faults)
        return loaded

    posted = Posted(
        load_all("messages", lambda one, pointer: load_message(one, session_id, received_at, pointer)),
        load_all("updates", _load_update),
        load_all("signals", _load_signal),
        load_all("contacts", _load_contact),
    )
    if faults:
        raise invalid(faults)
    return posted


def _load(schema: Schema, value: object, pointer: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid([Fault(pointer, "Must be an object.")])
    try:
        data: dict[str, Any] = schema.load(value)
    except ValidationError as error:
        raise invalid(faults_of(error.messages, pointer)) from None
    return data


def _load_update(value: object, pointer: str) -> IncomingUpdate:
    data = _load(_UPDATE, value, pointer)
    error, reaction, receipt = data.get("error"), data.get("reaction"), data.get("receipt")
    return IncomingUpdate(
        message_id=data["messageId"],
        chat_id=data.get("chatId"),
        timestamp=data.get("timestamp"),
        status=data.get("status"),
        error=error and MessageError(error["code"], error["title"]),
        text=data.get("text"),
        deleted=data.get("deleted", False),
        reaction=reaction
        and ReactionChange(_sender(reaction["sender"]), reaction.get("fromMe", False), reaction["emoji"] or None),
        receipt=receipt and Receipt(receipt["by"], receipt["status"]),
    )


def _load_signal(value: object, pointer: str) -> Signal:
    kind = value.get("type") if isinstance(value, dict) else None
    schema = _SIGNALS.get(kind) if isinstance(kind, str) else None
    if schema is None:
        where = f"{pointer}/type" if isinstance(value, dict) else pointer
        raise invalid([Fault(where, f"Must be an object whose type is one of: {', '.join(_SIGNALS)}.")])
    data = _load(schema, value, pointer)
    if kind == "typing":
        return TypingSignal(data["chatId"], _sender(data["sender"]), data["action"])
    if kind == "presence":
        return PresenceSignal(data["chatId"], _sender(data["sender"]), data["state"], data.get("lastSeen"))
    return ConnectionSignal(data["state"], data.get("detail"))


def _load_contact(value: object, pointer: str) -> Contact:
    data = _load(_CONTACT, value, pointer)
    return Contact(data["id"], data.get("name"), data.get("aliases", ()))


def _sender(data: Mapping[str, Any]) -> Sender:
    return Sender(data["id"], data.get("name"))
