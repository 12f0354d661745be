"""Who is who, and one chat for each person.

A chat that was stored under a person's hidden address becomes a part of the chat of the known address as soon as both
are known to be one person's. That is one event, whatever the size of the chats: the chat of the known address takes
over the counters, and lists the other in `also`. The messages follow in steps of MOVE_AT_ONCE, each a transaction in
the session's queue, without events: whoever reads the chat meanwhile reads both places.

An address that is told to be another person's changes what comes from then on, not what was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.domain.aliases import Aliases, aliases_of
from app.domain.changes import moved, preview
from app.domain.events import merged_event
from app.domain.incoming import Contact
from app.domain.known import Touched
from app.domain.ledger import Ledger
from app.domain.models import Alias, Chat, Message

MOVE_AT_ONCE: Final = 500


def learn(ledger: Ledger, alias: Alias) -> None:
    """That two addresses are one person's: one chat from now on, and what waited under the other address is applied."""
    news = ledger.learn(alias)
    unite(ledger, alias.lid)
    if news:
        ledger.wake(alias.lid)


def unite(ledger: Ledger, address: str, message_id: str | None = None) -> None:
    """See that the person has one chat, and the message one place, even while the others are still on their way."""
    name, *others = ledger.aliases.all_names(address)
    for other in others:
        if (old := ledger.chat(other)) is not None:
            _merge(ledger, old, name)
    chat = ledger.chat(name)
    if message_id is not None and chat is not None:
        _fetch(ledger, chat, message_id)


def _fetch(ledger: Ledger, chat: Chat, message_id: str) -> None:
    """Move the message to its chat, if it is still on its way there."""
    for other in chat.also:
        if (message := ledger.message((other, message_id))) is not None:
            _move(ledger, message, chat.chat_id, ledger.message((chat.chat_id, message_id)))


def _merge(ledger: Ledger, old: Chat, chat_id: str) -> None:
    seq = ledger.next_seq()
    told = ledger.contact_names.get(chat_id)
    into = ledger.chat(chat_id) or replace(old, chat_id=chat_id, name=told or old.name, also=())
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
    chat = replace(chat, unread_count=ledger.unread_above(chat, chat.read_seq))
    ledger.put_chat(chat)
    ledger.out.events.append(merged_event(seq, old.chat_id, chat, ledger.now))
    if ledger.is_stored(old.chat_id):
        ledger.out.follow_up.append(MoveMessages(old.chat_id, chat_id))


def _move(ledger: Ledger, message: Message, chat_id: str, twin: Message | None) -> None:
    """Into the chat of this name. Of a message that is in both, the one with the lower seq is kept."""
    here = moved(message, chat_id)
    if twin is None:
        ledger.put_message(message, here)
    elif message.seq < twin.seq:
        ledger.remove_message(twin)
        ledger.put_message(message, here)
        _complete(ledger, here, twin)
    else:
        ledger.remove_message(message)
        _complete(ledger, twin, here)


def _complete(ledger: Ledger, kept: Message, gone: Message) -> None:
    """The one that is kept has the content, whichever of the two had it."""
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
class TellContacts:
    """What people and groups are called, by name and by address. A name goes to the chat, now or when there is one."""

    contacts: Sequence[Contact]
    size: int = 0

    @property
    def aliases(self) -> list[Alias]:
        return [alias for contact in self.contacts for alias in aliases_of((contact.id, *contact.aliases))]

    def addresses(self) -> Iterable[str]:
        return (contact.id for contact in self.contacts)

    def touch(self, aliases: Aliases, touched: Touched) -> None:
        for contact in self.contacts:
            touched.chats.update(aliases.all_names(contact.id))
            for alias in aliases_of((contact.id, *contact.aliases)):
                touched.chats.update(aliases.all_names(alias.lid))

    def apply(self, ledger: Ledger) -> None:
        for contact in self.contacts:
            for alias in aliases_of((contact.id, *contact.aliases)):
                learn(ledger, alias)
            if contact.name:
                _name(ledger, ledger.aliases.name(contact.id), contact.name, given=not contact.calls_itself)


