"""Socket.IO's connection state recovery: what is kept of a connection that has gone, and what an offset means.

The client is given a private id (`pid`) when it connects, and an offset as the last argument of each durable event.
It comes back with its `pid` and the last offset that it saw, over all its streams, which it keeps even when it is
given a new `pid`. No event is kept for it: an offset leads to a cursor in each stream, and the log does the rest.

Such a connection is live in all its streams or in none, so there are two kinds of offsets:
- live, `process.number`: the publication's number in this process. The edge of each session knows up to where it was
  sent at that number. The same bytes go to everybody. What is gathered for batches goes before a later number is told.
- catching up, `pid.generation.cursors`: the cursors of all streams, said outright.
What was said before a stream began (or began anew) says nothing about it: it is where it began. An offset of another
process or of another `pid` says nothing at all. Publications are remembered for as long as somebody may come back who
has seen no later one; where a stream that stays live begins moves on with what is forgotten.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import orjson
import structlog

from app.errors import Unavailable
from app.services.connection import Connection
from app.services.edge import Edge
from app.services.edges import Edges
from app.services.publications import Publications
from app.services.stream import Beginning, Stream

log = structlog.get_logger(__name__)

MAX_KEPT: Final = 10_000
"""Connections that have gone and may still be recovered; beyond that the oldest cannot."""


@dataclass(frozen=True, slots=True)
class Offset:
    """The last thing that the client saw. One of `number` and `cursors` is set."""

    number: int | None = None
    generation: int = 0
    cursors: Mapping[str, int] = field(default_factory=dict)


def make_pid() -> str:
    return secrets.token_urlsafe(15)


def make_offset(pid: str, generation: int, cursors: Mapping[str, int]) -> str:
    """The offset of an event that is caught up."""
    packed = base64.urlsafe_b64encode(orjson.dumps(cursors)).decode()
    return f"{pid}.{generation}.{packed}"


def read_offset(offset: object, process: str, pid: str) -> Offset | None:
    """What the offset says; None where it says nothing to this process and connection."""
    if not isinstance(offset, str):
        return None
    try:
        name, *rest = offset.split(".")
        if name == process and len(rest) == 1:
            return Offset(number=int(rest[0]))
        if name == pid and len(rest) == 2:
            cursors = orjson.loads(base64.urlsafe_b64decode(rest[1]))
            if isinstance(cursors, dict) and all(type(seq) is int for seq in cursors.values()):
                return Offset(generation=int(rest[0]), cursors=cursors)
    except ValueError:
        pass
    return None


def cursor(edge: Edge, began: Beginning, offset: Offset | None) -> int | None:
    """The number up to which the client has the session's stream; None where that is not known exactly."""
    if offset is None:
        return began.seq
    if offset.number is not None:
        if offset.number <= began.number:
            return began.seq
        seq = edge.seq_at(offset.number)
        if seq is None:
            return began.seq if offset.number <= began.restored else None
        # Not less than where it was given back; but more, where the one that was given back was a late-comer.
        return max(seq, began.seq)
    if offset.generation < began.generation:
        return began.seq
    return max(offset.cursors.get(edge.session_id, 0), began.seq)


@dataclass(frozen=True, slots=True)
class Kept:
    """A connection that has gone. Its streams' edges are still watched."""

    sub: str
    generation: int
    streams: dict[str, Stream]
    joined: dict[Stream, int]
    """Those that were live to the end, and since which publication."""
    number: int
    """The last publication before the end."""
    until: float


