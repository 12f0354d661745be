"""Orders to deliver a message of ours, and what becomes of them.

- A message that an agent sends is stored together with its delivery. The delivery ends as `sent`, `failed` or
  `cancelled`; until then it is open, and no other server forgets it, whatever dies.
- The open deliveries of a chat go one after another, in the order in which they were given. Only the first of them has
  a `next_at`; those behind it wait without a time.
- Who delivers has a lease. When it has run out, the delivery is due again, and any server may take it.
- An attempt whose outcome is not known ends the delivery as `unknown`: it makes room for the next one, and stays open
  for the provider's copy of the message, which would tell that it was sent.
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
"""How long after each attempt that failed for now the next one comes. After the last one the message has failed."""
LEASE: Final = timedelta(seconds=45)
"""How long one attempt may take. Every way out gives up before that."""
HOLD_SECONDS: Final = 30.0
"""How long a copy of a message waits for the report that tells which message it is."""
COPY_WITHIN: Final = timedelta(minutes=10)
"""How long after an attempt with an unknown outcome a copy of the same content is taken for that message."""
UNTAKEN: Final = timedelta(minutes=10)
"""How long a delivery may be due before it fails because nobody has taken it."""
KEPT_DAYS: Final = 7
"""How long ended deliveries are kept."""
MAX_OPEN: Final = 100
"""Deliveries of one chat that may wait."""
MAX_HELD: Final = 20
"""Copies that wait for one report; others are stored at once."""

CANCELLED: Final = MessageError(CANCELLED_CODE, "Cancelled before it was sent.")
UNKNOWN_OUTCOME: Final = MessageError(
    "unknown_outcome",
    "The connection broke while this was being sent. It may have arrived: check before sending again.",
)
NOT_CONNECTED: Final = MessageError("not_connected", "Nothing is connected that could send this message.")


@dataclass(frozen=True, slots=True)
class Lease:
    """Who is delivering, and until when nobody else may."""

    holder: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    id: str
    session_id: str
    chat_id: str
    """The chat when the delivery was ordered. Its message may have moved since, by a merge."""
    message_id: str
    order: int
    """Its place in its chat: a number of the session, given when it was ordered or ordered again."""
    state: DeliveryState
    created_at: datetime
    digest: str
    """Of the message's content, to know a copy by."""
    attempt: int = 0
    next_at: datetime | None = None
    """When it is due. While it is under way: when the lease runs out."""
    lease: Lease | None = None
    ended_at: datetime | None = None
    error: MessageError | None = None
    held: Sequence[IncomingMessage] = ()
    """Messages of ours that came while this one was under way: one of them may be the provider's copy of it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one attempt.

    `retry`: it failed for now; `failed`: it will not succeed; `unknown`: it may have been sent, and only a person may
    repeat it. `provider_id`: the provider's name of the message, None where it is ours. `retry_seconds`: how long the
    provider asks us to wait at least.
    """

    state: Literal["sent", "retry", "failed", "unknown"]
    provider_id: str | None = None
    error: MessageError | None = None
    retry_seconds: float = 0.0


def delivery_id(session_id: str, message_id: str) -> str:
    """The same at each attempt, and in each retry by a person."""
    return "dlv_" + hashlib.sha256(f"{session_id}\0{message_id}".encode()).hexdigest()[:24]


def digest(text: str | None, media: Media | None) -> str:
    """Of what a provider's copy of a message has in common with it: the words, and whether there is a file."""
    content = f"{' '.join((text or '').split())}\0{media is not None}"
    return hashlib.sha256(content.encode(errors="replace")).hexdigest()[:24]


class Deliveries:
    """The open deliveries of the chats that a batch touches, while it is applied."""

    def __init__(self, known: Sequence[Delivery], changed: dict[str, Delivery]) -> None:
        """`changed` gets those that are new or changed, by id."""
        self._open = {one.id: one for one in known}
        self._changed = changed

    def get(self, id_: str) -> Delivery | None:
        return self._open.get(id_)

    def of(self, chat_ids: Collection[str], *states: DeliveryState) -> list[Delivery]:
        """Those of these chats, in their order; of these states where any are named."""
        found = (d for d in self._open.values() if d.chat_id in chat_ids and (not states or d.state in states))
        return sorted(found, key=lambda one: one.order)

    def put(self, delivery: Delivery) -> None:
        self._open[delivery.id] = self._changed[delivery.id] = delivery

    def order(self, delivery: Delivery, chat_ids: Collection[str], now: datetime, holder: str | None) -> None:
        """Put a delivery behind the open ones of its chat. `holder`: who begins at once where it is the first."""
        self.put(delivery)
        self.move_on(chat_ids, now, holder)

    def end(self, delivery: Delivery, chat_ids: Collection[str], now: datetime, holder: str | None) -> None:
        """A delivery has come to an end, or to an unknown outcome: the chat's next one is due."""
        ended = replace(delivery, next_at=None, lease=None, ended_at=now)
        self.put(ended)
        if ended.state != "unknown":
            del self._open[ended.id]
        self.move_on(chat_ids, now, holder)

    def move_on(self, chat_ids: Collection[str], now: datetime, holder: str | None) -> None:
        """Make the first of the chat due, or begin it, where none is."""
        waiting = self.of(chat_ids, "waiting", "sending")
        if not waiting or any(one.next_at is not None for one in waiting):
            return
        first = waiting[0]
        self.put(begun(first, now, holder) if holder is not None else replace(first, next_at=now))


def begun(delivery: Delivery, now: datetime, holder: str) -> Delivery:
    """The delivery with its next attempt under way."""
    until = now + LEASE
    return replace(
        delivery, state="sending", attempt=delivery.attempt + 1, next_at=until, lease=Lease(holder, until), error=None
    )
