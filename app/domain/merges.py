"""Merges chats so that each person has one.

A chat stored under a person's hidden address is merged into the chat of the known address as soon as both are known to
be one person's. This is one event, whatever the size of the chats: the chat of the known address takes over the
counters and lists the other in `also`. The messages follow in steps of MOVE_AT_ONCE, each a transaction in the
session's queue, without events. Meanwhile, reads of the chat include both places.

If an address turns out to belong to another person, later messages follow that; stored ones stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from app.domain.aliases import People
from app.domain.changes import apply_update, is_receipt, moved
from app.domain.events import merged_event
from app.domain.known import Touched
from app.domain.ledger import Ledger
from app.domain.models import Alias, Chat, Message, UpdateResult
from app.domain.renames import rename

MOVE_AT_ONCE: Final = 500
FEW: Final = 100
"""So many messages move with the merge itself, which may be in one transaction with other sessions."""


def learn(ledger: Ledger, alias: Alias) -> None:
    """Learn that two addresses are one person's: merge the chats, and apply updates that waited under the other
    address."""
    news = ledger.learn(alias)
    unite(ledger, alias.lid)
    if news:
        _wake(ledger, alias.lid)
        rename(ledger, alias)


def unite(ledger: Ledger, address: str, message_id: str | None = None) -> None:
    """Make sure that the person has one chat and the message one place, even while other messages are being moved."""
    name, *others = ledger.aliases.all_names(address)
    for other in others:
        if (old := ledger.chat(other)) is not None:
            _merge(ledger, old, name)
    chat = ledger.chat(name)
    if message_id is not None and chat is not None:
        _fetch(ledger, chat, message_id)


def _wake(ledger: Ledger, address: str) -> None:
    """Apply updates that wait under one address of a person for a message stored under another."""
    names = ledger.aliases.all_names(address)
    waiting = {parked.id: parked for parked in ledger.parked_in(names) if parked.id not in ledger.out.unparked}
    waiting |= {one.id: one for one in ledger.out.parked.values() if one.update.chat_id in names}
    chat = ledger.chat(names[0])
    places = (*names, *(chat.also if chat else ()))
    ledger.load({(place, parked.update.message_id) for parked in waiting.values() for place in places})
    for parked in waiting.values():
        message = ledger.find(names[0], parked.update.message_id)
        if message is None:
            continue
        ledger.unpark(parked)
        after = apply_update(message, parked, ledger.aliases.name, keep_deleted=ledger.keep_deleted)
        if after != message:
            result = UpdateResult(message.message_id, "applied")
            ledger.change(message, after, result, quiet=is_receipt(parked.update))


def _fetch(ledger: Ledger, chat: Chat, message_id: str) -> None:
    """Move the message to its chat if it has not been moved yet."""
    for other in chat.also:
        if (message := ledger.message((other, message_id))) is not None:
            _move(ledger, message, chat.chat_id, ledger.message((chat.chat_id, message_id)))


def _merge(ledger: Ledger, old: Chat, chat_id: str) -> None:
    seq = ledger.next_seq()
    told = ledger.contact_names.get(chat_id)
    there = ledger.chat(chat_id)
    unread = old.unread_count + (there.unread_count if there else 0)
    if there is not None and there.read_seq != old.read_seq:
        # What one of them had read is unread by the other's mark.
        lower, higher = sorted((there, old), key=lambda chat: chat.read_seq)
        unread += ledger.count(higher, lower.read_seq, higher.read_seq)
    into = there or replace(old, chat_id=chat_id, name=told or old.name, also=())
    if told is not None:
        into = replace(into, name_given=True)
    newer = old if old.last_seq > into.last_seq else into
    also = [*into.also, *old.also, *((old.chat_id,) if ledger.is_stored(old.chat_id) else ())]
    chat = replace(
        into,
        name=old.name if old.name_given and not into.name_given else into.name or old.name,
        name_given=into.name_given or old.name_given,
        last_message=newer.last_message,
        last_seq=newer.last_seq,
        answered=newer.answered,
        unread_count=unread,
        waiting_since=None
        if newer.answered
        else min((one.waiting_since for one in (old, into) if one.waiting_since is not None), default=None),
        read_seq=min(old.read_seq, into.read_seq),
        assignee=into.assignee or old.assignee,
        state="open" if "open" in (into.state, old.state) else "closed",
        updated_seq=seq,
        updated_at=ledger.now,
        also=also,
    )
    ledger.remove_chat(old.chat_id)
    ledger.put_chat(chat)
    for message in ledger.written_in(chat_id):
        if (twin := ledger.message((old.chat_id, message.message_id))) is not None:
            _move(ledger, twin, chat_id, message)
    for message in ledger.written_in(old.chat_id):
        _fetch(ledger, into, message.message_id)
        _move(ledger, message, chat_id, ledger.message((chat_id, message.message_id)))
    if ledger.is_stored(old.chat_id):
        # Many merges may be in one batch, such as those of an address book.
        room = len(ledger.out.changed_messages) < MOVE_AT_ONCE
        if not (room and _move_all(ledger, old.chat_id, chat_id, FEW)):
            ledger.out.follow_up.append(MoveMessages(old.chat_id, chat_id))
    ledger.out.events.append(merged_event(seq, old.chat_id, ledger.chat(chat_id) or chat, ledger.now))


def _move_all(ledger: Ledger, old: str, chat_id: str, most: int) -> bool:
    """Move all messages that are stored under the old name, unless there are more. Whether that was done."""
    found = ledger.source.oldest(old, most + 1)
    if len(found) > most:
        return False
    _move_these(ledger, found, chat_id)
    chat = ledger.chat(chat_id)
    assert chat is not None, "its caller has put it"
    ledger.put_chat(replace(chat, also=[one for one in chat.also if one != old]))
    return True


def _move_these(ledger: Ledger, found: Sequence[Message], chat_id: str) -> None:
    twins = ledger.source.messages([(chat_id, message.message_id) for message in found])
    for message in found:
        if ledger.is_untouched(message.key):
            key = chat_id, message.message_id
            twin = ledger.message(key) or (twins.get(key) if ledger.is_untouched(key) else None)
            _move(ledger, message, chat_id, twin)


def _move(ledger: Ledger, message: Message, chat_id: str, twin: Message | None) -> None:
    """Move the message into this chat. If it is in both chats, the one with the lower seq is kept."""
    here = moved(message, chat_id)
    if twin is None:
        ledger.put_message(message, here)
        return
    kept, gone = (here, twin) if message.seq < twin.seq else (twin, here)
    chat = ledger.chat(chat_id)
    assert chat is not None, "a stored message has a chat"
    if gone.counts and gone.content_seq > chat.read_seq:
        ledger.put_chat(replace(chat, unread_count=chat.unread_count - 1))
    ledger.remove_message(twin if gone is twin else message)
    if kept is here:
        ledger.put_message(message, here)
    _complete(ledger, kept, gone)


def _complete(ledger: Ledger, kept: Message, gone: Message) -> None:
    """Give the kept message the content, whichever of the two had it."""
    if kept.is_whole or not gone.is_whole or kept.deleted_at is not None:
        return
    after = replace(
        kept,
        type=gone.type,
        text=gone.text,
        media=gone.media,
        reply_to=gone.reply_to,
        content_seq=max(kept.content_seq, gone.content_seq),
    )
    chat = ledger.chat(kept.chat_id)
    assert chat is not None, "a stored message has a chat"
    newly_unread = after.counts and kept.content_seq <= chat.read_seq < after.content_seq
    ledger.put_chat(replace(chat, unread_count=chat.unread_count + newly_unread))
    ledger.change(kept, after, quiet=True)


@dataclass(frozen=True, slots=True)
class MoveMessages:
    """Move the next messages of a merged chat to their new place."""

    alone: ClassVar[bool] = True
    old: str
    chat_id: str
    size: int = 1024
    aliases: Sequence[Alias] = ()

    def addresses(self) -> Iterable[str]:
        return ()

    def touch(self, people: People, touched: Touched) -> None:
        touched.chats.add(self.chat_id)

    def apply(self, ledger: Ledger) -> Chat | None:
        chat = ledger.chat(self.chat_id)
        if chat is None or self.old not in chat.also:
            return chat
        if not _move_all(ledger, self.old, self.chat_id, MOVE_AT_ONCE):
            _move_these(ledger, ledger.source.oldest(self.old, MOVE_AT_ONCE), self.chat_id)
            ledger.out.follow_up.append(self)
        after = ledger.chat(self.chat_id) or chat
        # Messages that were in both chats counted twice until now.
        return ledger.change_chat(after) if after.unread_count != chat.unread_count else after