class Recovery:
    """The connections that may be recovered, and what is kept of those that have gone."""

    def __init__(self, edges: Edges, publications: Publications, *, seconds: float, remember_seconds: float) -> None:
        """`seconds`: how long recovery is possible. `remember_seconds`: for so long is known how far each session was
        sent at each publication."""
        self._edges, self._publications = edges, publications
        self.seconds, self.remember_seconds = seconds, remember_seconds
        self._connected: dict[str, Connection] = {}
        self._kept: dict[str, Kept] = {}
        self._kept_in: dict[str, set[str]] = {}
        """The pids that are kept with a stream of the session."""
        self._marks: deque[tuple[float, int]] = deque()

    def connected(self, pid: str) -> Connection | None:
        """The connection that has this pid now."""
        return self._connected.get(pid)

    @property
    def pids(self) -> list[str]:
        """Of the connections that may be recovered once they have gone."""
        return list(self._connected)

    @property
    def kept(self) -> list[str]:
        """The pids of those that have gone and may be recovered, the oldest first."""
        return list(self._kept)

    def enter(self, connection: Connection) -> None:
        """A connection that has a pid was let in."""
        assert connection.pid is not None
        self._connected[connection.pid] = connection

    def leave(self, connection: Connection) -> None:
        """The connection is gone."""
        if connection.pid is not None and self._connected.get(connection.pid) is connection:
            del self._connected[connection.pid]

    def keep(self, connection: Connection, joined: dict[Stream, int]) -> None:
        """Keep what a connection had that has gone; `joined`: its streams that were live to the end."""
        assert connection.pid is not None
        self._kept[connection.pid] = Kept(
            connection.principal.sub,
            connection.generation,
            connection.streams,
            joined,
            self._publications.number,
            asyncio.get_running_loop().time() + self.seconds,
        )
        for session_id in connection.streams:
            self._kept_in.setdefault(session_id, set()).add(connection.pid)
        if len(self._kept) > MAX_KEPT:
            self._give_up(next(iter(self._kept)))

    async def restore(self, connection: Connection, pid: str, offset: object) -> bool:
        """Give the connection the streams that the `pid` had, where all of them can go on exactly."""
        kept = self._kept.get(pid)
        now = asyncio.get_running_loop().time()
        if kept is None or kept.sub != connection.principal.sub or kept.until < now:
            return False
        self._take(pid)
        cursors = await self._cursors(connection, kept, read_offset(offset, self._publications.process, pid))
        if cursors is None:
            for stream in kept.streams.values():
                self._edges.unwatch(stream.edge)
            return False
        connection.generation = kept.generation
        for stream, seq in cursors.items():
            stream.began = replace(stream.began, seq=seq, restored=self._publications.number)
            stream.cursor = stream.told = seq
        connection.streams = kept.streams
        return True

    async def _cursors(self, connection: Connection, kept: Kept, said: Offset | None) -> dict[Stream, int] | None:
        """Up to where the client has each stream; None where one cannot go on exactly."""
        cursors: dict[Stream, int] = {}
        for session_id, stream in kept.streams.items():
            seq = cursor(stream.edge, stream.began, said)
            if seq is None or not connection.principal.may("read", session_id):
                return None
            try:
                if not await self._edges.can_recover(stream.edge, seq):
                    return None
            except Unavailable:
                return None
            except Exception:
                log.exception("recovery_failed")  # and no more: a client that is refused never comes back by itself
                return None
            cursors[stream] = seq
        return cursors

    def lost(self, session_id: str) -> None:
        """The session's edge was given up: who had a stream of it cannot be recovered."""
        for pid in list(self._kept_in.get(session_id, ())):
            self._give_up(pid)

    def clean_up(self) -> None:
        """Give up what was kept for too long, and forget publications that no recovery can ask for any more."""
        now = asyncio.get_running_loop().time()
        for pid in [pid for pid, kept in self._kept.items() if kept.until < now]:
            self._give_up(pid)
        self._marks.append((now, self._publications.number))
        forgotten = 0
        while self._marks and self._marks[0][0] < now - self.remember_seconds:
            forgotten = self._marks.popleft()[1]
        if forgotten:
            self._move_beginnings(forgotten)
            for edge in self._edges:
                edge.forget(forgotten)

    def _give_up(self, pid: str) -> None:
        for stream in self._take(pid).streams.values():
            self._edges.unwatch(stream.edge)

    def _take(self, pid: str) -> Kept:
        kept = self._kept.pop(pid)
        for session_id in kept.streams:
            pids = self._kept_in[session_id]
            pids.discard(pid)
            if not pids:
                del self._kept_in[session_id]
        return kept

    def _move_beginnings(self, number: int) -> None:
        """Publications up to this one are forgotten. Who was live then, and to the end, has answered a ping since and
        so has had its part of them: it can be recovered from there, though its last event may be older."""
        to_the_end = [connection.joined() for connection in self._connected.values()]
        to_the_end += [kept.joined for kept in self._kept.values() if number <= kept.number]
        for stream, joined in itertools.chain.from_iterable(one.items() for one in to_the_end):
            if joined <= number and stream.began.number < number:
                seq = stream.edge.seq_at(number)
                if seq is not None:
                    stream.began = replace(stream.began, seq=seq, number=number)
