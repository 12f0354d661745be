"""Validation of input with marshmallow: JSON values (camelCase) to models.

Types are strict: a number is not a string, `true` is not a number, a list is not an object. Unknown fields are refused.
Errors have a JSON pointer to their place (RFC 6901, as a URI fragment).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from app.domain.models import (
    MAX_NAME,
    MAX_TEXT,
    MESSAGE_TYPES,
    OWN_STATUSES,
    IncomingMessage,
    Media,
    Position,
    ReplyTo,
    Sender,
)
from app.errors import AppError, Fault
from app.fields import SESSION_ID, Choice, Flag, Id, Name, Number, Preview, SessionId, Text, Timestamp, Url, Whole

MAX_SHORTCUT: Final = 32
MAX_QUICK_REPLY: Final = 4_096
"""Characters."""
MAX_QUICK_REPLIES: Final = 200
MAX_FAULTS: Final = 100
"""Maximum number of errors reported for one request."""


class _Strict(Schema):
    class Meta:
        unknown = RAISE


class SenderSchema(_Strict):
    """The person who wrote a message, reacted to it, or is typing."""

    id = Id(required=True)
    name = Name()


class _MediaSchema(_Strict):
    url = Url(required=True)
    mimeType = Name()  # noqa: N815  names of the wire, here and below
    fileName = Name()  # noqa: N815
    size = Whole(allow_none=True)
    width = Whole(allow_none=True)
    height = Whole(allow_none=True)
    durationSeconds = Number(allow_none=True)  # noqa: N815
    preview = Preview(allow_none=True)


class _ReplyToSchema(_Strict):
    messageId = Id(required=True)  # noqa: N815
    senderId = Id(allow_none=True)  # noqa: N815
    text = Text(MAX_TEXT, allow_none=True)


class MessageSchema(_Strict):
    """A message as posted to the webhook."""

    messageId = Id()  # noqa: N815
    chatId = Id(required=True)  # noqa: N815
    fromMe = Flag()  # noqa: N815
    sender = fields.Nested(SenderSchema)
    type = Choice(MESSAGE_TYPES)
    text = Text(MAX_TEXT, allow_none=True)
    media = fields.Nested(_MediaSchema, allow_none=True)
    replyTo = fields.Nested(_ReplyToSchema, allow_none=True)  # noqa: N815
    status = Choice(("received", *OWN_STATUSES))
    timestamp = Timestamp()
    chatName = Name()  # noqa: N815


class _PositionSchema(_Strict):
    epoch = Text(64, shortest=1, required=True)
    seq = Whole(required=True)


class SubscribeSchema(_Strict):
    sessionId = SessionId(required=True)  # noqa: N815
    chatId = Id(allow_none=True)  # noqa: N815
    position = fields.Nested(_PositionSchema, allow_none=True)
    batch = Flag()


class UnsubscribeSchema(_Strict):
    sessionId = SessionId(required=True)  # noqa: N815
    chatId = Id(allow_none=True)  # noqa: N815


class _ChatSchema(_Strict):
    sessionId = SessionId(required=True)  # noqa: N815
    chatId = Id(required=True)  # noqa: N815


class MarkReadSchema(_ChatSchema):
    seq = Whole(required=True)


class MessageToSendSchema(_Strict):
    """What an agent writes."""

    clientId = Id(required=True)  # noqa: N815
    text = Text(MAX_TEXT, allow_none=True)
    media = fields.Nested(_MediaSchema, allow_none=True)
    replyTo = Id(allow_none=True)  # noqa: N815
    after = Whole(allow_none=True)

    @validates_schema
    def _says_something(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        if not (data.get("text") or "").strip() and not data.get("media"):
            raise ValidationError("Either text (not blank) or media is required.")


class SendMessageSchema(_ChatSchema, MessageToSendSchema):
    pass


class SentMessageSchema(_ChatSchema):
    """A message that was sent: to retry or to cancel."""

    messageId = Id(required=True)  # noqa: N815


class _AgentSchema(_Strict):
    id = Text(MAX_NAME, shortest=1, required=True)
    name = Name()


class AssignChatSchema(_ChatSchema):
    assignee = fields.Nested(_AgentSchema, required=True, allow_none=True)
    expected = Text(MAX_NAME, allow_none=True)


class ChatStateSchema(_ChatSchema):
    state = Choice(("open", "closed"), required=True)


class TypingSchema(_ChatSchema):
    action = Choice(("typing", "recording", "stopped"), required=True)


class ViewSchema(_Strict):
    sessionId = SessionId(required=True)  # noqa: N815
    chatId = Id(required=True, allow_none=True)  # noqa: N815


class ServeSchema(_Strict):
    sessionId = SessionId(required=True)  # noqa: N815


class _QuickReplySchema(_Strict):
    shortcut = Text(MAX_SHORTCUT, shortest=1, required=True, validate=validate.Regexp(r"[^\s/]+\Z"))
    text = Text(MAX_QUICK_REPLY, shortest=1, required=True)


class AuthenticateSchema(_Strict):
    token = fields.String(required=True, validate=validate.Length(1))


_MESSAGE = MessageSchema()
_SESSION_ID_FIELD = SessionId()
_CHAT_ID_FIELD = Id()


def load(schema: Schema, value: object) -> dict[str, Any]:
    """Validate a payload. Raises AppError `invalid`."""
    if not isinstance(value, dict):
        raise AppError("invalid", "The payload must be an object.", [Fault("#", "Must be an object.")])
    try:
        result: dict[str, Any] = schema.load(value)
    except ValidationError as error:
        raise invalid(faults_of(error.messages, "#")) from None
    return result


def load_message(value: object, session_id: str, received_at: datetime, pointer: str = "#") -> IncomingMessage:
    """Validate a message and fill in defaults. Raises AppError `invalid`."""
    if not isinstance(value, dict):
        raise invalid([Fault(pointer, "Must be an object.")])
    try:
        data = _MESSAGE.load(value)
    except ValidationError as error:
        raise invalid(faults_of(error.messages, pointer)) from None
    text, media = data.get("text"), data.get("media")
    if text == "" and media:
        text = None
    if not text and not media:
        raise invalid([Fault(pointer, "Either text (not empty) or media is required.")])
    from_me = data.get("fromMe", False)
    status = data.get("status", "sent" if from_me else "received")
    if (status == "received") is from_me:
        detail = (
            "With fromMe, must be one of: " + ", ".join(OWN_STATUSES)
            if from_me
            else "Without fromMe, must be received."
        )
        raise invalid([Fault(f"{pointer}/status", detail)])
    chat_id, sender = data["chatId"], data.get("sender")
    reply_to = data.get("replyTo")
    return IncomingMessage(
        message_id=data.get("messageId") or uuid.uuid4().hex,
        chat_id=chat_id,
        from_me=from_me,
        sender=Sender(sender["id"], sender.get("name")) if sender else Sender(session_id if from_me else chat_id),
        type=data.get("type", "document" if media else "text"),
        text=text,
        media=media and load_media(media),
        reply_to=reply_to and ReplyTo(reply_to["messageId"], reply_to.get("senderId"), reply_to.get("text")),
        status=status,
        timestamp=data.get("timestamp", received_at),
        chat_name=data.get("chatName"),
    )


def load_quick_replies(value: object) -> list[dict[str, Any]]:
    """A list of quick replies, each with a shortcut of its own. Raises AppError `invalid`."""
    if not isinstance(value, list) or len(value) > MAX_QUICK_REPLIES:
        raise invalid([Fault("#", f"Must be a list of at most {MAX_QUICK_REPLIES} quick replies.")])
    try:
        replies: list[dict[str, Any]] = _QuickReplySchema(many=True).load(value)
    except ValidationError as error:
        raise invalid(faults_of(error.messages, "#")) from None
    shortcuts = [reply["shortcut"] for reply in replies]
    if twice := [number for number, one in enumerate(shortcuts) if one in shortcuts[:number]]:
        raise invalid([Fault(f"#/{twice[0]}/shortcut", "Must not be used twice.")])
    return replies


def check_session_id(value: str) -> None:
    """Raises AppError `invalid` if this is not a valid sessionId."""
    if not SESSION_ID.match(value):
        _load_one(_SESSION_ID_FIELD, value, "sessionId")


def load_chat_id(value: str) -> str:
    """Raises AppError `invalid` if this is not a valid chatId."""
    return _load_one(_CHAT_ID_FIELD, value, "chatId")


def _load_one(field: fields.Field[str], value: str, name: str) -> str:
    try:
        return field.deserialize(value)
    except ValidationError as error:
        raise invalid(faults_of(error.messages, f"#/{name}")) from None


def load_position(value: Mapping[str, Any] | None) -> Position | None:
    return value and Position(value["epoch"], value["seq"])  # type: ignore[return-value]


def load_media(data: Mapping[str, Any]) -> Media:
    return Media(
        data["url"],
        data.get("mimeType"),
        data.get("fileName"),
        data.get("size"),
        data.get("width"),
        data.get("height"),
        data.get("durationSeconds"),
        data.get("preview"),
    )


def invalid(faults: list[Fault]) -> AppError:
    where = faults[0]
    return AppError("invalid", f"{where.pointer}: {where.detail}", faults[:MAX_FAULTS])


def faults_of(messages: Any, pointer: str) -> list[Fault]:
    if isinstance(messages, dict):
        found: list[Fault] = []
        for key, inner in messages.items():
            found += faults_of(inner, pointer if key == "_schema" else f"{pointer}/{escape(str(key))}")
        return found
    return [Fault(pointer, str(one)) for one in (messages if isinstance(messages, list) else [messages])]


def escape(key: str) -> str:
    """Escape a key for a JSON pointer in a URI fragment."""
    key = key[:100].replace("~", "~0").replace("/", "~1")
    return quote(key, safe="~!$&'()*+,;=:@", errors="replace")
