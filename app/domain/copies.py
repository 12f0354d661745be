"""Matches a provider's copies of sent messages with the messages, so that they are not shown twice.

- A copy is recognized by the id the provider gave our message. Until the delivery attempt has reported that id, our own
  messages that come in the same chat wait with the delivery, for `HOLD_SECONDS` at most.
- If the outcome of an attempt is unknown, a copy with the same content that comes soon after it counts as the message:
  it shows that the message was sent.
- Other messages were written on another device, and are stored as messages of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from app.domain.changes import apply_update
from app.domain.deliveries import COPY_WITHIN, MAX_HELD, UNKNOWN_OUTCOME, Delivery, digest
from app.domain.incoming import IncomingUpdate, Parked
from app.domain.models import IncomingMessage, Message, MessageResult

if TYPE_CHECKING:
    from app.domain.ledger import Ledger


def take_copy(ledger: Ledger, incoming: IncomingMessage, *, holds: bool) -> MessageResult | None:
    """Handle a message of our own with an unknown id. Returns None if it is not a copy.

    `holds`: whether it may wait for a report.
    """
    names = ledger.names_of(incoming.chat_id)
    for delivery in ledger.deliveries.of(names, "sending", "waiting") if holds else ():
        # Deliveries started by this batch have sent nothing yet, so there are no copies of them.
        if delivery.attempt and ledger.deliveries.was_open(delivery.id) and len(delivery.held) < MAX_HELD:
            held = {copy.message_id for copy in delivery.held}
            if incoming.message_id not in held:
                ledger.deliveries.put(replace(delivery, held=(*delivery.held, incoming)))
            return MessageResult(incoming.message_id, None, duplicate=incoming.message_id in held)
    for delivery in ledger.deliveries.of(names, "unknown"):
        soon = delivery.ended_at is not None and ledger.now - delivery.ended_at < COPY_WITHIN
        if soon and (result := join(ledger, incoming, delivery)):
            return result
    return None


def mark_sent(ledger: Ledger, message: Message, provider_id: str | None, copy: IncomingMessage | None = None) -> None:
    """The provider accepted the message under this id. Updates that wait under the id are applied."""
    after = message
    if provider_id is not None and provider_id != message.message_id and provider_id not in message.provider_ids:
        after = replace(after, provider_ids=(*message.provider_ids, provider_id))
    if after.status == "pending" or (after.status == "failed" and after.error == UNKNOWN_OUTCOME):
        after = replace(after, status="sent", error=None)
    if copy is not None and copy.status != "received":
        told = Parked(IncomingUpdate(message.message_id, message.chat_id, status=copy.status), ledger.now)
        after = apply_update(after, told, ledger.aliases.name, keep_deleted=ledger.keep_deleted)
    names = ledger.names_of(message.chat_id)
    for parked in [*ledger.parked(provider_id)] if provider_id is not None else []:
        if parked.update.chat_id is None or parked.update.chat_id in names:
            after = apply_update(after, parked, ledger.aliases.name, keep_deleted=ledger.keep_deleted)
            ledger.unpark(parked)
    if replace(after, provider_ids=message.provider_ids) != message:
        ledger.change(message, after)
    elif after != message:
        ledger.put_message(message, after)


def join(ledger: Ledger, copy: IncomingMessage, delivery: Delivery) -> MessageResult | None:
    """Join the copy with this delivery's message if it has the same content."""
    if digest(copy.text, copy.media) != delivery.digest:
        return None
    message = ledger.find(delivery.chat_id, delivery.message_id)
    if message is None:
        return None
    mark_sent(ledger, message, copy.message_id, copy)
    names = ledger.names_of(delivery.chat_id)
    ledger.deliveries.end(replace(delivery, state="sent", held=(), error=None), names, ledger.now, None)
    return MessageResult(copy.message_id, message.seq, duplicate=True)
