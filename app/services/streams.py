"""What each connection gets: one stream per session it subscribed to.

A stream is a filter (all of the session, or some chats), a cursor, and one of two states.
- Live: the connection is in the rooms of the session or of its chats, and its cursor is the publisher's edge.
- Catching up: it is in no room; a task reads the log from the cursor and sends at the pace at which the client takes
  it. When the cursor has reached the edge it joins the rooms in the same turn of the loop. So nothing is held back,
  merged or dropped.
A connection for which bytes begin to wait leaves the rooms and catches up once it has drained.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Final

import structlog

from app.auth import Principal
from app.domain import rooms
from app.domain.events import POSITION, Event, Wire, render_position
from app.domain.models import Position
from app.domain.rooms import Room
from app.errors import AppError, Unavailable
from app.metrics import Metrics
from app.services.engine import Engine
from app.services.publisher import Edge, Publisher
from app.storage.mongo import Store

log = structlog.get_logger(__name__)

MAX_SUBSCRIPTIONS: Final = 128
PAGE = 100
"""Events read from the log at a time."""
PACE_BYTES = 256 * 1024
"""A catching-up stream waits for the client when more than this waits for it."""
PARALLEL_READS = 6
EXPIRY_SECONDS = 2.0
"""How often is looked for connections whose token has expired; the contract promises 10 s."""


@dataclass(eq=False, slots=True)
class Stream:
    connection: Connection
    edge: Edge
    cursor: int
    """Right while it is catching up; of a live stream the edge is the cursor."""
    whole: int | None = None
    """The number after which all of the session is wanted."""
    chats: dict[str, int] = field(default_factory=dict)
    """The number after which each of these chats is wanted."""
    live: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def session_id(self) -> str:
        return self.edge.session_id

    def wants(self, event: Event) -> bool:
        if self.whole is not None and event.seq > self.whole:
            return True
        since = self.chats.get(event.chat_id)
        return since is not None and event.seq > since

    def rooms(self) -> list[Room]:
        """The rooms of the stream when it is live."""
        if self.whole is not None:
            return [rooms.session(self.session_id)]
        if not self.chats:
            return []
        return [rooms.chats(self.session_id), *(rooms.chat(self.session_id, chat) for chat in self.chats)]


@dataclass(eq=False, slots=True)
class Connection:
    sid: str
    principal: Principal
    streams: dict[str, Stream] = field(default_factory=dict)
    closed: bool = False

    def subscriptions(self) -> int:
        return sum((stream.whole is not None) + len(stream.chats) for stream in self.streams.values())


class Streams:
    def __init__(
        self, store: Store, publisher: Publisher, engine: Engine, metrics: Metrics, *, recovery_max_events: int
    ) -> None:
        self._store, self._publisher, self._engine, self._metrics = store, publisher, engine, metrics
        self._recovery_max_events = recovery_max_events
        self._connections: dict[str, Connection] = {}
        self._reads = asyncio.Semaphore(PARALLEL_READS)
        self._expiry: asyncio.Task[None] | None = None
        publisher.on_lost = self._lost

    def start(self) -> None:
        self._expiry = asyncio.create_task(self._close_expired())

    async def close(self) -> None:
        tasks = [s.task for c in self._connections.values() for s in c.streams.values() if s.task]
        if self._expiry:
            tasks.append(self._expiry)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # connections

    def connect(self, sid: str, principal: Principal) -> None:
        self._connections[sid] = Connection(sid, principal)

    def disconnect(self, sid: str) -> None:
        """The connection is gone; the engine has taken it out of its rooms or will."""
        connection = self._connections.pop(sid, None)
        if connection is None:
            return
        connection.closed = True
        for stream in list(connection.streams.values()):
            self._end(stream)

    def principal(self, sid: str) -> Principal:
        """Raises AppError `unauthorized` for a connection that is gone."""
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
                self._end(stream)

    def congested(self, sid: str) -> None:
        """Bytes begin to wait for the connection: its live streams go on from the log."""
        connection = self._connections.get(sid)
        if connection:
            for stream in connection.streams.values():
                if stream.live:
                    stream.cursor = stream.edge.seq
                    self._leave_rooms(stream)
                    self._catch_up_later(stream)

    # subscriptions

    async def subscribe(self, sid: str, session_id: str, chat_id: str | None, position: Position | None) -> Wire:
        """Add to the stream, or start it anew after `position`. Answers where the session stands.

        Raises AppError `forbidden`, `too_many_subscriptions`, `unavailable`. The events that it brings are sent no
        sooner than in the loop's next turn, so that the answer goes before them.
        """
        connection = self._connection(sid)
        if not connection.principal.may("read", session_id):
            raise AppError("forbidden", "The token does not allow this session, or there is none of this name.")
        stream = connection.streams.get(session_id)
        if not _has(stream, chat_id) and connection.subscriptions() >= MAX_SUBSCRIPTIONS:
            raise AppError("too_many_subscriptions", f"A connection may have {MAX_SUBSCRIPTIONS} subscriptions.")
        edge = await self._publisher.watch(session_id)
        try:
            recovered = position is not None and await self._can_recover(edge, position)
            # While we waited the connection may have gone, or have lost the right.
            connection = self._connection(sid)
            if not connection.principal.may("read", session_id):
                raise AppError("forbidden", "The token does not allow this session, or there is none of this name.")
        except BaseException:
            self._publisher.unwatch(edge)
            raise
        stream = connection.streams.get(session_id)
        if stream is None or stream.edge is not edge:
            if stream is not None:
                self._end(stream)
            stream = connection.streams[session_id] = Stream(connection, edge, edge.seq)
        else:
            self._publisher.unwatch(edge)  # it has one already
        if position is None:
            self._add(stream, chat_id)
        else:
            self._start_anew(stream, chat_id, position.seq if recovered else edge.seq)
        return {"position": render_position(self._store.position(edge.seq)), "recovered": recovered}

    def unsubscribe(self, sid: str, session_id: str, chat_id: str | None) -> None:
        """Take the session or one chat out of the stream. What was not in it is out of it already."""
        connection = self._connection(sid)
        stream = connection.streams.get(session_id)
        if stream is None or not _has(stream, chat_id):
            return
        live = stream.live
        if live:
            self._leave_rooms(stream)
        if chat_id is None:
            stream.whole = None
        else:
            del stream.chats[chat_id]
        if stream.whole is None and not stream.chats:
            self._end(stream)
        elif live:
            self._join_rooms(stream)
        else:
            self._catch_up_later(stream)

    async def _can_recover(self, edge: Edge, position: Position) -> bool:
        """Whether every event after the position can follow. Brings the edge to where the database stands."""
        head = await self._publisher.refresh(edge)
        if position.epoch != self._store.epoch or position.seq > head:
            return False
        missed = head - position.seq
        if missed > self._recovery_max_events:
            return False
        return missed == 0 or await self._store.count_events(edge.session_id, position.seq, head) == missed

    def _add(self, stream: Stream, chat_id: str | None) -> None:
        """Add to the stream from the edge on."""
        fresh = stream.whole is None and not stream.chats
        if stream.live:
            self._leave_rooms(stream)
            self._want(stream, chat_id, stream.edge.seq)
            self._join_rooms(stream)
            return
        if fresh:
            stream.cursor = stream.edge.seq
        self._want(stream, chat_id, stream.edge.seq)
        if fresh:
            self._join_rooms(stream)
        else:
            self._catch_up_later(stream)

    def _start_anew(self, stream: Stream, chat_id: str | None, seq: int) -> None:
        if stream.live:
            self._leave_rooms(stream)
        self._want(stream, chat_id, seq, anew=True)
        if stream.whole is not None:
            stream.whole = seq
        for one in stream.chats:
            stream.chats[one] = seq
        stream.cursor = seq
        if stream.task:
            stream.task.cancel()
            stream.task = None
        if seq == stream.edge.seq:
            self._join_rooms(stream)
        else:
            self._catch_up_later(stream)

    @staticmethod
    def _want(stream: Stream, chat_id: str | None, seq: int, *, anew: bool = False) -> None:
        """Want the session or a chat after `seq`; what was wanted from an earlier number stays so."""
        if chat_id is None:
            if stream.whole is None or anew:
                stream.whole = seq
        elif chat_id not in stream.chats or anew:
            stream.chats[chat_id] = seq

    def _join_rooms(self, stream: Stream) -> None:
        for room in stream.rooms():
            self._engine.join(stream.connection.sid, room)
        stream.live = True
        self._metrics.streams.labels("live").inc()

    def _leave_rooms(self, stream: Stream) -> None:
        for room in stream.rooms():
            self._engine.leave(stream.connection.sid, room)
        stream.live = False
        self._metrics.streams.labels("live").dec()

    def _end(self, stream: Stream) -> None:
        if stream.live:
            self._leave_rooms(stream)
        if stream.task:
            stream.task.cancel()
        stream.connection.streams.pop(stream.session_id, None)
        self._publisher.unwatch(stream.edge)

    # catching up

    def _catch_up_later(self, stream: Stream) -> None:
        """Begin to catch up, or begin again with what is wanted now, from the next turn on."""
        if stream.task:
            stream.task.cancel()
        stream.task = asyncio.create_task(self._catch_up(stream))

    async def _catch_up(self, stream: Stream) -> None:
        sid, edge = stream.connection.sid, stream.edge
        with self._metrics.streams.labels("catching_up").track_inprogress():
            last_sent = stream.cursor
            while True:
                if not await self._engine.drained(sid):
                    return
                if stream.cursor == edge.seq:
                    stream.task = None
                    self._join_rooms(stream)
                    if last_sent < stream.cursor:
                        self._tell_position(stream)
                    return
                upto = edge.seq
                events = await self._read(stream, upto)
                if events is None:
                    await asyncio.sleep(1)
                    continue
                for event in events:
                    if stream.whole is not None and event.seq != stream.cursor + 1:
                        self._gap(stream)
                        return
                    if stream.wants(event):
                        self._engine.push(sid, event.event, event.data)
                        self._metrics.events_caught_up.inc()
                        last_sent = event.seq
                    stream.cursor = event.seq
                    if self._engine.waiting(sid) > PACE_BYTES and not await self._engine.drained(sid):
                        return
                if len(events) < PAGE:
                    if stream.whole is not None and stream.cursor != upto:
                        self._gap(stream)
                        return
                    stream.cursor = upto

    async def _read(self, stream: Stream, upto: int) -> list[Event] | None:
        """The next page of the log; None where the database does not answer."""
        chats = None if stream.whole is not None else list(stream.chats)
        try:
            async with self._reads:
                return await self._store.read_events(stream.session_id, stream.cursor, upto, PAGE, chats)
        except Unavailable:
            return None

    def _gap(self, stream: Stream) -> None:
        """The log lost entries while we read it: the client comes back and is told that it cannot recover."""
        log.warning("log_trimmed_while_catching_up", session_id=stream.session_id, cursor=stream.cursor)
        self._engine.close(stream.connection.sid, "events no longer kept")

    def _tell_position(self, stream: Stream) -> None:
        position = {
            "sessionId": stream.session_id,
            "position": render_position(self._store.position(stream.edge.seq)),
        }
        self._engine.push(stream.connection.sid, POSITION, position)

    # in the background

    def _lost(self, session_id: str) -> None:
        for connection in list(self._connections.values()):
            if session_id in connection.streams:
                self._engine.close(connection.sid, "events missing")

    async def _close_expired(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            for connection in list(self._connections.values()):
                if connection.principal.expired:
                    self._engine.close(connection.sid, "token expired")

    def _connection(self, sid: str) -> Connection:
        with contextlib.suppress(KeyError):
            return self._connections[sid]
        raise AppError("forbidden", "The connection is closed.")


def _has(stream: Stream | None, chat_id: str | None) -> bool:
    if stream is None:
        return False
    return stream.whole is not None if chat_id is None else chat_id in stream.chats
