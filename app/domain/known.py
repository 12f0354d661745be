"""The interface of commands, the known state of a session when a batch is applied, and the outcome."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from app.domain.aliases import Aliases, People
from app.domain.deliveries import Delivery
from app.domain.events import Event
from app.domain.incoming import Parked
from app.domain.models import Alias, Chat, Key, Message, MessageResult, UpdateResult

if TYPE_CHECKING:
    from app.domain.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command has changed nothing: a code of `app.errors.KINDS`, and the message for the client."""

    code: str
    detail: str
    details: Mapping[str, Any] | None = None


Result = list[MessageResult] | list[UpdateResult] | Message | Chat | Refusal | None
"""A result for each message or update; for what changes one message or a chat that one, or None where nothing is stored
of it."""


@dataclass(slots=True)
class Touched:
    """The documents that commands need, collected to be loaded together."""

    new_messages: set[Key] = field(default_factory=set)
    """Messages to store that are probably new. If a unique index says otherwise, all are loaded."""
    messages: set[Key] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    """Ids of messages without a chatId."""
    named: set[str] = field(default_factory=set)
    """Ids that the provider may have given to messages of ours."""
    chats: set[str] = field(default_factory=set)
    deliveries: set[str] = field(default_factory=set)
    """Chats whose open deliveries are needed."""


class Command(Protocol):
    """A change of a session. To add one, write a class with this interface."""

    alone: ClassVar[bool]
    """Whether it may take long, and so gets a transaction of its own."""

    @property
    def size(self) -> int:
        """Estimated bytes in a queue."""

    @property
    def aliases(self) -> Sequence[Alias]:
        """Aliases to learn, for this command and those after it."""

    def addresses(self) -> Iterable[str]:
        """Addresses whose aliases the command needs."""

    def touch(self, people: People, touched: Touched) -> None:
        """Add the documents it needs to `touched`."""

    def apply(self, ledger: Ledger) -> Result: ...


class OfChat:
    """What a command needs that concerns one chat: that chat, under whichever name."""

    __slots__ = ()
    alone: ClassVar[bool] = False
    size: ClassVar[int] = 128
    aliases: ClassVar[Sequence[Alias]] = ()
    chat_id: str

    def addresses(self) -> Iterable[str]:
        return (self.chat_id,)

    def touch(self, people: People, touched: Touched) -> None:
        touched.chats.update(people.all_names(self.chat_id))


class Source(Protocol):
    """Reads within the transaction that only few commands need. They show the session as it was before the batch."""

    def count(self, chat_ids: Sequence[str], above: int, upto: int, *, but: Collection[Key]) -> int:
        """The number of messages stored under these chatIds that can count as unread (`Message.counts`) and have a
        contentSeq above the one number, up to the other."""

    def messages(self, keys: Iterable[Key]) -> Mapping[Key, Message]: ...

    def concerned(self, addresses: Collection[str]) -> Collection[str]:
        """Those of these addresses in whose chats updates wait, or that are `hidden` in messages."""

    def under(self, address: str, limit: int) -> Sequence[Message]:
        """Messages in groups with a receipt or a reaction under this hidden address."""

    def chats(self, chat_ids: Collection[str]) -> Mapping[str, Chat]: ...

    def answered(self, chat_ids: Sequence[str], above: int, *, but: str) -> Message | None:
        """The last message of ours above a number, by anybody but this author, that was not cancelled."""

    def parked_in(self, chat_ids: Sequence[str]) -> Sequence[Parked]:
        """Updates that wait for messages of these chats."""

    def oldest(self, chat_id: str, limit: int) -> Sequence[Message]:
        """The messages with the lowest seq stored under this chatId."""

    def came_as(self, chat_id: str, lid: str, limit: int) -> Sequence[Message]:
        """The messages with the lowest seq in the chat that came under a hidden address."""

    def last(self, chat_ids: Sequence[str], *, but: str = "", but_came_as: str = "") -> Message | None:
        """The last message with content, except this one and those that came under this address."""


@dataclass(slots=True)
class Known:
    """The stored state of everything a batch touches."""

    seq: int
    aliases: Aliases
    chats: Mapping[str, Chat]
    messages: Mapping[Key, Message]
    parked: Sequence[Parked]
    deliveries: Sequence[Delivery]
    contact_names: Mapping[str, str]
    """Names of chats that do not exist yet."""
    source: Source


@dataclass(slots=True)
class Outcome:
    """The documents to write, and the result of each command, in order."""

    seq: int
    events: list[Event] = field(default_factory=list)
    new_messages: dict[Key, Message] = field(default_factory=dict)
    changed_messages: dict[Key, Message] = field(default_factory=dict)
    """By the key under which each message is stored, which may differ from its new key."""
    removed_messages: set[Key] = field(default_factory=set)
    chats: dict[str, Chat] = field(default_factory=dict)
    removed_chats: set[str] = field(default_factory=set)
    new_aliases: list[Alias] = field(default_factory=list)
    refused_aliases: list[Alias] = field(default_factory=list)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    """New and changed ones, by id."""
    contact_names: dict[str, str] = field(default_factory=dict)
    """Names of those who have no chat yet."""
    parked: dict[str, Parked] = field(default_factory=dict)
    unparked: set[str] = field(default_factory=set)
    """Ids of parked updates that were applied."""
    follow_up: list[Command] = field(default_factory=list)
    """Commands that are still to be done, in separate transactions."""
    results: list[Result] = field(default_factory=list)

    @property
    def due(self) -> datetime | None:
        """When the first delivery that has not been started is due."""
        due = [one.next_at for one in self.deliveries.values() if one.state == "waiting" and one.next_at is not None]
        return min(due, default=None)

    @property
    def writes(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.events
            or self.changed_messages
            or self.removed_messages
            or self.chats
            or self.deliveries
            or self.new_aliases
            or self.refused_aliases
            or self.contact_names
            or self.parked
            or self.unparked
        )
