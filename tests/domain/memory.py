"""An in-memory replacement for the database: the ledger's source in the tests of the domain."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.domain import ledger
from app.domain.aliases import Aliases
from app.domain.commands import StoreMessages, UpdateMessages
from app.domain.deliveries import Delivery
from app.domain.events import render_chat, render_message
from app.domain.incoming import IncomingUpdate, Parked
from app.domain.known import Command, Known, Outcome
from app.domain.models import Alias, Chat, IncomingMessage, Key, Message, Sender

NOW = datetime(2026, 2, 6, 12, 4, tzinfo=UTC)
ANA, ANA_LID = "5511999998888@s.whatsapp.net", "99887766554433@lid"
GROUP = "120363041234567890@g.us"


def incoming(message_id: str = "m1", chat_id: str = "a", text: str | None = "hi", **more: Any) -> IncomingMessage:
    fields: dict[str, Any] = {
        "message_id": message_id,
        "chat_id": chat_id,
        "from_me": False,
        "sender": Sender(chat_id, None),
        "type": "text" if text is not None else "unknown",
        "text": text,
        "media": None,
        "reply_to": None,
        "status": "sent" if more.get("from_me") else "received",
        "timestamp": NOW,
    }
    return IncomingMessage(**(fields | more))


def store(*messages: IncomingMessage, aliases: tuple[Alias, ...] = (), answers_read: bool = True) -> StoreMessages:
    return StoreMessages(NOW, messages, aliases, answers_read=answers_read)


def update(message_id: str = "m1", chat_id: str | None = "a", **more: Any) -> UpdateMessages:
    return UpdateMessages(NOW, [IncomingUpdate(message_id, chat_id, **more)])


@dataclass
class Memory:
    """A session. It gives the ledger everything, so `Touched` is tested with the real database."""

    seq: int = 0
    aliases: dict[str, str] = field(default_factory=dict)
    refused: list[Alias] = field(default_factory=list)
    chats: dict[str, Chat] = field(default_factory=dict)
    messages: dict[Key, Message] = field(default_factory=dict)
    parked: dict[str, Parked] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    keep_deleted: bool = False
    patient: bool = False
    """Whether follow-up commands wait in `waiting`."""
    waiting: list[Command] = field(default_factory=list)

    def apply(self, *commands: Command) -> Outcome:
        """Apply the commands as one batch, and then their follow-up commands."""
        known = Known(
            self.seq,
            Aliases((Alias(lid, address) for lid, address in self.aliases.items()), self.refused),
            dict(self.chats),
            dict(self.messages),
            list(self.parked.values()),
            [one for one in self.deliveries.values() if one.state in ("waiting", "sending", "unknown")],
            {chat_id: name for chat_id, name in self.names.items() if chat_id not in self.chats},
            _Source(dict(self.messages), dict(self.chats), list(self.parked.values())),
        )
        outcome = ledger.apply("shop", known, commands, NOW, keep_deleted=self.keep_deleted)
        self.seq = outcome.seq
        self.aliases |= {alias.lid: alias.address for alias in outcome.new_aliases}
        for alias in outcome.refused_aliases:
            self.aliases.pop(alias.lid, None)
            self.refused.append(alias)
        for key in (*outcome.removed_messages, *outcome.changed_messages):
            del self.messages[key]
        changed = {message.key: message for message in outcome.changed_messages.values()}
        assert not self.messages.keys() & changed.keys(), "two messages of one key"
        assert not self.messages.keys() & outcome.new_messages.keys(), "two messages of one key"
        self.messages |= outcome.new_messages | changed
        for chat_id in outcome.removed_chats:
            self.chats.pop(chat_id, None)
        self.chats |= outcome.chats
        self.names |= outcome.contact_names
        self.deliveries |= outcome.deliveries
        for parked_id in outcome.unparked:
            del self.parked[parked_id]
        self.parked |= outcome.parked
        self.events += outcome.events
        self.waiting += outcome.follow_up
        while self.waiting and not self.patient:
            self.apply(self.waiting.pop(0))
        self.check()
        return outcome

    def check(self) -> None:
        """Check the invariants."""
        assert [event.seq for event in self.events] == list(range(self.seq - len(self.events) + 1, self.seq + 1))
        for chat in self.chats.values():
            # A message that is in several places for a while counts in each.
            mine = [one for one in self.messages.values() if one.chat_id in (chat.chat_id, *chat.also)]
            assert chat.unread_count == sum(m.counts and m.content_seq > chat.read_seq for m in mine), chat
            assert all(m.content_seq <= chat.last_seq for m in mine), chat
            assert chat.read_seq <= chat.last_seq
        for message in self.messages.values():
            assert message.chat_id in self.chats or any(message.chat_id in chat.also for chat in self.chats.values())

    def shown(self) -> tuple[list[Any], list[Any]]:
        """Chats and messages as shown, without the numbers of events."""
        numbers = {"seq", "updatedSeq", "lastSeq", "readSeq", "contentSeq"}

        def plain(wire: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in wire.items() if name not in numbers}

        chats = sorted((plain(render_chat(chat)) for chat in self.chats.values()), key=lambda chat: chat["chatId"])
        messages = [plain(render_message(message)) for message in self.messages.values()]
        return chats, sorted(messages, key=lambda message: (message["chatId"], message["messageId"]))


class _Source:
    def __init__(self, messages: dict[Key, Message], chats: dict[str, Chat], parked: list[Parked]) -> None:
        self._messages, self._chats, self._parked = messages, chats, parked

    def concerned(self, addresses: Collection[str]) -> Collection[str]:
        parked = {parked.update.chat_id for parked in self._parked}
        hidden = {address for message in self._messages.values() for address in message.hidden}
        return (parked | hidden) & set(addresses)

    def under(self, address: str, limit: int) -> Sequence[Message]:
        return [message for message in self._messages.values() if address in message.hidden][:limit]

    def chats(self, chat_ids: Collection[str]) -> Mapping[str, Chat]:
        return {chat_id: self._chats[chat_id] for chat_id in chat_ids}

    def answered(self, chat_ids: Sequence[str], above: int, *, but: str) -> Message | None:
        found = [m for m in self._of(chat_ids) if m.from_me and m.seq > above and not m.is_cancelled]
        by_others = [m for m in found if m.type != "system" and (m.author is None or m.author.id != but)]
        return by_others[-1] if by_others else None

    def parked_in(self, chat_ids: Sequence[str]) -> Sequence[Parked]:
        return [parked for parked in self._parked if parked.update.chat_id in chat_ids]

    def _of(self, chat_ids: Sequence[str]) -> list[Message]:
        return sorted((m for m in self._messages.values() if m.chat_id in chat_ids), key=lambda message: message.seq)

    def count(self, chat_ids: Sequence[str], above: int, upto: int, *, but: Collection[Key]) -> int:
        return sum(m.counts and above < m.content_seq <= upto for m in self._of(chat_ids) if m.key not in but)

    def messages(self, keys: Iterable[Key]) -> Mapping[Key, Message]:
        return {key: self._messages[key] for key in keys if key in self._messages}

    def oldest(self, chat_id: str, limit: int) -> Sequence[Message]:
        return self._of([chat_id])[:limit]

    def came_as(self, chat_id: str, lid: str, limit: int) -> Sequence[Message]:
        return [message for message in self._of([chat_id]) if message.came_as == lid][:limit]

    def last(self, chat_ids: Sequence[str], *, but: str = "", but_came_as: str = "") -> Message | None:
        found = [
            message
            for message in self._of(chat_ids)
            if message.message_id != but and message.came_as != (but_came_as or 0) and not message.is_gone
        ]
        return found[-1] if found else None
