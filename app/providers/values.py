"""Reads single values from a provider's JSON, in which any value may have any type. Nothing here raises.

The policy: a value of the wrong type counts as missing. Text is corrected instead of refused: lone surrogates (an
emoji cut in half) become U+FFFD, and long text is cut between graphemes. An id is never cut, because it would become
another one: an id that is too long or has control characters counts as missing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from app.domain.events import to_milliseconds
from app.domain.graphemes import cut
from app.domain.models import MAX_ID, MAX_NAME, MAX_URL
from app.domain.text import clean_name

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON client keeps exact."""
NO_OBJECT: Final[dict[str, Any]] = {}

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_URL: Final = re.compile(r"https?://[^\s/?#\x00-\x1f\x7f-\x9f][^\s\x00-\x1f\x7f-\x9f]*\Z", re.IGNORECASE)
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?\Z")

_MILLISECONDS_FROM: Final = 100_000_000_000
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC).timestamp()


def as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else NO_OBJECT


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def as_text(value: object, longest: int) -> str | None:
    """A storable text of up to `longest` characters. None if it is empty or not a string."""
    if not isinstance(value, str) or not value:
        return None
    # Two surrogates may make one character: cut generously first, to bound the work, and exactly afterwards.
    value = value[: 2 * longest + 2]
    if not value.isascii() and _SURROGATE.search(value):
        value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return cut(value, longest)


def as_name(value: object) -> str | None:
    """A person's, group's or file's name, on one line."""
    text = as_text(value, MAX_NAME)
    return (clean_name(text) or None) if text is not None else None


def as_id(value: object) -> str | None:
    """A chatId, messageId or person's id that is valid in the contract, or None."""
    text = as_text(value, MAX_ID + 1)
    if text is None or len(text) > MAX_ID or text in (".", "..") or _CONTROL.search(text):
        return None
    return text


def as_url(value: object) -> str | None:
    text = as_text(value, MAX_URL + 1)
    return text if text is not None and len(text) <= MAX_URL and _URL.match(text) else None


def as_number(value: object) -> int | float | None:
    """A number, a number in a string, or protobuf.js's Long: `{"low", "high", "unsigned"}` with signed halves."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if abs(value) <= MAX_INTEGER else None  # neither NaN nor infinite
    if isinstance(value, str):
        if not _NUMBER.match(value):
            return None
        return float(value) if "." in value else int(value)
    if isinstance(value, dict):
        low, high = value.get("low"), value.get("high", 0)
        if isinstance(low, bool) or isinstance(high, bool) or not isinstance(low, int) or not isinstance(high, int):
            return None
        number = (high & 0xFFFFFFFF) << 32 | (low & 0xFFFFFFFF)
        return number - (1 << 64) if number >> 63 and value.get("unsigned") is not True else number
    return None


def as_flag(value: object) -> bool | None:
    """A boolean, also as a string or as 1 and 0. None for other values."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower())
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else None


def as_count(value: object) -> int | None:
    """A non-negative integer that every client can read."""
    number = as_number(value)
    return int(number) if number is not None and 0 <= number <= MAX_INTEGER else None


def as_time(value: object, now: datetime) -> datetime:
    """Epoch seconds or milliseconds as an aware time, cut to milliseconds. `now` for invalid values."""
    return as_known_time(value) or to_milliseconds(now.astimezone(UTC))


def as_known_time(value: object) -> datetime | None:
    """The same, but None for invalid values."""
    number = as_number(value)
    if number is not None and number >= _MILLISECONDS_FROM:
        number = number / 1000 if number < _LATEST * 1000 else None
    if number is None or not 0 < number < _LATEST:
        return None
    return to_milliseconds(datetime.fromtimestamp(number, UTC))
