"""Baileys' statuses as numbers and as strings."""

from __future__ import annotations

from typing import Final

from app.domain.models import MessageStatus
from app.providers.values import as_number

_STATUSES: Final[dict[object, MessageStatus]] = {
    0: "failed",
    1: "pending",
    2: "sent",
    3: "delivered",
    4: "read",
    5: "played",
    "ERROR": "failed",
    "PENDING": "pending",
    "SERVER_ACK": "sent",
    "DELIVERY_ACK": "delivered",
    "READ": "read",
    "PLAYED": "played",
}


def as_status(value: object) -> MessageStatus | None:
    known = _STATUSES.get(value.strip().upper()) if isinstance(value, str) else None
    return known or _STATUSES.get(as_number(value))
