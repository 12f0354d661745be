"""The commands for incoming data.

Commands about people and their chats are in `app.domain.people`, `app.domain.merges` and `app.domain.renames`, those of
agents in `app.domain.sending` and `app.domain.assigning`, and those about deliveries in `app.domain.reports`.

Each command declares the documents it needs, and changes them; `app.domain.ledger` runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Final

from app.domain.aliases import People
from app.domain.changes import apply_update, ending_with, is_receipt, without_content
from app.domain.copies import take_copy
from app.domain.incoming import IncomingUpdate, Parked
from app.domain.known import OfChat, Touched
from app.domain.ledger import Ledger
from app.domain.mentions import known_names, with_mentions, with_names
from app.domain.merges import learn, unite
from app.domain.models import (
    Alias,
    Chat,
    IncomingMessage,
    Message,
    MessageResult,
    ReplyTo,
    Sender,
    UpdateResult,
)

NOTHING: Final[Sequence[Alias]] = ()


@dataclass(frozen=True, slots=True)
class StoreMessages:
    """Store these messages, in this order, after learning `aliases`.

    A repeat of a known message changes nothing, unless it completes one that was stored without content.
    """

    alone: ClassVar[bool] = False
    received_at: datetime
    messages: Sequence[IncomingMessage] = ()
    aliases: Sequence[Alias] = ()
    size: int = 0
    answers_read: bool = True
    """Whether a message of our own marks the chat as read up to it: whoever answers has read it."""
    holds: bool = True
    """Whether a message of our own may wait until it is known whether it is a copy (`app.domain.copies`)."""

    def addresses(self) -> Iterable[str]:
        for message in self.messages:
            yield message.chat_id
            yield message.sender.id
            if message.reply_to and message.reply_to.sender_id:
                yield message.reply_to.sender_id
            yield from message.mentions

    def touch(self, people: People, touched: Touched) -> None:
        for message in self.messages:
            for mentioned in message.mentions:
                touched.chats.update(people.all_names(mentioned))
            names = people.all_names(message.chat_id)
            touched.chats.update(names)
            keys = touched.new_messages if len(names) == 1 else touched.messages
            keys.update((name, message.message_id) for name in names)
            if message.from_me:
                touched.named.add(message.message_id)
                touched.deliveries.update(names)
        for alias in self.aliases:
            touched.chats.update(people.all_names(alias.lid))

    def apply(self, ledger: Ledger) -> list[MessageResult]:
        ledger.foresee(self.aliases)
        for alias in self.aliases:
            learn(ledger, alias)
        return [self._store(ledger, incoming) for incoming in self.messages]

    def _store(self, ledger: Ledger, incoming: IncomingMessage) -> MessageResult:
        unite(ledger, incoming.chat_id, incoming.message_id)
        stored = ledger.find(incoming.chat_id, incoming.message_id)
        if stored is None:
            marks = self.answers_read and incoming.marks_read
            foreign = incoming.from_me and incoming.client_id is None
            copy = take_copy(ledger, replace(incoming, marks_read=marks), holds=self.holds) if foreign else None
            return copy or self._add(ledger, with_mentions(ledger, incoming))
        if stored.is_whole or not incoming.has_content:
            return MessageResult(stored.message_id, stored.seq, duplicate=True)
        return self._complete(ledger, stored, with_mentions(ledger, incoming))

    def _add(self, ledger: Ledger, incoming: IncomingMessage) -> MessageResult:
        seq = ledger.next_seq()
        chat_id = ledger.aliases.name(incoming.chat_id)
        message = Message(
            message_id=incoming.message_id,
            session_id=ledger.session_id,
            chat_id=chat_id,
            seq=seq,
            updated_seq=seq,
            from_me=incoming.from_me,
            sender=_sender(ledger, incoming),
            type=incoming.type,
            text=incoming.text,
            media=incoming.media,
            reply_to=_reply_to(ledger, incoming),
            status=incoming.status,
            timestamp=incoming.timestamp,
            received_at=self.received_at,
            content_seq=seq,
            author=incoming.author,
            client_id=incoming.client_id,
            came_as=incoming.chat_id if incoming.chat_id != chat_id else None,
        )
        for parked in [*ledger.parked(message.message_id)]:
            if parked.update.chat_id is None or parked.update.chat_id in ledger.aliases.all_names(chat_id):
                message = apply_update(message, parked, ledger.aliases.name, keep_deleted=ledger.keep_deleted)
                ledger.unpark(parked)
        before = ledger.chat(chat_id)
        ledger.add(message, self._chat_with(ledger, before, message, incoming))
        return MessageResult(message.message_id, seq, duplicate=False)

    def _chat_with(self, ledger: Ledger, before: Chat | None, message: Message, incoming: IncomingMessage) -> Chat:
        """The message's chat after the message."""
        if before is None:
            told = ledger.contact_names.get(message.chat_id)
            before = Chat(
                session_id=ledger.session_id,
                chat_id=message.chat_id,
                name=told,
                name_given=told is not None,
                unread_count=0,
                last_message=None,
                last_seq=0,
                read_seq=0,
                updated_seq=0,
                updated_at=ledger.now,
            )
        name, name_given = _chat_name(before, incoming, message)
        system = message.type == "system"
        chat = replace(
            before,
            name=name,
            name_given=name_given,
            unread_count=before.unread_count + message.counts,
            last_seq=message.seq,
            updated_seq=message.seq,
            updated_at=ledger.now,
            state=before.state if system or message.from_me else "open",
        )
        chat, last = ending_with(chat, message), before.last_message
        if (
            self.answers_read
            and incoming.marks_read
            and message.from_me
            and not system
            and (last is None or message.timestamp >= last.timestamp)
        ):
            # An older one, from late history, says nothing about newer messages.
            chat = replace(chat, read_seq=message.seq, unread_count=0)
        return chat

    @staticmethod
    def _complete(ledger: Ledger, stored: Message, incoming: IncomingMessage) -> MessageResult:
        edited = stored.edited_at is not None
        after = replace(
            stored,
            sender=_sender(ledger, incoming),
            type=incoming.type,
            text=stored.text if edited else incoming.text,
            media=incoming.media,
            reply_to=_reply_to(ledger, incoming),
        )
        if after.nothing_to_read:
            after = replace(after, deleted_at=None, nothing_to_read=False)
        elif after.deleted_at is not None and not ledger.keep_deleted:
            after = without_content(after)
        chat = ledger.chat(stored.chat_id)
        assert chat is not None, "a stored message has a chat"
        name, name_given = _chat_name(chat, incoming, after)
        result = UpdateResult(stored.message_id, "applied")
        ledger.change(stored, after, result, chat=replace(chat, name=name, name_given=name_given))
        assert result.seq is not None
        return MessageResult(stored.message_id, result.seq, duplicate=False)


