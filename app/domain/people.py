"""Commands about people and groups: names and addresses, and undoing a wrong merge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from app.domain.aliases import People, aliases_of
from app.domain.changes import ending_with, moved
from app.domain.incoming import Contact
from app.domain.known import Touched
from app.domain.ledger import Ledger
from app.domain.merges import MOVE_AT_ONCE, MoveMessages, learn
from app.domain.models import Alias, Chat


@dataclass(frozen=True, slots=True)
class TellContacts:
    """Store names and addresses of people and groups. The name is used for the chat, now or once there is one."""

    alone: ClassVar[bool] = True
    contacts: Sequence[Contact]
    size: int = 0

    @property
    def aliases(self) -> list[Alias]:
        return [alias for contact in self.contacts for alias in aliases_of((contact.id, *contact.aliases))]

    def addresses(self) -> Iterable[str]:
        return (contact.id for contact in self.contacts)

    def touch(self, people: People, touched: Touched) -> None:
        for contact in self.contacts:
            touched.chats.update(people.all_names(contact.id))
            for alias in aliases_of((contact.id, *contact.aliases)):
                touched.chats.update(people.all_names(alias.lid))

    def apply(self, ledger: Ledger) -> None:
        ledger.foresee(self.aliases)
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
class SplitChat:
    """Undo a wrong merge: the messages of the hidden address get a separate chat again, and the two addresses are no
    longer treated as one person. Done in steps, like `MoveMessages`; the last step makes the events.
    """

    alone: ClassVar[bool] = True
    chat_id: str
    old: str
    size: int = 1024
    aliases: Sequence[Alias] = ()

    def addresses(self) -> Iterable[str]:
        return (self.chat_id, self.old)

    def touch(self, people: People, touched: Touched) -> None:
        touched.chats.update((self.chat_id, self.old))

    def apply(self, ledger: Ledger) -> Chat | None:
        """The separated chat, or None if there are no messages of that address."""
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
            chat,
            chat_id=self.old,
            name=None,
            name_given=False,
            last_message=None,
            unread_count=0,
            last_seq=0,
            waiting_since=None,
            also=(),
        )
        for message in found:
            back = replace(moved(message, self.old), came_as=None)
            ledger.put_message(message, back)
            unread = back.counts and back.content_seq > chat.read_seq
            chat = replace(chat, unread_count=chat.unread_count - unread)
            apart = replace(apart, unread_count=apart.unread_count + unread)
            if back.content_seq >= apart.last_seq:
                apart = ending_with(replace(apart, last_seq=back.content_seq), back)
        ledger.put_chat(chat)
        ledger.put_chat(apart)
        if len(found) == MOVE_AT_ONCE:
            ledger.out.follow_up.append(self)
            return apart
        last = ledger.source.last([self.chat_id], but_came_as=self.old)
        emptied = replace(chat, last_message=None, answered=False, waiting_since=None)
        ledger.change_chat(ending_with(emptied, last) if last else emptied)
        return ledger.change_chat(apart)
