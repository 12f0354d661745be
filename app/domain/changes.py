"""Applies updates to messages: pure functions of a message and an update.

The result does not depend on the order in which updates come, or on repeats: each part of a message keeps the greatest
update in an order of its own, usually by time. If two different updates are equal in that order, their content
decides, so that all orders give the same result.
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
    Chat,
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
"""The statuses that may follow each status. `received`, the status of others' messages, never changes."""

_RECEIPTS: Final[dict[ReceiptStatus, int]] = {"delivered": 1, "read": 2, "played": 3}


def is_receipt(update: IncomingUpdate) -> bool:
    """Whether the update is only a status or receipt. Several of these in one batch make one event."""
    return update.text is None and not update.deleted and update.reaction is None and not update.nothing_to_read


def apply_update(message: Message, parked: Parked, name: Callable[[str], str], *, keep_deleted: bool) -> Message:
    """The message after the update, or the same object if nothing changes. `name` returns a person's known address."""
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
    """What remains of a deleted message: its place, type and sender."""
    return replace(message, text=None, media=None, reply_to=None, reactions=(), edited_at=None)


def moved(message: Message, chat_id: str) -> Message:
    """A message that came under a hidden address, moved to the chat of the known address, with people's addresses
    replaced."""
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
    """The message after two addresses proved to be one person's: with one receipt and one reaction of that person."""
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
    """A deleted message does not change any more, except by updates from before its deletion if its content is kept."""
    if message.deleted_at is None or message.nothing_to_read:
        return True
    return keep_deleted and timed and time < message.deleted_at


def _edited(message: Message, text: str, time: datetime, *, timed: bool, keep_deleted: bool) -> Message:
    if not _takes_changes(message, time, timed=timed, keep_deleted=keep_deleted):
        return message
    if message.edited_at is not None:
        if not timed and message.text == text:
            return message  # a repeat with an unknown time
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
        return message  # there is no reaction to remove
    return replace(message, reactions=sorted([*others, new], key=_by_time))


def _by_time(reaction: Reaction) -> tuple[datetime, str]:
    return reaction.timestamp, reaction.sender.id


def _rank(reaction: Reaction) -> tuple[datetime, bool, str]:
    return reaction.timestamp, reaction.emoji is None, reaction.emoji or ""


def _with_status(message: Message, status: MessageStatus, error: MessageError | None) -> Message:
    if status == "failed" and message.status == "failed":
        # Reasons have no time: the greater one is kept, whichever came first.
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
    # One member of a group does not stand for all: for the message, it means delivered.
    message = _with_status(message, "delivered", None)
    by = name(receipt.by)
    before = message.people.get(by)
    if before is not None and _RECEIPTS[before] >= _RECEIPTS[receipt.status]:
        return message
    return replace(message, people={**message.people, by: receipt.status})


def preview(message: Message) -> LastMessage:
    """The part of a message that the chat list shows."""
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


def ending_with(chat: Chat, last: Message) -> Chat:
    """The chat with this as its last message."""
    chat = replace(chat, last_message=preview(last))
    if last.type == "system":
        return chat
    return replace(
        chat, answered=last.from_me, waiting_since=None if last.from_me else chat.waiting_since or last.timestamp
    )
