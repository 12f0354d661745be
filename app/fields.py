"""Strictly typed fields for input: a number is not a string, `true` is not a number, a list is not an object."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields

from app.domain.events import to_milliseconds
from app.domain.models import MAX_ID, MAX_NAME, MAX_PREVIEW_BYTES, MAX_URL
from app.domain.text import clean_name

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON client keeps exact (RFC 7493)."""

SESSION_ID: Final = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9_.:@-]{1,64}\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d(:?\d\d)?)?\Z")
_PREVIEW: Final = re.compile(r"data:image/(?:jpeg|png|webp|gif);base64,([A-Za-z0-9+/]+={0,2})")
_MILLISECONDS_FROM: Final = 100_000_000_000
"""Epoch times from here on are in milliseconds: in seconds this would be the year 5138."""


class Text(fields.Field[str]):
    """A string without lone surrogates, which are not valid text (RFC 7493)."""

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
    """A name of a person, chat or file as people read it; None if nothing readable is left."""

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
    """A non-negative integer."""

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
    """ISO 8601 (UTC if it has no zone), epoch seconds, or epoch milliseconds."""

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
            raise ValidationError("Must be an http or https URL.")
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
    """Whether the string is a valid `media.preview`."""
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
