"""WAHA's ids and acknowledgements."""

from __future__ import annotations

from typing import Final, NamedTuple

from app.domain.models import MessageStatus
from app.providers.values import as_id, as_number, as_text
from app.providers.words import Node

_ACKS: Final[dict[object, MessageStatus]] = {
    -1: "failed",
    0: "pending",
    1: "sent",
    2: "delivered",
    3: "read",
    4: "played",
    "ERROR": "failed",
    "PENDING": "pending",
    "SERVER": "sent",
    "DEVICE": "delivered",
    "READ": "read",
    "PLAYED": "played",
}


class WahaId(NamedTuple):
    message_id: str | None
    chat: str | None
    from_me: bool | None
    participant: str | None


def read_id(value: object) -> WahaId:
    """Parse `false_123@g.us_AAA_111@c.us`, the bare `AAA`, or a WEBJS object with the id as `_serialized`."""
    if isinstance(value, dict):
        value = value.get("_serialized") or value.get("id")
    text = as_text(value, 1_024)
    if text is None:
        return WahaId(None, None, None, None)
    direction, _, rest = text.partition("_")
    if direction not in ("true", "false") or "@" not in rest:
        return WahaId(as_id(text), None, None, None)
    chat, _, rest = rest.partition("_")
    message_id, _, participant = rest.partition("_")
    return WahaId(as_id(message_id), chat, direction == "true", participant or None)


def ack_of(node: Node) -> MessageStatus | None:
    word = node.get("ackName")
    known = _ACKS.get(word.upper()) if isinstance(word, str) else None
    number = as_number(node.get("ack"))
    return known or (_ACKS.get(number) if number is not None else None)
