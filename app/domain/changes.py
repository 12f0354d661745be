"""What an update makes of a message: pure functions of the message and the update.

The rules do not depend on the order in which updates come, nor on how often one comes: each part of a message keeps the
update that is greatest by an order of its own, as a rule by the update's time. Of two that are equal by it and still
differ, one is chosen by what it says, so that all orders end the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from app.domain.graphemes import cut
from app.domain.incoming import IncomingUpdate, Parked, ReactionChange, Receipt
from app.domain.models import (
    PREVIEW_LENGTH,
    LastMessage,
    Message,
    MessageError,
    MessageStatus,
    Reaction,
    ReceiptStatus,
    kind_of,
)

_FOLLOWS: Final[dict[MessageStatus, frozenset[MessageStatus]]] = {
    "pending": frozenset({"sent", "delivered", "read", "played", "failed"}),
    "sent": frozenset({"delivered", "read", "played", "failed"}),
    "failed": frozenset({"delivered", "read", "played"}),
    "delivered": frozenset({"read", "played"}),
    "read": frozenset({"played"}),
}
"""Which status may follow which. `received`, the status of others' messages, is followed by none."""

_RECEIPTS: Final[dict[ReceiptStatus, int]] = {"delivered": 1, "read": 2, "played": 3}


def is_receipt(update: IncomingUpdate) -> bool:
    """Whether it tells only how far the message has come. Several of one batch make one event."""
    return update.text is None and not update.deleted and update.reaction is None and not update.nothing_to_read


def apply_update(message: Message, parked: Parked, name: Callable[[str], str], *, keep_deleted: bool) -> Message:
    """The message after the update; the same object where nothing changes. `name` gives a person's known address."""
    update, time = parked.update, parked.update.timestamp or parked.received_at
    timed = update.timestamp is not None
    after = message
    if update.text is not None:
        after = _edited(after, update.text, time, timed=timed, keep_deleted=keep_deleted)
    if update.reaction is not None:
        after = _reacted(after, update.reaction, time, name, timed=timed, keep_deleted=keep_deleted)
    if update.deleted:
        after = _deleted(after, time, timed=timed, keep_deleted=keep_deleted)
    if update.nothing_to_read:
        after = _without_anything_to_read(after, time, timed=timed)
    if after.nothing_to_read and after.has_content:
        after = replace(after, deleted_at=None, nothing_to_read=False)
    status = update.status or ("failed" if update.error else None)
    if status is not None:
        after = _with_status(after, status, update.error)
    if update.receipt is not None:
        after = _received(after, update.receipt, name)
    return after


def without_content(message: Message) -> Message:
    """What is left of a deleted message: its place, type and sender."""
    return replace(message, text=None, media=None, reply_to=None, reactions=(), edited_at=None)


def moved(message: Message, chat_id: str) -> Message:
    """The message in the chat of the known address, where it came under a hidden one. People's addresses follow."""
    old = message.chat_id

    def name(address: str) -> str:
        return chat_id if address == old else address

    reply_to = message.reply_to
    if reply_to and reply_to.sender_id == old:
        reply_to = replace(reply_to, sender_id=chat_id)
    return replace(
        message,
        chat_id=chat_id,
        sender=replace(message.sender, id=name(message.sender.id)),
        reply_to=reply_to,
        reactions=[replace(one, sender=replace(one.sender, id=name(one.sender.id))) for one in message.reactions],
        came_as=old,
    )


def renamed(message: Message, old: str, new: str) -> Message:
    """The message where two addresses have become one person's: one receipt and one reaction of that person."""
    people: dict[str, ReceiptStatus] = {}
    for one, status in message.people.items():
        person = new if one == old else one
        before = people.get(person)
        if before is None or _RECEIPTS[status] > _RECEIPTS[before]:
            people[person] = status
    reactions: list[Reaction] = []
    for reaction in message.reactions:
        if reaction.sender.id == old:
            reaction = replace(reaction, sender=replace(reaction.sender, id=new))
        twin = next((one for one in reactions if one.sender.id == reaction.sender.id), None)
        if twin is None:
            reactions.append(reaction)
        elif _rank(reaction) > _rank(twin):
            reactions[reactions.index(twin)] = reaction
    return replace(message, people=people, reactions=sorted(reactions, key=_by_time))


