"""Deliveries of agents' messages to providers, and their states.

- An agent's message is stored together with its delivery. The delivery ends as `sent`, `failed` or `cancelled`. Until
  then it is open, and survives the failure of any server.
- The open deliveries of a chat are made one after another, in order. Only the first one has a `next_at`.
- The server that makes a delivery holds a lease. When the lease has expired, the delivery is due again, on any server.
- If the outcome of an attempt is unknown, the delivery becomes `unknown`: the next one may start, and this one stays
  open for the provider's copy of the message, which would show that it was sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from app.domain.models import CANCELLED as CANCELLED_CODE
from app.domain.models import IncomingMessage, Media, MessageError

DeliveryState = Literal["waiting", "sending", "unknown", "sent", "failed", "cancelled"]

RETRY_SECONDS: Final = (1.0, 5.0, 15.0, 60.0, 300.0)
"""Delays after temporarily failed attempts. After the last attempt the message has failed."""
LEASE: Final = timedelta(seconds=45)
"""Time limit for one attempt. Every sender gives up before that."""
HOLD_SECONDS: Final = 30.0
"""How long a copy waits for the report that says which message it belongs to."""
COPY_WITHIN: Final = timedelta(minutes=10)
"""How long after an attempt with an unknown outcome a copy with the same content counts as that message."""
UNTAKEN: Final = timedelta(minutes=10)
"""How long a delivery may be due before it fails because nobody has made it."""
KEPT_DAYS: Final = 7
"""How long ended deliveries are kept."""
MAX_OPEN: Final = 100
"""Maximum number of waiting deliveries of one chat."""
MAX_HELD: Final = 20
"""Maximum number of copies that wait for one report; more are stored at once."""

CANCELLED: Final = MessageError(CANCELLED_CODE, "Cancelled before it was sent.")
UNKNOWN_OUTCOME: Final = MessageError(
    "unknown_outcome",
    "The connection broke while this was being sent. It may have arrived: check before sending again.",
)
NOT_CONNECTED: Final = MessageError("not_connected", "Nothing is connected that could send this message.")


@dataclass(frozen=True, slots=True)
class Lease:
    """The holder of a delivery, and until when."""

    holder: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    id: str
    session_id: str
    chat_id: str
    """The chat at the time of the order. A merge may have moved the message since."""
    message_id: str
    order: int
    """Its place in the chat's queue: a number of the session, taken at each order."""
    state: DeliveryState
    created_at: datetime
    digest: str
    """A digest of the message's content, to recognize a copy."""
    attempt: int = 0
    next_at: datetime | None = None
    """When it is due. While an attempt is being made: when the lease expires."""
    lease: Lease | None = None
    ended_at: datetime | None = None
    error: MessageError | None = None
    held: Sequence[IncomingMessage] = ()
    """Our own messages that came during the attempt. One of them may be the provider's copy."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one attempt.

    `retry`: it failed temporarily; `failed`: it cannot succeed; `unknown`: it may have been sent, and only a person may
    repeat it. `provider_id`: the provider's id of the message, None if it is ours. `retry_seconds`: the minimum delay
    requested by the provider.
    """

    state: Literal["sent", "retry", "failed", "unknown"]
    provider_id: str | None = None
    error: MessageError | None = None
    retry_seconds: float = 0.0


def delivery_id(session_id: str, message_id: str) -> str:
    """An id that is the same for all attempts and for retries by a person."""
    return "dlv_" + hashlib.sha256(f"{session_id}\0{message_id}".encode()).hexdigest()[:24]


def digest(text: str | None, media: Media | None) -> str:
    """A digest of what a message has in common with the provider's copy: the text, and whether there is a file."""
    content = f"{' '.join((text or '').split())}\0{media is not None}"
    return hashlib.sha256(content.encode(errors="replace")).hexdigest()[:24]


class Deliveries:
    """The open deliveries of the chats that a batch touches, while the batch is applied."""

    def __init__(self, known: Sequence[Delivery], changed: dict[str, Delivery]) -> None:
        """`changed` collects new and changed deliveries by id."""
        self._open = {one.id: one for one in known}
        self._before = frozenset(self._open)
        self._changed = changed

    def get(self, id_: str) -> Delivery | None:
        return self._open.get(id_)

    def was_open(self, id_: str) -> bool:
        """Whether it was open before the batch."""
        return id_ in self._before

    def of(self, chat_ids: Collection[str], *states: DeliveryState) -> list[Delivery]:
        """The deliveries of these chats, in order; only those in these states if any are given."""
        found = (d for d in self._open.values() if d.chat_id in chat_ids and (not states or d.state in states))
        return sorted(found, key=lambda one: one.order)

    def put(self, delivery: Delivery) -> None:
        self._open[delivery.id] = self._changed[delivery.id] = delivery

    def order(self, delivery: Delivery, chat_ids: Collection[str], now: datetime, holder: str | None) -> None:
        """Add a delivery after the open ones of its chat. `holder`: the server that starts at once if it is the
        first."""
        self.put(delivery)
        self.move_on(chat_ids, now, holder)

    def end(self, delivery: Delivery, chat_ids: Collection[str], now: datetime, holder: str | None) -> None:
        """A delivery has ended, or its outcome is unknown: the chat's next one is due."""
        ended = replace(delivery, next_at=None, lease=None, ended_at=now)
        self.put(ended)
        if ended.state != "unknown":
            del self._open[ended.id]
        self.move_on(chat_ids, now, holder)

    def move_on(self, chat_ids: Collection[str], now: datetime, holder: str | None) -> None:
        """Make the chat's first delivery due, or start it, if none is."""
        waiting = self.of(chat_ids, "waiting", "sending")
        if not waiting or any(one.next_at is not None for one in waiting):
            return
        first = waiting[0]
        self.put(begun(first, now, holder) if holder is not None else replace(first, next_at=now))


def begun(delivery: Delivery, now: datetime, holder: str) -> Delivery:
    """The delivery with its next attempt started."""
    until = now + LEASE
    return replace(
        delivery, state="sending", attempt=delivery.attempt + 1, next_at=until, lease=Lease(holder, until), error=None
    )