@dataclass(frozen=True, slots=True)
class UpdateMessages:
    """Change messages. If a message is not stored yet, its update waits for it, for a day at most."""

    alone: ClassVar[bool] = False
    received_at: datetime
    updates: Sequence[IncomingUpdate]
    size: int = 0
    aliases: Sequence[Alias] = NOTHING

    def addresses(self) -> Iterable[str]:
        for update in self.updates:
            yield from update.people()

    def touch(self, people: People, touched: Touched) -> None:
        for update in self.updates:
            for mentioned in update.mentions:
                touched.chats.update(people.all_names(mentioned))
            if update.chat_id is None:
                touched.ids.add(update.message_id)
                touched.named.add(update.message_id)
            else:
                names = people.all_names(update.chat_id)
                touched.chats.update(names)
                touched.messages.update((name, update.message_id) for name in names)
                touched.named.add(update.message_id)

    def apply(self, ledger: Ledger) -> list[UpdateResult]:
        """The result of each update, except those made for messages without content."""
        results = [(update, self._update(ledger, update)) for update in self.updates]
        return [result for update, result in results if not update.nothing_to_read]

    def _update(self, ledger: Ledger, update: IncomingUpdate) -> UpdateResult:
        if update.mentions:
            text = update.text and with_names(update.text, known_names(ledger, update.mentions))
            update = replace(update, text=text, mentions=())
        parked = Parked(update, self.received_at)
        if update.chat_id is None:
            found = ledger.find_by_id(update.message_id)
            if len(found) > 1:
                return UpdateResult(update.message_id, "unchanged")  # ambiguous
            message = found[0] if found else None
        else:
            unite(ledger, update.chat_id, update.message_id)
            message = ledger.find(update.chat_id, update.message_id)
        if message is None:
            ledger.park(parked)
            return UpdateResult(update.message_id, "parked")
        after = apply_update(message, parked, ledger.aliases.name, keep_deleted=ledger.keep_deleted)
        if after == message:
            return UpdateResult(update.message_id, "unchanged")
        result = UpdateResult(update.message_id, "applied")
        ledger.change(message, after, result, quiet=is_receipt(update))
        return result


@dataclass(frozen=True, slots=True)
class MarkRead(OfChat):
    """Mark the chat as read up to and including event `seq`, or, with None, everything stored."""

    alone: ClassVar[bool] = True
    chat_id: str
    seq: int | None

    def apply(self, ledger: Ledger) -> Chat | None:
        unite(ledger, self.chat_id)
        chat = ledger.chat(ledger.aliases.name(self.chat_id))
        if chat is None:
            return None
        read_seq = chat.last_seq if self.seq is None else min(self.seq, chat.last_seq)
        if read_seq <= chat.read_seq:
            return chat
        unread = 0
        if read_seq < chat.last_seq:
            unread = max(0, chat.unread_count - ledger.count(chat, chat.read_seq, read_seq))
        return ledger.change_chat(replace(chat, read_seq=read_seq, unread_count=unread))


def _sender(ledger: Ledger, incoming: IncomingMessage) -> Sender:
    name = ledger.aliases.name(incoming.sender.id)
    return incoming.sender if name == incoming.sender.id else replace(incoming.sender, id=name)


def _reply_to(ledger: Ledger, incoming: IncomingMessage) -> ReplyTo | None:
    quoted = incoming.reply_to
    if quoted is None or quoted.sender_id is None:
        return quoted
    return replace(quoted, sender_id=ledger.aliases.name(quoted.sender_id))


def _chat_name(before: Chat, incoming: IncomingMessage, message: Message) -> tuple[str | None, bool]:
    if incoming.chat_name is not None:
        return incoming.chat_name, True
    told = message.sender.name if not message.from_me and message.sender.id == message.chat_id else None
    return (told, False) if told and not before.name_given else (before.name, before.name_given)