def _takes_changes(message: Message, time: datetime, *, timed: bool, keep_deleted: bool) -> bool:
    """What was deleted is not changed any more; what is kept of it is, by what was told to have been before."""
    if message.deleted_at is None or message.nothing_to_read:
        return True
    return keep_deleted and timed and time < message.deleted_at


def _edited(message: Message, text: str, time: datetime, *, timed: bool, keep_deleted: bool) -> Message:
    if not _takes_changes(message, time, timed=timed, keep_deleted=keep_deleted):
        return message
    if message.edited_at is not None:
        if not timed and message.text == text:
            return message  # a repeat, of which we do not know the time
        if (time, text) <= (message.edited_at, message.text or "") and (timed or time < message.edited_at):
            return message
    return replace(message, text=text or None, edited_at=time)


def _deleted(message: Message, time: datetime, *, timed: bool, keep_deleted: bool) -> Message:
    if message.deleted_at is not None and not message.nothing_to_read and (not timed or time <= message.deleted_at):
        return message
    deleted = replace(message, deleted_at=time, nothing_to_read=False)
    return deleted if keep_deleted else without_content(deleted)


def _without_anything_to_read(message: Message, time: datetime, *, timed: bool) -> Message:
    if message.has_content or (message.deleted_at is not None and not message.nothing_to_read):
        return message
    if message.deleted_at is not None and (not timed or time <= message.deleted_at):
        return message
    return replace(message, deleted_at=time, nothing_to_read=True)


def _reacted(
    message: Message,
    change: ReactionChange,
    time: datetime,
    name: Callable[[str], str],
    *,
    timed: bool,
    keep_deleted: bool,
) -> Message:
    if not _takes_changes(message, time, timed=timed, keep_deleted=keep_deleted):
        return message
    sender = replace(change.sender, id=name(change.sender.id))
    new = Reaction(sender, change.from_me, change.emoji or None, time)
    others = []
    for one in message.reactions:
        if not (one.from_me and new.from_me) and one.sender.id != sender.id:
            others.append(one)
            continue
        if not timed and one.emoji == new.emoji:
            return message
        if _rank(new) <= _rank(one) and (timed or time < one.timestamp):
            return message
    if new.emoji is None and not timed and len(others) == len(message.reactions):
        return message  # nothing stands that could be taken back
    return replace(message, reactions=sorted([*others, new], key=_by_time))


def _by_time(reaction: Reaction) -> tuple[datetime, str]:
    return reaction.timestamp, reaction.sender.id


def _rank(reaction: Reaction) -> tuple[datetime, bool, str]:
    return reaction.timestamp, reaction.emoji is None, reaction.emoji or ""


def _with_status(message: Message, status: MessageStatus, error: MessageError | None) -> Message:
    if status == "failed" and message.status == "failed":
        # Reasons have no time that we know: the greater one stays, whichever came first.
        stands = message.error
        if error is not None and (stands is None or (error.code, error.title) > (stands.code, stands.title)):
            return replace(message, error=error)
        return message
    if status not in _FOLLOWS.get(message.status, ()):
        return message
    return replace(message, status=status, error=error if status == "failed" else None)


def _received(message: Message, receipt: Receipt, name: Callable[[str], str]) -> Message:
    if not message.from_me:
        return message
    if kind_of(message.chat_id) != "group":
        return _with_status(message, receipt.status, None)
    # One person of a group does not speak for the others: for the message it means that it has been delivered.
    message = _with_status(message, "delivered", None)
    by = name(receipt.by)
    before = message.people.get(by)
    if before is not None and _RECEIPTS[before] >= _RECEIPTS[receipt.status]:
        return message
    return replace(message, people={**message.people, by: receipt.status})


def preview(message: Message) -> LastMessage:
    """What the chat list shows of a message."""
    text = message.text
    return LastMessage(
        message_id=message.message_id,
        type=message.type,
        text=text if text is None else cut(text, PREVIEW_LENGTH),
        from_me=message.from_me,
        sender_name=message.sender.name,
        timestamp=message.timestamp,
        deleted_at=message.deleted_at,
    )
