"""Commands that report the outcome of a delivery attempt, and release the copies that waited for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar

from app.domain.aliases import People
from app.domain.commands import NOTHING
from app.domain.copies import mark_sent
from app.domain.deliveries import RETRY_SECONDS, UNKNOWN_OUTCOME, Delivery, Report
from app.domain.known import Touched
from app.domain.ledger import Ledger
from app.domain.models import Alias, Message
from app.domain.sending import release, touch_sent


@dataclass(frozen=True, slots=True)
class ReportDelivery:
    """The outcome of an attempt. If the lease was lost, the report counts only if the message was sent.

    `jitter`: from 0 to 1, part of the delay of the next attempt. `holder`: the server that delivers the chat's next
    message.
    """

    alone: ClassVar[bool] = False
    delivery: Delivery
    """The delivery when the attempt started."""
    report: Report
    jitter: float = 0.0
    holder: str | None = None
    size: int = 512
    aliases: Sequence[Alias] = NOTHING

    def addresses(self) -> Iterable[str]:
        return (self.delivery.chat_id,)

    def touch(self, people: People, touched: Touched) -> None:
        names = people.all_names(self.delivery.chat_id)
        touched.chats.update(names)
        touched.deliveries.update(names)
        for one in (self.delivery.message_id, self.report.provider_id):
            if one is not None:
                touched.messages.update((name, one) for name in names)

    def apply(self, ledger: Ledger) -> None:
        message = ledger.find(self.delivery.chat_id, self.delivery.message_id)
        delivery = ledger.deliveries.get(self.delivery.id)
        current = delivery is not None and delivery.state == "sending" and delivery.attempt == self.delivery.attempt
        if message is None or (not current and self.report.state != "sent"):
            return
        names = ledger.names_of(self.delivery.chat_id)
        if self.report.state == "retry" and delivery is not None and delivery.attempt <= len(RETRY_SECONDS):
            self._put_off(ledger, delivery)
            return
        if self.report.state == "sent":
            mark_sent(ledger, message, self.report.provider_id)
            if delivery is not None:
                ledger.deliveries.end(replace(delivery, state="sent", held=()), names, ledger.now, self.holder)
        elif delivery is not None:
            self._fail(ledger, message, delivery)
        if delivery is not None:
            release(ledger, delivery.held)

    def _put_off(self, ledger: Ledger, delivery: Delivery) -> None:
        wait = RETRY_SECONDS[delivery.attempt - 1]
        wait = max(wait * (1 + 0.2 * self.jitter), self.report.retry_seconds)
        ledger.deliveries.put(
            replace(
                delivery,
                state="waiting",
                next_at=ledger.now + timedelta(seconds=wait),
                lease=None,
                error=self.report.error,
            )
        )

    def _fail(self, ledger: Ledger, message: Message, delivery: Delivery) -> None:
        unknown = self.report.state == "unknown"
        error = UNKNOWN_OUTCOME if unknown else self.report.error
        if message.status in ("pending", "sent"):
            ledger.change(message, replace(message, status="failed", error=error))
        ended = replace(delivery, state="unknown" if unknown else "failed", error=error, held=())
        ledger.deliveries.end(ended, ledger.names_of(delivery.chat_id), ledger.now, self.holder)


@dataclass(frozen=True, slots=True)
class ReleaseCopies:
    """Copies have waited long enough for this delivery's report. A copy with the same content counts as the message.

    `again`: the delivering server is gone; the delivery is due again, unless a copy shows that it was sent.
    """

    alone: ClassVar[bool] = False
    delivery: Delivery
    again: bool = False
    size: int = 512
    aliases: Sequence[Alias] = NOTHING

    def addresses(self) -> Iterable[str]:
        return (self.delivery.chat_id,)

    def touch(self, people: People, touched: Touched) -> None:
        touch_sent(self.delivery.chat_id, self.delivery.message_id, people, touched)

    def apply(self, ledger: Ledger) -> None:
        delivery = ledger.deliveries.get(self.delivery.id)
        if delivery is None or not delivery.held:
            return
        ledger.deliveries.put(replace(delivery, held=()))
        release(ledger, delivery.held, delivery)
        after = ledger.deliveries.get(delivery.id)
        if self.again and after is not None and after.state == "sending" and after.attempt == self.delivery.attempt:
            ledger.deliveries.put(replace(after, state="waiting", next_at=ledger.now, lease=None))
