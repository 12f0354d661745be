"""One stream: all that a connection is subscribed to in one session, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.domain import rooms
from app.domain.rooms import Room
from app.services.edge import Edge
from app.services.memory import Entry, Pin


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a stream began, and when: at which publication, and at which change of the connection's streams."""

    seq: int
    number: int
    generation: int
    restored: int = 0
    """The last publication when the stream was given back, with `seq` as its cursor."""


@dataclass(eq=False, slots=True)
class Stream:
    edge: Edge
    cursor: int
    """Right while it is catching up; of a live stream the edge is the cursor."""
    began: Beginning
    whole: int | None = None
    """The number after which all of the session is wanted."""
    chats: dict[str, int] = field(default_factory=dict)
    """The number after which each of these chats is wanted."""
    batch: bool = False
    live: bool = False
    joined: int = 0
    """The publication since which it is live."""
    told: int = 0
    """How far the client knows that the stream has come, from events or otherwise, while it is catching up."""
    pin: Pin | None = None
    """While it catches up: keeps in memory what has come in since its last read of the log began."""
    asked: int = 0
    """Events that the client has asked for by a position and that were not charged to it yet."""

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
        since = self.chats.get(entry.chat_id)
        return since is not None and entry.seq > since

    def holds(self, chat_id: str | None) -> bool:
        """Whether the session, or the chat, was subscribed to as such."""
        return self.whole is not None if chat_id is None else chat_id in self.chats

    def want(self, chat_id: str | None, seq: int) -> None:
        """Want the session, or a chat, after `seq`; what was wanted from an earlier number stays so."""
        if chat_id is not None:
            self.chats.setdefault(chat_id, seq)
        elif self.whole is None:
            self.whole = seq

    def begin_anew(self, began: Beginning) -> None:
        self.began = began
        self.cursor = self.told = began.seq
        if self.whole is not None:
            self.whole = began.seq
        for chat_id in self.chats:
            self.chats[chat_id] = began.seq

    def rooms(self, *, recovery: bool) -> list[Room]:
        """Where its connection is while the stream is live. `recovery`: the connection may be recovered."""
        kind = rooms.kind(batch=self.batch, recovery=recovery)
        session_id = self.edge.session_id
        if self.whole is not None:
            return [rooms.session(session_id, kind)]
        return [rooms.chats(session_id, kind), *(rooms.chat(session_id, chat, kind) for chat in self.chats)]
