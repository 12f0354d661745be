"""A stream: everything a connection is subscribed to in one session, and its cursor."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.domain import rooms
from app.domain.events import CHAT_MERGED
from app.domain.models import Position
from app.domain.rooms import Room
from app.services.edge import Edge
from app.services.memory import Entry, Pin


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a stream started, at which publication, and in which generation of the connection's streams."""

    seq: int
    number: int
    generation: int
    restored: int = 0
    """For a recovered stream: the last publication at that time, with `seq` as its cursor."""


@dataclass(eq=False, slots=True)
class Stream:
    edge: Edge
    cursor: int
    """Valid while catching up. The cursor of a live stream is the edge."""
    began: Beginning
    whole: int | None = None
    """The number after which the whole session is wanted."""
    chats: dict[str, int] = field(default_factory=dict)
    """The number after which each of these chats is wanted."""
    names: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Other chatIds of the same people: the chat of `chats` that each stands for, and the number after which it is
    wanted."""
    batch: bool = False
    live: bool = False
    shown: set[Room] = field(default_factory=set)
    """Those of `who_rooms` that its connection is in."""
    joined: int = 0
    """The publication since which the stream is live."""
    told: int = 0
    """While catching up: the last number the client knows, from events or `position`."""
    pin: Pin | None = None
    """While catching up: keeps the events in memory that arrived since the last read of the log began."""
    asked: int = 0
    """Missed events the client has requested by position that have not been charged to it yet."""

    request: tuple[str | None, Position, bool] | None = None
    """The last request that started it, and whether it was recovered. None if another request has changed it since."""

    def repeats(self, chat_id: str | None, position: Position, batch: bool | None) -> bool:
        """Whether this repeats the last request that started it: clients repeat requests whose answer is late."""
        return (
            self.request is not None
            and self.request[:2] == (chat_id, position)
            and batch in (None, self.batch)
            and not self.edge.closed
        )

    def unpin(self) -> None:
        if self.pin:
            self.edge.recent.unpin(self.pin)
            self.pin = None

    @property
    def at_edge(self) -> bool:
        return self.live or self.cursor == self.edge.seq

    def wants(self, entry: Entry) -> bool:
        if self.whole is not None and entry.seq > self.whole:
            return True
        return any(entry.seq > since for one in entry.chat_ids if (since := self._since(one)) is not None)

    def _since(self, chat_id: str) -> int | None:
        if chat_id in self.chats:
            return self.chats[chat_id]
        return self.names[chat_id][1] if chat_id in self.names else None

    def takes(self, entry: Entry) -> bool:
        """Whether the entry is wanted. Must be called with entries in order."""
        self.follow(entry)
        return self.wants(entry)

    def follow(self, entry: Entry) -> None:
        """If the entry merges a chat of the stream into another, the other chat is wanted from there on."""
        if entry.event == CHAT_MERGED and entry.seq > self.cursor:
            chat_id, old = entry.chat_ids
            for asked in self._asked(old):
                self.add_name(asked, chat_id, entry.seq)

    def add_name(self, chat_id: str, name: str, seq: int) -> None:
        """Events after `seq` under this chatId belong to the chat, too."""
        if self._since(name) is None:
            self.names[name] = chat_id, seq

    def _asked(self, chat_id: str) -> list[str]:
        """The subscribed chats that this chatId stands for."""
        if chat_id in self.chats:
            return [chat_id]
        return [self.names[chat_id][0]] if chat_id in self.names else []

    def all_chats(self) -> list[str]:
        """Every chatId under which the stream's chats have events."""
        return [*self.chats, *self.names]

    def holds(self, chat_id: str | None) -> bool:
        """Whether the session as a whole, or this chat, was subscribed to."""
        return self.whole is not None if chat_id is None else chat_id in self.chats or chat_id in self.names

    def want(self, chat_id: str | None, seq: int) -> None:
        """Want the session, or a chat, after `seq`, or after an earlier number if it is wanted already."""
        if chat_id is not None:
            self.chats.setdefault(chat_id, seq)
        elif self.whole is None:
            self.whole = seq

    def drop(self, chat_id: str | None) -> None:
        """No longer want the session, or the chat."""
        if chat_id is None:
            self.whole = None
            return
        for asked in self._asked(chat_id):
            del self.chats[asked]
            self.names = {name: (one, seq) for name, (one, seq) in self.names.items() if one != asked}

    def begin_anew(self, began: Beginning) -> None:
        self.began = began
        self.cursor = self.told = began.seq
        if self.whole is not None:
            self.whole = began.seq
        for chat_id in self.chats:
            self.chats[chat_id] = began.seq
        self.names = {name: (chat_id, began.seq) for name, (chat_id, _) in self.names.items()}

    def who_rooms(self) -> set[Room]:
        """The rooms of its connection for what is ephemeral, live or catching up."""
        session_id = self.edge.session_id
        chats = [None] if self.whole is not None else self.all_chats()
        return {rooms.account(session_id), *(rooms.who(session_id, chat) for chat in chats)}

    def rooms(self, *, recovery: bool) -> list[Room]:
        """The rooms of its connection while the stream is live. `recovery`: the connection may be recovered."""
        kind = rooms.kind(batch=self.batch, recovery=recovery)
        session_id = self.edge.session_id
        if self.whole is not None:
            return [rooms.session(session_id, kind)]
        return [rooms.chats(session_id, kind), *(rooms.chat(session_id, chat, kind) for chat in self.all_chats())]
