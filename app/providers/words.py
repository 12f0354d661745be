"""Assembles the text of a message (lines, bullets, amounts) and previews from thumbnails."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, cast

from app.domain.models import MAX_NAME, MAX_PREVIEW_BYTES, MAX_TEXT
from app.providers.values import as_count, as_dict, as_known_time, as_list, as_number, as_text

MAX_ITEMS: Final = 100
"""Maximum number of options, buttons, contacts … shown of one message."""

Node = dict[str, Any]

_CURRENCY_LENGTH: Final = 3
_MAGIC: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
)


def lines(*parts: object) -> str | None:
    """The texts in `parts`, one per line, without repeats in a row and blank lines."""
    texts: list[str] = []
    for part in parts:
        text = as_text(part, MAX_TEXT)
        if text and not text.isspace() and (not texts or texts[-1] != text):
            texts.append(text)
    return as_text("\n".join(texts), MAX_TEXT)


def first(node: Node, *names: str, longest: int = MAX_TEXT) -> str | None:
    """The first of these fields with text."""
    return next((text for name in names if (text := as_text(node.get(name), longest))), None)


def items(values: object, text_of: Callable[[Node], object]) -> Iterable[str]:
    for value in as_list(values)[:MAX_ITEMS]:
        text = as_text(text_of(as_dict(value)), MAX_NAME)
        if text is not None:
            yield f"• {text}"


def row(*parts: object) -> str | None:
    """Several short texts as one line."""
    return " – ".join(text for part in parts if (text := as_text(part, MAX_NAME))) or None


def amount(currency: object, thousandths: object) -> str | None:
    """`BRL 12.50`, from an amount in thousandths."""
    number = as_number(thousandths)
    return _money(currency, number / 1000) if number is not None and abs(number) < 2**53 else None


def amount_of(currency: object, value: object) -> str | None:
    """The same, from `{"value": 1250, "offset": 100}` (or `offset` 1000), or from a plain number."""
    node = as_dict(value)
    number = as_number(node.get("value")) if node else as_number(value)
    offset = as_number(node.get("offset")) or 1
    return _money(currency, number / offset) if number is not None and abs(number) < 2**53 and offset > 0 else None


def _money(currency: object, number: float) -> str:
    code = as_text(currency, _CURRENCY_LENGTH)
    return f"{code} {number:.2f}" if code else f"{number:.2f}"


def time_line(label: str, value: object) -> str | None:
    moment = as_known_time(value)
    return f"{label}: {clock(moment)}" if moment else None


def clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def counted(number: object, one: str, several: str) -> str | None:
    count = as_count(number)
    return None if not count else f"1 {one}" if count == 1 else f"{count} {several}"


def preview_of(value: object) -> str | None:
    """A thumbnail as a `data:` URL, if it is a picture of at most MAX_PREVIEW_BYTES. Its bytes may come in many
    forms."""
    data = _bytes(value)
    if data is None:
        return None
    kind = next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "image/webp"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}" if kind else None


def _bytes(value: object) -> bytes | None:
    if isinstance(value, dict) and value.get("type") == "Buffer":
        value = value.get("data")
    if isinstance(value, str):
        if len(value) > MAX_PREVIEW_BYTES * 4 // 3 + 64:
            return None
        text = value.partition(",")[2] if value.startswith("data:") else value
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None
        return data if len(data) <= MAX_PREVIEW_BYTES else None
    if isinstance(value, dict | list) and 0 < len(value) <= MAX_PREVIEW_BYTES:
        numbers = value if isinstance(value, list) else [value.get(str(place)) for place in range(len(value))]
        try:
            return bytes(cast(list[int], numbers))
        except (TypeError, ValueError):
            return None
    return None
