"""What each connection gets: one stream per session it subscribed to.

A stream is a filter (all of the session, or some chats), a cursor, and one of two states.
- Live: the connection is in the rooms of the session or of its chats, and its cursor is the publisher's edge.
- Catching up: it is in no room; a task reads the log from the cursor and sends at the pace at which the client takes
  it. When the cursor has reached the edge it joins the rooms in the same turn of the loop. So nothing is held back,
  merged or dropped.
A connection for which bytes begin to wait leaves the rooms and catches up once it has drained. One that asked for
connection state recovery (`app.services.recovery`) is live in all its streams or in none, and what it had is kept for
a while after it has gone.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from app.auth import Principal
from app.domain.events import Wire, render_position
from app.domain.models import Position
from app.errors import AppError, Unavailable
from app.metrics import Metrics
from app.services import recovery
from app.services.background import surviving
from app.services.catchup import CatchUp
from app.services.edge import Edge
from app.services.publisher import GIVEN_UP, Publisher
from app.services.recovery import Beginning
from app.services.sender import Sender
from app.services.stream import Connection, Stream
from app.storage.mongo import Store

log = structlog.get_logger(__name__)

MAX_SUBSCRIPTIONS: Final = 128
EXPIRY_SECONDS = 4.0
"""How often is looked for connections whose token has expired; the contract promises 10 s."""
MAX_KEPT = 10_000
"""Connections that have gone and may still be recovered; beyond that the oldest cannot."""

_FORBIDDEN = "The token does not allow this session, or there is none of this name."
_CLOSED = "The connection is closed."


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


class Streams:
    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        sender: Sender,
        metrics: Metrics,
        *,
        recovery_max_events: int,
        recovery_seconds: float,
        batch_events: int,
    ) -> None:
        self._store, self._publisher, self._sender, self._metrics = store, publisher, sender, metrics
        self._recovery_max_events, self._recovery_seconds = recovery_max_events, recovery_seconds
        self._connections: dict[str, Connection] = {}
        self._by_pid: dict[str, Connection] = {}
        self._kept: dict[str, Kept] = {}
        self._catch_up = CatchUp(store, sender, metrics, batch_events=batch_events)
        self._housekeeping: asyncio.Task[None] | None = None
        publisher.on_lost = self._lost
        publisher.on_forget = self._move_beginnings

    def start(self) -> None:
        self._housekeeping = asyncio.create_task(self._keep_house())

    async def close(self) -> None:
        tasks = [connection.task for connection in self._connections.values() if connection.task]
        if self._housekeeping:
            tasks.append(self._housekeeping)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # connections

    async def connect(
        self, sid: str, principal: Principal, *, recover: bool = False, pid: object = None, offset: object = None
    ) -> None:
        """A client was let in. With `recover` it gets a `pid`: its old one and all that it missed, if that can be."""
        connection = Connection(sid, principal)
        if recover:
            connection.pid = recovery.make_pid()
            if isinstance(pid, str) and await self._restore(connection, pid, offset):
                connection.pid = pid
                self._metrics.recoveries.labels("recovered").inc()
            elif pid is not None:
                self._metrics.recoveries.labels("refused").inc()
            self._by_pid[connection.pid] = connection
        self._connections[sid] = connection
        if connection.streams:
            self._catch_up_later(connection)

    def disconnect(self, sid: str, reason: str | None) -> None:
        """The connection is gone. If it may be recovered, what it had is kept."""
        connection = self._connections.get(sid)
        if connection is None:
            return
        if connection.pid and reason not in recovery.INTENDED:
            self._keep(connection)
        else:
            self._forget(connection)
            for stream in connection.streams.values():
                self._publisher.unwatch(stream.edge)

    def connect_data(self, sid: str) -> dict[str, Any]:
        """What the connection is told when it is let in, beside its id."""
        connection = self._connections.get(sid)
        return {"pid": connection.pid} if connection and connection.pid else {}

    def principal(self, sid: str) -> Principal:
        """Raises AppError `forbidden` for a connection that is gone."""
        return self._connection(sid).principal

    def authenticate(self, sid: str, principal: Principal) -> None:
        """Put a new token in the place of the old one; rights that it lacks end their subscriptions.

        Raises AppError `forbidden` for a token of somebody else.
        """
        connection = self._connection(sid)
        if principal.sub != connection.principal.sub:
            raise AppError("forbidden", "The token belongs to somebody else.")
        connection.principal = principal
        for session_id, stream in list(connection.streams.items()):
            if not principal.may("read", session_id):
                self._end(connection, stream)
        self._settle(connection)  # what catches up must not go on with a page of what has ended

    def congested(self, sid: str) -> None:
        """Bytes begin to wait for the connection: its streams go on from the log."""
        connection = self._connections.get(sid)
        if connection:
            for stream in connection.streams.values():
                self._leave_rooms(connection, stream)
            self._catch_up_later(connection)

    # subscriptions

    async def subscribe(
        self,
        sid: str,
        session_id: str,
        chat_id: str | None,
        position: Position | None,
        batch: bool | None = None,
    ) -> Wire:
        """Add to the stream, or begin it anew after `position`. Answers where the session stands.

        Raises AppError `forbidden`, `too_many_subscriptions`, `unavailable`. The events that it brings are sent no
        sooner than in the loop's next turn, so that the answer goes before them.
        """
        connection = self._connection(sid)
        self._check(connection, session_id, chat_id)
        edge = await self._publisher.watch(session_id)
        try:
            recovered = position is not None and await self._can_recover(edge, position)
            # While we waited the connection may have gone, or have lost the right.
            connection = self._connection(sid)
            if not self._sender.is_open(sid):
                raise AppError("forbidden", _CLOSED)  # what cannot be acknowledged must not be recovered either
            self._check(connection, session_id, chat_id)
        except BaseException:
            self._publisher.unwatch(edge)
            raise
        stream = connection.streams.get(session_id)
        if stream is not None:
            self._publisher.unwatch(edge)  # it has one already
            if stream.edge is not edge:
                self._sender.close(sid, "events missing")
                raise Unavailable(GIVEN_UP)
            self._leave_rooms(connection, stream)
        else:
            began = self._begin(connection, edge.seq)
            stream = connection.streams[session_id] = Stream(edge, edge.seq, began, told=edge.seq)
        if batch is not None:
            stream.batch = batch
        stream.want(chat_id, edge.seq)
        if position is not None:
            stream.begin_anew(self._begin(connection, position.seq if recovered else edge.seq))
        self._settle(connection)
        return {"position": render_position(self._store.position(edge.seq)), "recovered": recovered}

    def unsubscribe(self, sid: str, session_id: str, chat_id: str | None) -> None:
        """Take the session or one chat out of the stream. What was not in it is out of it already."""
        connection = self._connection(sid)
        stream = connection.streams.get(session_id)
        if stream is None or not stream.holds(chat_id):
            return
        self._leave_rooms(connection, stream)
        if chat_id is None:
            stream.whole = None
        else:
            del stream.chats[chat_id]
        if stream.whole is None and not stream.chats:
            self._end(connection, stream)
        self._settle(connection)

    def _check(self, connection: Connection, session_id: str, chat_id: str | None) -> None:
        if not connection.principal.may("read", session_id):
            raise AppError("forbidden", _FORBIDDEN)
        stream = connection.streams.get(session_id)
        held = stream is not None and stream.holds(chat_id)
        if not held and connection.subscriptions() >= MAX_SUBSCRIPTIONS:
            raise AppError("too_many_subscriptions", f"A connection may have {MAX_SUBSCRIPTIONS} subscriptions.")

    async def _can_recover(self, edge: Edge, position: Position) -> bool:
        """Whether every event after the position can follow. Brings the edge to where the database stands."""
        head = await self._publisher.refresh(edge)
        if position.epoch != self._store.epoch or position.seq > head:
            return False
        missed = head - position.seq
        if missed > self._recovery_max_events:
            return False
        return missed == 0 or await self._store.count_events(edge.session_id, position.seq, head) == missed

    def _begin(self, connection: Connection, seq: int) -> Beginning:
        connection.generation += 1
        return Beginning(seq, self._publisher.number, connection.generation)

    # rooms

    def _settle(self, connection: Connection) -> None:
        """After a change: into the rooms at once where nothing is missing, else by way of the log."""
        if connection.task is None and all(stream.at_edge for stream in connection.streams.values()):
            self._go_live(connection, list(connection.streams.values()))
        else:
            self._catch_up_later(connection)

    def _go_live(self, connection: Connection, streams: Sequence[Stream]) -> None:
        """Into the rooms of all these streams, or, when that makes the connection congested, into none."""
        task = connection.task
        for stream in streams:
            self._join_rooms(connection, stream)
        if connection.task is not task:  # to join writes out what is pending, and that has made it congested
            self.congested(connection.sid)

    def _join_rooms(self, connection: Connection, stream: Stream) -> None:
        if stream.live:
            return
        if not self._publisher.is_current(stream.edge):
            # Given up while something was awaited on the way here: the rooms are those of another edge by now.
            self._sender.close(connection.sid, "events missing")
            return
        if stream.batch:
            self._publisher.flush_batch(stream.edge)
            stream.edge.batchers += 1
            stream.edge.exact_batchers += connection.pid is not None
        for room in connection.rooms(stream):
            self._sender.join(connection.sid, room)
        stream.live, stream.joined = True, self._publisher.number
        self._metrics.live_streams.inc()

    def _leave_rooms(self, connection: Connection, stream: Stream) -> None:
        if not stream.live:
            return
        # First, since to leave writes out what is pending, and that may make the connection congested.
        stream.live = False
        stream.cursor = stream.told = stream.edge.seq
        self._metrics.live_streams.dec()
        if stream.batch:
            self._publisher.flush_batch(stream.edge)
            stream.edge.batchers -= 1
            stream.edge.exact_batchers -= connection.pid is not None
        for room in connection.rooms(stream):
            self._sender.leave(connection.sid, room)

    def _end(self, connection: Connection, stream: Stream) -> None:
        self._leave_rooms(connection, stream)
        del connection.streams[stream.edge.session_id]
        self._publisher.unwatch(stream.edge)

    # catching up

    def _catch_up_later(self, connection: Connection) -> None:
        """Begin to catch up, or begin again with what is wanted now, from the next turn on."""
        if connection.task:
            connection.task.cancel()
        if connection.pid is not None:
            for stream in connection.streams.values():
                self._leave_rooms(connection, stream)
        connection.task = asyncio.create_task(self._catch_up.run(connection, self._go_live))

    # recovery

    def _forget(self, connection: Connection) -> None:
        """Nothing more is sent to the connection."""
        if connection.task:
            connection.task.cancel()
            connection.task = None
        for stream in connection.streams.values():
            self._leave_rooms(connection, stream)
        del self._connections[connection.sid]
        if connection.pid:
            del self._by_pid[connection.pid]

    def _keep(self, connection: Connection) -> None:
        assert connection.pid is not None
        joined = connection.joined()
        self._forget(connection)
        until = time.monotonic() + self._recovery_seconds
        self._kept[connection.pid] = Kept(
            connection.principal.sub,
            connection.generation,
            connection.streams,
            joined,
            self._publisher.number,
            until,
        )
        if len(self._kept) > MAX_KEPT:
            self._give_up(next(iter(self._kept)))

    def _give_up(self, pid: str) -> None:
        for stream in self._kept.pop(pid).streams.values():
            self._publisher.unwatch(stream.edge)

    def _move_beginnings(self, number: int) -> None:
        """Publications up to this one are forgotten. Who was live then, and to the end, has answered a ping since and
        so has had its part of them: it can be recovered from there, though its last event may be older."""
        to_the_end = [connection.joined() for connection in self._by_pid.values()]
        to_the_end += [kept.joined for kept in self._kept.values() if number <= kept.number]
        for stream, joined in itertools.chain.from_iterable(one.items() for one in to_the_end):
            if joined <= number and stream.began.number < number:
                seq = stream.edge.seq_at(number)
                if seq is not None:
                    stream.began = replace(stream.began, seq=seq, number=number)

    async def _restore(self, connection: Connection, pid: str, offset: object) -> bool:
        """Give the connection the streams that the `pid` had, where all of them can go on exactly."""
        if (before := self._by_pid.get(pid)) and before.principal.sub == connection.principal.sub:
            # It is back before we noticed that it had gone.
            self._keep(before)
            self._sender.close(before.sid, "replaced")
        kept = self._kept.get(pid)
        if kept is None or kept.sub != connection.principal.sub or kept.until < time.monotonic():
            return False
        del self._kept[pid]
        said = recovery.read_offset(offset, self._publisher.process, pid)
        cursors: dict[Stream, int] = {}
        for session_id, stream in kept.streams.items():
            cursor = recovery.cursor(stream.edge, stream.began, said)
            if cursor is None or not connection.principal.may("read", session_id):
                break
            try:
                if not await self._can_recover(stream.edge, self._store.position(cursor)):
                    break
            except Unavailable:
                break
            except Exception:
                log.exception("recovery_failed")  # and no more: a client that is refused never comes back by itself
                break
            cursors[stream] = cursor
        else:
            connection.generation = kept.generation
            for stream, cursor in cursors.items():
                stream.began = replace(stream.began, seq=cursor, restored=self._publisher.number)
                stream.cursor = stream.told = cursor
            connection.streams = kept.streams
            return True
        for stream in kept.streams.values():
            self._publisher.unwatch(stream.edge)
        return False

    # in the background

    def _lost(self, session_id: str) -> None:
        for connection in list(self._connections.values()):
            if session_id in connection.streams:
                self._sender.close(connection.sid, "events missing")
        for pid, kept in list(self._kept.items()):
            if session_id in kept.streams:
                self._give_up(pid)

    async def _keep_house(self) -> None:
        """Close connections whose token has expired or that nobody serves; give up what was kept for too long."""
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            with surviving("housekeeping_failed"):
                self._close_expired_and_unserved()
                now = time.monotonic()
                for pid in [pid for pid, kept in self._kept.items() if kept.until < now]:
                    self._give_up(pid)

    def _close_expired_and_unserved(self) -> None:
        wall_clock = time.time()
        for connection in list(self._connections.values()):
            if connection.principal.exp <= wall_clock:
                self._sender.close(connection.sid, "token expired")
            elif not self._is_served(connection):
                log.error("stream_left_behind", connection_id=connection.sid)
                self._sender.close(connection.sid, "events missing")

    def _is_served(self, connection: Connection) -> bool:
        """Whether each of its streams is live or is being caught up; anything else is a defect of ours, and nobody
        would notice that nothing comes."""
        catching_up = connection.task is not None and not connection.task.done()
        streams = connection.streams.values()
        return catching_up or all(stream.live and self._publisher.is_current(stream.edge) for stream in streams)

    def _connection(self, sid: str) -> Connection:
        connection = self._connections.get(sid)
        if connection is None:
            raise AppError("forbidden", _CLOSED)
        return connection
