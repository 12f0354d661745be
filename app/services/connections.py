"""What each connection gets: one stream per session it subscribed to.

A stream is a filter (all of the session, or some chats), a cursor, and one of two states.
- Live: the connection is in the rooms of the session or of its chats, and its cursor is the session's edge.
- Catching up: it is in no room; a task sends what it has missed, at the pace at which the client takes it
  (`app.services.catchup`). When the cursor has reached the edge it joins the rooms in the same turn of the loop, so
  nothing is held back, merged or dropped.
A connection for which bytes begin to wait leaves the rooms and catches up once it has drained. What a connection had
that asked for Socket.IO's connection state recovery is kept for a while after it has gone (`app.services.recovery`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from app.auth import Principal
from app.domain import rooms
from app.domain.events import POSITION, Wire, render_position
from app.domain.models import Position
from app.errors import AppError, Unavailable
from app.metrics import Metrics
from app.services import recovery
from app.services.batches import Batches
from app.services.catchup import CatchUp
from app.services.closing import EVENTS_MISSING, REPLACED, TOKEN_EXPIRED
from app.services.connection import Connection
from app.services.edge import Edge, Log
from app.services.edges import Edges
from app.services.memory import Entry
from app.services.publications import Publications
from app.services.recovery import Recovery
from app.services.sender import Sender
from app.services.sharing import GIVEN_UP
from app.services.stream import Beginning, Stream

log = structlog.get_logger(__name__)

MAX_SUBSCRIPTIONS: Final = 128
EXPIRY_SECONDS: Final = 4.0
"""How often connections are looked for whose token has expired; the contract promises 10 s."""
POSITION_SECONDS: Final = 36.0
"""How often streams are told how far they have come; the contract promises 40 s."""

_FORBIDDEN = "The token does not allow this session, or there is none of this name."
_CLOSED = "The connection is closed."


class Connections:
    def __init__(
        self,
        store: Log,
        edges: Edges,
        publications: Publications,
        recovery: Recovery,
        catch_up: CatchUp,
        sender: Sender,
        metrics: Metrics,
        *,
        max_per_sub: int,
    ) -> None:
        """`max_per_sub`: connections of one `sub`."""
        self._store, self._edges, self._sender, self._metrics = store, edges, sender, metrics
        self._publications, self._recovery, self._catch_up = publications, recovery, catch_up
        self._batches: Batches = publications.batches
        self._connections: dict[str, Connection] = {}
        self._max_per_sub = max_per_sub
        self._of_sub: Counter[str] = Counter()
        self._in_session: dict[str, set[Connection]] = {}
        """The connections that have a stream of the session."""
        edges.on_lost, edges.on_merged = self._lost, self._merged

    async def close(self) -> None:
        tasks = [connection.task for connection in self._connections.values() if connection.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # connections

    def check_room(self, sub: str) -> None:
        """Raises AppError `too_many_connections` where the `sub` has as many as it may."""
        if self._of_sub[sub] >= self._max_per_sub:
            raise AppError("too_many_connections", f"One person may have {self._max_per_sub} connections.")

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
            self._recovery.enter(connection)
        self._connections[sid] = connection
        self._of_sub[principal.sub] += 1
        if connection.streams:
            for session_id in connection.streams:
                self._in_session.setdefault(session_id, set()).add(connection)
            self._sender.join(sid, rooms.SERVICE)
            self._catch_up_later(connection)

    async def _restore(self, connection: Connection, pid: str, offset: object) -> bool:
        before = self._recovery.connected(pid)
        if before and before.principal.sub == connection.principal.sub:
            # It is back before we noticed that it had gone.
            self._keep(before)
            self._sender.close(before.sid, REPLACED)
        return await self._recovery.restore(connection, pid, offset)

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
                self._edges.unwatch(stream.edge)

    @property
    def sids(self) -> list[str]:
        """The connections that are let in."""
        return list(self._connections)

    def connect_data(self, sid: str) -> dict[str, Any]:
        """What the connection is told when it is let in, beside its id."""
        connection = self._connections.get(sid)
        return {"pid": connection.pid} if connection and connection.pid else {}

    def principal(self, sid: str) -> Principal:
        """Raises AppError `forbidden` for a connection that is gone."""
        return self._connection(sid).principal

    def close_where(self, applies: Callable[[Principal], bool], reason: str) -> int:
        """Close the connections of these people. Answers how many there were."""
        found = [connection for connection in self._connections.values() if applies(connection.principal)]
        for connection in found:
            self._sender.close(connection.sid, reason)
        return len(found)

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
        """Add to the stream, or begin it anew after `position`. Answers where the session stands. The same request
        once more, right after itself, begins nothing anew.

        Raises AppError `forbidden`, `too_many_subscriptions`, `unavailable`. The events that it brings are sent no
        sooner than in the loop's next turn, so that the answer goes before them.
        """
        connection = self._connection(sid)
        self._check(connection, session_id, chat_id)
        stream = connection.streams.get(session_id)
        if stream and stream.request and position and stream.repeats(chat_id, position, batch):
            return {"position": render_position(self._store.position(stream.edge.seq)), "recovered": stream.request[2]}
        edge = await self._edges.watch(session_id)
        try:
            recovered = position is not None and await self._can_recover(edge, position)
            merged = len(edge.merged)
            names = [] if chat_id is None else await self._store.names_of(session_id, chat_id)
            names += [entry.chat_ids[0] for entry in edge.merged[merged:] if entry.chat_ids[1] in names]
            # While we waited the connection may have gone, or have lost the right.
            connection = self._connection(sid)
            if not self._sender.is_open(sid):
                raise AppError("forbidden", _CLOSED)  # what cannot be acknowledged must not be recovered either
            self._check(connection, session_id, chat_id)
        except BaseException:
            self._edges.unwatch(edge)
            raise
        stream = connection.streams.get(session_id)
        if stream is not None:
            self._edges.unwatch(edge)  # it has one already
            if stream.edge is not edge:
                self._sender.close(sid, EVENTS_MISSING)
                raise Unavailable(GIVEN_UP)
            stream.request = None
            self._leave_rooms(connection, stream)
        else:
            began = self._begin(connection, edge.seq)
            stream = connection.streams[session_id] = Stream(edge, edge.seq, began, told=edge.seq)
            self._in_session.setdefault(session_id, set()).add(connection)
            self._sender.join(sid, rooms.SERVICE)
        if batch is not None:
            stream.batch = batch
        stream.want(chat_id, edge.seq)
        if chat_id is not None:
            for name in names:
                stream.add_name(chat_id, name, edge.seq)
        if position is not None:
            stream.begin_anew(self._begin(connection, position.seq if recovered else edge.seq))
            stream.asked = edge.seq - stream.cursor
            stream.request = chat_id, position, recovered
        self._settle(connection)
        return {"position": render_position(self._store.position(edge.seq)), "recovered": recovered}

    def unsubscribe(self, sid: str, session_id: str, chat_id: str | None) -> None:
        """Take the session or one chat out of the stream. What was not in it is out of it already."""
        connection = self._connection(sid)
        stream = connection.streams.get(session_id)
        if stream is None or not stream.holds(chat_id):
            return
        self._leave_rooms(connection, stream)
        stream.request = None
        stream.drop(chat_id)
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
        if position.epoch != self._store.epoch:
            await self._edges.refresh(edge)
            return False
        return await self._edges.can_recover(edge, position.seq)

    def _begin(self, connection: Connection, seq: int) -> Beginning:
        connection.generation += 1
        return Beginning(seq, self._publications.number, connection.generation)

    # rooms

    def _settle(self, connection: Connection) -> None:
        """After a change: into the rooms at once where nothing is missing, else by way of the log."""
        if connection.task is None and all(stream.at_edge for stream in connection.streams.values()):
            self._go_live(connection, list(connection.streams.values()))
        else:
            self._catch_up_later(connection)

    def _go_live(self, connection: Connection, streams: Sequence[Stream]) -> None:
        """Into the rooms of all these streams. No await from where they were found to be at the edge to here."""
        for stream in streams:
            self._join_rooms(connection, stream)

    def _join_rooms(self, connection: Connection, stream: Stream) -> None:
        if stream.live:
            return
        if stream.edge.closed:
            # Given up while something was awaited on the way here: the rooms are those of another edge by now.
            self._sender.close(connection.sid, EVENTS_MISSING)
            return
        stream.unpin()
        if stream.batch:
            self._batches.enter(stream.edge.session_id, exact=connection.pid is not None)
        for room in stream.rooms(recovery=connection.pid is not None):
            self._sender.join(connection.sid, room)
        stream.live, stream.joined = True, self._publications.number
        self._metrics.live_streams.inc()

    def _leave_rooms(self, connection: Connection, stream: Stream) -> None:
        if not stream.live:
            return
        stream.live = False
        stream.cursor = stream.told = stream.edge.seq
        self._metrics.live_streams.dec()
        if stream.batch:
            self._batches.leave(stream.edge.session_id, exact=connection.pid is not None)
        for room in stream.rooms(recovery=connection.pid is not None):
            self._sender.leave(connection.sid, room)

    def _end(self, connection: Connection, stream: Stream) -> None:
        self._leave_rooms(connection, stream)
        stream.unpin()
        del connection.streams[stream.edge.session_id]
        self._left(connection, stream.edge.session_id)
        if not connection.streams:
            self._sender.leave(connection.sid, rooms.SERVICE)
        self._edges.unwatch(stream.edge)

    # catching up

    def _catch_up_later(self, connection: Connection) -> None:
        """Begin to catch up, or begin again with what is wanted now, from the next turn on."""
        if connection.task:
            connection.task.cancel()
        if connection.pid is not None:
            for stream in connection.streams.values():
                self._leave_rooms(connection, stream)
        connection.task = asyncio.create_task(self._catch_up.run(connection, self._go_live))

    # the end

    def _forget(self, connection: Connection) -> None:
        """Nothing more is sent to the connection."""
        if connection.task:
            connection.task.cancel()
            connection.task = None
        for stream in connection.streams.values():
            self._leave_rooms(connection, stream)
            self._left(connection, stream.edge.session_id)
        del self._connections[connection.sid]
        sub = connection.principal.sub
        self._of_sub[sub] -= 1
        if not self._of_sub[sub]:
            del self._of_sub[sub]
        self._recovery.leave(connection)

    def _keep(self, connection: Connection) -> None:
        joined = connection.joined()
        self._forget(connection)
        self._recovery.keep(connection, joined)

    def _left(self, connection: Connection, session_id: str) -> None:
        others = self._in_session[session_id]
        others.discard(connection)
        if not others:
            del self._in_session[session_id]

    def _merged(self, session_id: str, entry: Entry) -> None:
        """A chat has become another: who is live in the one is live in the other from here on."""
        for connection in self._in_session.get(session_id, ()):
            stream = connection.streams[session_id]
            if stream.live and stream.whole is None:
                stream.follow(entry)
                for room in stream.rooms(recovery=connection.pid is not None):
                    self._sender.join(connection.sid, room)

    def _lost(self, session_id: str) -> None:
        for connection in list(self._in_session.get(session_id, ())):
            self._sender.close(connection.sid, EVENTS_MISSING)
        self._recovery.lost(session_id)

    # in the background

    async def keep_house(self) -> None:
        """Close connections whose token has expired or that nobody serves; give up what was kept for too long."""
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            self._close_expired_and_unserved()
            self._recovery.clean_up()

    async def tell_positions(self) -> None:
        """Tell the streams now and then how far they have come."""
        while True:
            await asyncio.sleep(POSITION_SECONDS)
            for edge in self._edges:
                if not edge.closed and edge.begun:  # those after the first were seen before the last pause
                    self._batches.flush(edge.session_id)
                    position = render_position(self._store.position(edge.seq))
                    payload = {"sessionId": edge.session_id, "position": position}
                    self._sender.publish(POSITION, payload, rooms=rooms.of_session(edge.session_id), ephemeral=True)
                    await asyncio.sleep(0)

    def _close_expired_and_unserved(self) -> None:
        wall_clock = time.time()
        for connection in list(self._connections.values()):
            if connection.principal.exp <= wall_clock:
                self._sender.close(connection.sid, TOKEN_EXPIRED)
            elif not _is_served(connection):
                log.error("stream_left_behind", connection_id=connection.sid)
                self._sender.close(connection.sid, EVENTS_MISSING)

    def _connection(self, sid: str) -> Connection:
        connection = self._connections.get(sid)
        if connection is None:
            raise AppError("forbidden", _CLOSED)
        return connection


def _is_served(connection: Connection) -> bool:
    """Whether each of its streams is live or is being caught up; anything else is a defect of ours, and nobody would
    notice that nothing comes."""
    catching_up = connection.task is not None and not connection.task.done()
    return catching_up or all(stream.live and not stream.edge.closed for stream in connection.streams.values())
