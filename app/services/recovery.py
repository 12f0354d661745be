"""Socket.IO's connection state recovery: the state of ended connections, and the meaning of offsets.

The client gets a private id (`pid`) when it connects, and an offset as the last argument of each durable event. When
it reconnects, it sends its `pid` and the last offset it received in any of its streams (which it keeps even if it gets
a new `pid`). No events are kept for it: an offset leads to a cursor in each stream, and the rest is read from the log.

Such a connection is live in all its streams or in none, so there are two kinds of offsets:
- live, `process.number`: the publication's number in this process. The edge of each session knows the last number sent
  at that publication. All clients get the same bytes. Events collected for batches are sent before a later number is
  used.
- catching up, `pid.generation.cursors`: the cursors of all streams.

An offset from before a stream started (or restarted) does not apply to that stream, whose cursor is then its start. An
offset of another process or `pid` is invalid. Publications are remembered as long as a client may come back that has
seen no later one. When older publications are forgotten, the starts of live streams move forward accordingly.
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
"""Maximum number of ended connections that can be recovered. Beyond that, the oldest are discarded."""


@dataclass(frozen=True, slots=True)
class Offset:
    """A parsed offset. Either `number` or `cursors` is set."""

    number: int | None = None
    generation: int = 0
    cursors: Mapping[str, int] = field(default_factory=dict)


def make_pid() -> str:
    return secrets.token_urlsafe(15)


def make_offset(pid: str, generation: int, cursors: Mapping[str, int]) -> str:
    """The offset of an event sent while catching up."""
    packed = base64.urlsafe_b64encode(orjson.dumps(cursors)).decode()
    return f"{pid}.{generation}.{packed}"


def read_offset(offset: object, process: str, pid: str) -> Offset | None:
    """Parse an offset. None if it is not valid for this process and connection."""
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
    """The number of the last event the client has in the session's stream. None if that is not known exactly."""
    if offset is None:
        return began.seq
    if offset.number is not None:
        if offset.number <= began.number:
            return began.seq
        seq = edge.seq_at(offset.number)
        if seq is None:
            return began.seq if offset.number <= began.restored else None
        # At least the cursor with which the stream was restored; more, if the offset is of a later event.
        return max(seq, began.seq)
    if offset.generation < began.generation:
        return began.seq
    return max(offset.cursors.get(edge.session_id, 0), began.seq)


@dataclass(frozen=True, slots=True)
class Kept:
    """The state of an ended connection. The edges of its streams are still watched."""

    sub: str
    generation: int
    streams: dict[str, Stream]
    joined: dict[Stream, int]
    """Its streams that were live until the end, and the publication since which each was live."""
    number: int
    """The last publication before the end."""
    until: float


class Recovery:
    """The connections that may be recovered, and the state of ended ones."""

    def __init__(self, edges: Edges, publications: Publications, *, seconds: float, remember_seconds: float) -> None:
        """`seconds`: how long recovery is possible. `remember_seconds`: how long it is remembered which number each
        session had at each publication."""
        self._edges, self._publications = edges, publications
        self.seconds, self.remember_seconds = seconds, remember_seconds
        self._connected: dict[str, Connection] = {}
        self._kept: dict[str, Kept] = {}
        self._kept_in: dict[str, set[str]] = {}
        """For each session, the pids of ended connections with a stream of it."""
        self._marks: deque[tuple[float, int]] = deque()

    def connected(self, pid: str) -> Connection | None:
        """The current connection with this pid."""
        return self._connected.get(pid)

    @property
    def pids(self) -> list[str]:
        """The pids of current connections that may be recovered later."""
        return list(self._connected)

    @property
    def kept(self) -> list[str]:
        """The pids of ended connections that may be recovered, oldest first."""
        return list(self._kept)

    def enter(self, connection: Connection) -> None:
        """A connection with a pid has started."""
        assert connection.pid is not None
        self._connected[connection.pid] = connection

    def leave(self, connection: Connection) -> None:
        """The connection has ended."""
        if connection.pid is not None and self._connected.get(connection.pid) is connection:
            del self._connected[connection.pid]

    def keep(self, connection: Connection, joined: dict[Stream, int]) -> None:
        """Keep the state of an ended connection. `joined`: its streams that were live until the end."""
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
        """Give the connection the streams of the `pid`, if all of them can continue exactly."""
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
        """The client's cursor in each stream. None if a stream cannot continue exactly."""
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
                log.exception("recovery_failed")  # not raised: a client that is refused never reconnects
                return None
            cursors[stream] = seq
        return cursors

    def lost(self, session_id: str) -> None:
        """The session's edge was closed: connections with a stream of it cannot be recovered."""
        for pid in list(self._kept_in.get(session_id, ())):
            self._give_up(pid)

    def clean_up(self) -> None:
        """Discard expired state, and forget publications that no recovery needs any more."""
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
        """Publications up to this one are forgotten. A connection that was live then and stayed live has answered a
        ping since, so it has received its events of them. It can be recovered from there, even if its last event is
        older."""
        to_the_end = [connection.joined() for connection in self._connected.values()]
        to_the_end += [kept.joined for kept in self._kept.values() if number <= kept.number]
        for stream, joined in itertools.chain.from_iterable(one.items() for one in to_the_end):
            if joined <= number and stream.began.number < number:
                seq = stream.edge.seq_at(number)
                if seq is not None:
                    stream.began = replace(stream.began, seq=seq, number=number)