def _name(ledger: Ledger, chat_id: str, name: str, *, given: bool) -> None:
    chat = ledger.chat(chat_id)
    if chat is None:
        told = ledger.contact_names.get(chat_id)
        if told is None or (given and told != name):
            ledger.tell_name(chat_id, name)
    elif (chat.name, chat.name_given) != (name, given) and (given or not chat.name_given):
        ledger.change_chat(replace(chat, name=name, name_given=given))


@dataclass(frozen=True, slots=True)
class MoveMessages:
    """The next messages of a chat that has become another's, to their new place."""

    old: str
    chat_id: str
    size: int = 1024
    aliases: Sequence[Alias] = ()

    def addresses(self) -> Iterable[str]:
        return ()

    def touch(self, aliases: Aliases, touched: Touched) -> None:
        touched.chats.add(self.chat_id)

    def apply(self, ledger: Ledger) -> Chat | None:
        chat = ledger.chat(self.chat_id)
        if chat is None or self.old not in chat.also:
            return chat
        found = ledger.source.oldest(self.old, MOVE_AT_ONCE)
        twins = ledger.source.messages([(self.chat_id, message.message_id) for message in found])
        for message in found:
            if ledger.is_untouched(message.key):
                key = self.chat_id, message.message_id
                twin = ledger.message(key) or (twins.get(key) if ledger.is_untouched(key) else None)
                _move(ledger, message, self.chat_id, twin)
        if len(found) == MOVE_AT_ONCE:
            ledger.out.follow_up.append(self)
            return chat
        chat = ledger.chat(self.chat_id) or chat
        chat = replace(chat, also=[one for one in chat.also if one != self.old])
        ledger.put_chat(chat)
        return chat


@dataclass(frozen=True, slots=True)
class SplitChat:
    """Undo a merge that was wrong: what came under the hidden address gets a chat of its own again, and the two
    addresses are not taken for one person's any more. In steps, as `MoveMessages`; the last one makes the events.
    """

    chat_id: str
    old: str
    size: int = 1024
    aliases: Sequence[Alias] = ()

    def addresses(self) -> Iterable[str]:
        return (self.chat_id, self.old)

    def touch(self, aliases: Aliases, touched: Touched) -> None:
        touched.chats.update((self.chat_id, self.old))

    def apply(self, ledger: Ledger) -> Chat | None:
        """The chat that is separate again, None where nothing came under that address."""
        alias = Alias(self.old, self.chat_id)
        if alias not in ledger.aliases.refused:
            ledger.aliases.refuse(alias)
            ledger.out.refused_aliases.append(alias)
        chat = ledger.chat(self.chat_id)
        if chat is None:
            return None
        if self.old in chat.also:
            ledger.out.follow_up += [MoveMessages(self.old, self.chat_id), self]
            return chat
        found = ledger.source.came_as(self.chat_id, self.old, MOVE_AT_ONCE)
        apart = ledger.chat(self.old)
        if not found and apart is None:
            return None
        apart = apart or replace(
            chat, chat_id=self.old, name=None, name_given=False, last_message=None, unread_count=0, last_seq=0, also=()
        )
        for message in found:
            back = replace(moved(message, self.old), came_as=None)
            ledger.put_message(message, back)
            unread = back.counts and back.content_seq > chat.read_seq
            chat = replace(chat, unread_count=chat.unread_count - unread)
            apart = replace(apart, unread_count=apart.unread_count + unread)
            if back.content_seq >= apart.last_seq:
                apart = replace(apart, last_message=preview(back), last_seq=back.content_seq, answered=back.from_me)
        ledger.put_chat(chat)
        ledger.put_chat(apart)
        if len(found) == MOVE_AT_ONCE:
            ledger.out.follow_up.append(self)
            return apart
        last = ledger.source.last([self.chat_id], but_came_as=self.old)
        answered = last is not None and last.from_me
        ledger.change_chat(replace(chat, last_message=preview(last) if last else None, answered=answered))
        return ledger.change_chat(apart)
