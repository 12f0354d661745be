"""A connection's streams: what each wants, and how far it has come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from app.auth import Principal
from app.domain import rooms
from app.domain.events import Event
from app.domain.rooms import Room
from app.services.edge import Edge
from app.services.recovery import Beginning


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

    @property
    def at_edge(self) -> bool:
        return self.live or self.cursor == self.edge.seq

    def wants(self, event: Event) -> bool:
        if self.whole is not None and event.seq > self.whole:
            return True
        since = self.chats.get(event.chat_id)
        return since is not None and event.seq > since

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


@dataclass(eq=False, slots=True)
class Connection:
    sid: str
    principal: Principal
    pid: str | None = None
    """Its private id, if it asked for recovery."""
    generation: int = 0
    """Counts the beginnings of its streams."""
    streams: dict[str, Stream] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    """Catches up what is not live."""
    told_away: bool = False
    """While it caught up it was told that the database does not answer."""

    def subscriptions(self) -> int:
        return sum((stream.whole is not None) + len(stream.chats) for stream in self.streams.values())

    def joined(self) -> dict[Stream, int]:
        """Its live streams, and since which publication each is."""
        return {stream: stream.joined for stream in self.streams.values() if stream.live}

    def rooms(self, stream: Stream) -> list[Room]:
        """Where it is when the stream is live."""
        kind = rooms.kind(batch=stream.batch, recovery=self.pid is not None)
        session_id = stream.edge.session_id
        if stream.whole is not None:
            return [rooms.session(session_id, kind)]
        return [rooms.chats(session_id, kind), *(rooms.chat(session_id, chat, kind) for chat in stream.chats)]
