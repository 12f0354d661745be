"""What comes in over the wire, validated once: JSON values (camelCase) to models, by marshmallow.

Types are strict: a number is no text, `true` is no number, a list is no object. Unknown fields are refused. Faults are
told with a JSON pointer (RFC 6901, as a URI fragment) to the place.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from app.domain.events import to_milliseconds
from app.domain.models import (
    MAX_ID,
    MAX_NAME,
    MAX_PREVIEW_BYTES,
    MAX_TEXT,
    MAX_URL,
    MESSAGE_TYPES,
    OWN_STATUSES,
    IncomingMessage,
    Media,
    Position,
    ReplyTo,
    Sender,
)
from app.domain.text import clean_name
from app.errors import AppError, Fault

MAX_FAULTS: Final = 100
"""Faults that are told of one request."""
MAX_INTEGER: Final = 2**53 - 1
"""The largest whole number that every client of JSON keeps as it is (RFC 7493)."""

SESSION_ID: Final = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9_.:@-]{1,64}\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d(:?\d\d)?)?\Z")
_PREVIEW: Final = re.compile(r"data:image/(?:jpeg|png|webp|gif);base64,([A-Za-z0-9+/]+={0,2})")
_MILLISECONDS_FROM: Final = 100_000_000_000
"""An epoch time from here on is in milliseconds: in seconds it would be the year 5138."""


class Text(fields.Field[str]):
    """A string without lone surrogates, which are no text (RFC 7493)."""

    def __init__(self, longest: int, *, shortest: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shortest, self._longest = shortest, longest

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Must be a string.")
        if not self._shortest <= len(value) <= self._longest:
            raise ValidationError(f"Must have {self._shortest} to {self._longest} characters.")
        if not is_text(value):
            raise ValidationError("Must not contain lone surrogates.")
        return value


class Name(Text):
    """What people read as a person's, a chat's or a file's name; None where nothing of it can be read."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(MAX_NAME, allow_none=True, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        return clean_name(super()._deserialize(value, attr, data, **kwargs)) or None


class Id(Text):
    """A chatId, messageId or a person's id."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(MAX_ID, shortest=1, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if _CONTROL.search(text):
            raise ValidationError("Must not contain control characters.")
        if text in (".", ".."):
            raise ValidationError("Must not be '.' or '..'.")
        return text


class SessionId(fields.Field[str]):
    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str) or not SESSION_ID.match(value):
            raise ValidationError("Must be 1 to 64 of A-Z a-z 0-9 _ . : @ - and not '.' or '..'.")
        return value


class Whole(fields.Field[int]):
    """A whole number from 0 on."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_INTEGER:
            raise ValidationError(f"Must be a whole number from 0 to {MAX_INTEGER}.")
        return value


class Number(fields.Field[float]):
    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_INTEGER:
            raise ValidationError(f"Must be a number from 0 to {MAX_INTEGER}.")
        return value


class Flag(fields.Field[bool]):
    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


class Choice(fields.Field[str]):
    def __init__(self, choices: Iterable[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._choices = tuple(choices)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str) or value not in self._choices:
            raise ValidationError(f"Must be one of: {', '.join(self._choices)}.")
        return value


class Timestamp(fields.Field[datetime]):
    """ISO 8601 (UTC where it names no zone), or epoch seconds, or epoch milliseconds."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> datetime:
        try:
            if isinstance(value, str) and _ISO.match(value):
                time = datetime.fromisoformat(value.upper().replace(",", "."))
                return to_milliseconds((time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC))
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
                seconds = value / 1000 if value >= _MILLISECONDS_FROM else value
                return to_milliseconds(datetime.fromtimestamp(seconds, UTC))
        except (ValueError, OverflowError, OSError):
            pass
        raise ValidationError("Must be a time in ISO 8601, or in seconds or milliseconds since 1970.")


class Url(Text):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(MAX_URL, shortest=1, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not is_http_url(text):
            raise ValidationError("Must be a http or https URL.")
        return text


class Preview(fields.Field[str]):
    """A small picture as a data URL."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str) or not is_preview(value):
            raise ValidationError(
                "Must be a data URL of a JPEG, PNG, WebP or GIF, in base64, with at most "
                f"{MAX_PREVIEW_BYTES} bytes of data."
            )
        return value


class _Strict(Schema):
    class Meta:
        unknown = RAISE


class SenderSchema(_Strict):
    """Who wrote a message, reacted to it, or is typing."""

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
    """A message as the webhook takes it."""

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


class MarkReadSchema(_Strict):
    sessionId = SessionId(required=True)  # noqa: N815
    chatId = Id(required=True)  # noqa: N815
    seq = Whole(required=True)


class AuthenticateSchema(_Strict):
    token = fields.String(required=True, validate=validate.Length(1))


_MESSAGE = MessageSchema()
_SESSION_ID_FIELD = SessionId()
_CHAT_ID_FIELD = Id()


def is_text(value: str) -> bool:
    """Whether the string has no lone surrogates."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_preview(value: str) -> bool:
    """Whether it can be a `media.preview`."""
    found = _PREVIEW.fullmatch(value)
    if found is None or len(found[1]) > MAX_PREVIEW_BYTES * 4 // 3 + 4:
        return False
    try:
        return len(base64.b64decode(found[1], validate=True)) <= MAX_PREVIEW_BYTES
    except ValueError:
        return False


def is_http_url(value: str) -> bool:
    if _CONTROL.search(value) or " " in value:
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def load(schema: Schema, value: object) -> dict[str, Any]:
    """The payload's fields. Raises AppError `invalid`."""
    if not isinstance(value, dict):
        raise AppError("invalid", "The payload must be an object.", [Fault("#", "Must be an object.")])
    try:
        result: dict[str, Any] = schema.load(value)
    except ValidationError as error:
        raise invalid(faults_of(error.messages, "#")) from None
    return result


def load_message(value: object, session_id: str, received_at: datetime, pointer: str = "#") -> IncomingMessage:
    """One message with every default filled in. Raises AppError `invalid`."""
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
        raise invalid([Fault(pointer, "One of text (not empty) or media is needed.")])
    from_me = data.get("fromMe", False)
    status = data.get("status", "sent" if from_me else "received")
    if (status == "received") is from_me:
        detail = "A message from us has one of: " + ", ".join(OWN_STATUSES) if from_me else "Must be received."
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
        media=media and _media(media),
        reply_to=reply_to and ReplyTo(reply_to["messageId"], reply_to.get("senderId"), reply_to.get("text")),
        status=status,
        timestamp=data.get("timestamp", received_at),
        chat_name=data.get("chatName"),
    )


def check_session_id(value: str) -> None:
    """Raises AppError `invalid` for what cannot name a session."""
    if not SESSION_ID.match(value):
        _load_one(_SESSION_ID_FIELD, value, "sessionId")


def load_chat_id(value: str) -> str:
    """Raises AppError `invalid` for what cannot name a chat."""
    return _load_one(_CHAT_ID_FIELD, value, "chatId")


def _load_one(field: fields.Field[str], value: str, name: str) -> str:
    try:
        return field.deserialize(value)
    except ValidationError as error:
        raise invalid(faults_of(error.messages, f"#/{name}")) from None


def load_position(value: Mapping[str, Any] | None) -> Position | None:
    return value and Position(value["epoch"], value["seq"])  # type: ignore[return-value]


def _media(data: Mapping[str, Any]) -> Media:
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
    """A key as a part of a JSON pointer in a URI fragment."""
    key = key[:100].replace("~", "~0").replace("/", "~1")
    return quote(key, safe="~!$&'()*+,;=:@", errors="replace")
