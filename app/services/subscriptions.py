"""The subscriptions of each connection: one stream per session.

A stream is a filter (the whole session, or some chats), a cursor, and one of two states.
- Live: the connection is in the rooms of the session or of its chats, and its cursor is the session's edge.
- Catching up: it is in no room. A task sends the missed events, as fast as the client reads them
  (`app.services.catchup`). When the cursor reaches the edge, it joins the rooms in the same turn of the loop, so there
  is nothing to hold back, merge or drop.
A congested connection leaves the rooms and catches up once it has drained.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from app.domain import rooms
from app.domain.events import POSITION, Wire, render_position
from app.domain.models import Position
from app.errors import AppError, Unavailable
from app.metrics import Metrics
from app.services.catchup import CatchUp
from app.services.closing import EVENTS_MISSING
from app.services.connection import Connection
from app.services.edge import Edge, Log
from app.services.edges import Edges
from app.services.memory import Entry
from app.services.publications import Publications
from app.services.sender import Sender
from app.services.sharing import GIVEN_UP
from app.services.stream import Beginning, Stream

MAX_SUBSCRIPTIONS: Final = 128
POSITION_SECONDS: Final = 36.0
"""Interval of `position` events. The contract promises 40 s."""

_FORBIDDEN = "The token does not allow this session, or it does not exist."
CLOSED: Final = "The connection is closed."


class Subscriptions:
    def __init__(
        self,
        store: Log,
        edges: Edges,
        publications: Publications,
        catch_up: CatchUp,
        sender: Sender,
        metrics: Metrics,
    ) -> None:
        self._store, self._edges, self._sender, self._metrics = store, edges, sender, metrics
        self._publications, self._batches, self._catch_up = publications, publications.batches, catch_up
        self._in_session: dict[str, set[Connection]] = {}
        """The connections with a stream of each session."""
        edges.on_merged = self._merged
        self.on_subscribed: Callable[[Connection, str, str | None], None] = lambda connection, session_id, chat_id: None
        """Called with each subscription, before its answer, and with those of recovered connections."""
        self.on_merged: Callable[[str, Entry], None] = lambda session_id, entry: None
        """Called with each `chat_merged` that was sent."""

    async def subscribe(
        self,
        connection: Connection,
        session_id: str,
        chat_id: str | None,
        position: Position | None,
        batch: bool | None = None,
    ) -> Wire:
        """Add to the stream, or restart it after `position`. Returns the session's position. Repeating the same request
        right after itself does not restart the stream.

        Raises AppError `forbidden`, `too_many_subscriptions`, `unavailable`. The events are sent in the next turn of
        the loop at the earliest, so that the answer is sent before them.
        """
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
            # The connection may have ended meanwhile, or have lost the right.
            if connection.gone or not self._sender.is_open(connection.sid):
                raise AppError("forbidden", CLOSED)  # a request that cannot be acknowledged must not be recovered
            self._check(connection, session_id, chat_id)
        except BaseException:
            self._edges.unwatch(edge)
            raise
        stream = connection.streams.get(session_id)
        if stream is not None:
            self._edges.unwatch(edge)  # the stream watches it already
            if stream.edge is not edge:
                self._sender.close(connection.sid, EVENTS_MISSING)
                raise Unavailable(GIVEN_UP)
            stream.request = None
            self._leave_rooms(connection, stream)
        else:
            began = self._begin(connection, edge.seq)
            stream = connection.streams[session_id] = Stream(edge, edge.seq, began, told=edge.seq)
            self._entered(connection, session_id)
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
        self._show(connection, stream)
        self._settle(connection)
        self.on_subscribed(connection, session_id, chat_id)
        return {"position": render_position(self._store.position(edge.seq)), "recovered": recovered}

    def unsubscribe(self, connection: Connection, session_id: str, chat_id: str | None) -> None:
        """Remove the session or one chat from the stream. Does nothing if it is not in it."""
        stream = connection.streams.get(session_id)
        if stream is None or not stream.holds(chat_id):
            return
        self._leave_rooms(connection, stream)
        stream.request = None
        stream.drop(chat_id)
        if stream.whole is None and not stream.chats:
            self._end(connection, stream)
        else:
            self._show(connection, stream)
        self._settle(connection)

    def narrow(self, connection: Connection) -> None:
        """End the subscriptions that the connection's new token does not allow."""
        for session_id, stream in list(connection.streams.items()):
            if not connection.principal.may("read", session_id):
                self._end(connection, stream)
        self._settle(connection)  # catching up must not continue with a page for an ended subscription

    def resume(self, connection: Connection) -> None:
        """Start the streams of a recovered connection."""
        for session_id, stream in connection.streams.items():
            self._entered(connection, session_id)
            self._show(connection, stream)
            for chat_id in [None] if stream.whole is not None else stream.chats:
                self.on_subscribed(connection, session_id, chat_id)
        if connection.streams:
            self._catch_up_later(connection)

    def congested(self, connection: Connection) -> None:
        """The connection is congested: its streams leave the rooms and catch up."""
        for stream in connection.streams.values():
            self._leave_rooms(connection, stream)
        self._catch_up_later(connection)

    def forget(self, connection: Connection) -> None:
        """Nothing more is sent to the connection. The edges of its streams are still watched."""
        if connection.task:
            connection.task.cancel()
            connection.task = None
        for stream in connection.streams.values():
            self._leave_rooms(connection, stream)
            self._hide(connection, stream)
            self._left(connection, stream.edge.session_id)

    def close_all(self, session_id: str) -> None:
        """Close the connections with a stream of this session, because its edge was closed."""
        for connection in list(self._in_session.get(session_id, ())):
            self._sender.close(connection.sid, EVENTS_MISSING)

    async def tell_positions(self) -> None:
        """Send `position` events at intervals."""
        while True:
            await asyncio.sleep(POSITION_SECONDS)
            for edge in self._edges:
                if not edge.closed and edge.begun:  # may have ended during the last pause
                    self._batches.flush(edge.session_id)
                    position = render_position(self._store.position(edge.seq))
                    payload = {"sessionId": edge.session_id, "position": position}
                    self._sender.publish(POSITION, payload, rooms=rooms.of_session(edge.session_id), ephemeral=True)
                    await asyncio.sleep(0)

    def _check(self, connection: Connection, session_id: str, chat_id: str | None) -> None:
        if not connection.principal.may("read", session_id):
            raise AppError("forbidden", _FORBIDDEN)
        stream = connection.streams.get(session_id)
        held = stream is not None and stream.holds(chat_id)
        if not held and connection.subscriptions() >= MAX_SUBSCRIPTIONS:
            raise AppError("too_many_subscriptions", f"A connection may have {MAX_SUBSCRIPTIONS} subscriptions.")

    async def _can_recover(self, edge: Edge, position: Position) -> bool:
        """Whether every event after the position can be sent. Brings the edge to the database's last number."""
        if position.epoch != self._store.epoch:
            await self._edges.refresh(edge)
            return False
        return await self._edges.can_recover(edge, position.seq)

    def _begin(self, connection: Connection, seq: int) -> Beginning:
        connection.generation += 1
        return Beginning(seq, self._publications.number, connection.generation)

    # rooms

    def _settle(self, connection: Connection) -> None:
        """After a change: join the rooms at once if nothing is missing, otherwise catch up."""
        if connection.task is None and all(stream.at_edge for stream in connection.streams.values()):
            self._go_live(connection, list(connection.streams.values()))
        else:
            self._catch_up_later(connection)

    def _go_live(self, connection: Connection, streams: Sequence[Stream]) -> None:
        """Join the rooms of all these streams. No await between the check that they are at the edge and this call."""
        for stream in streams:
            self._join_rooms(connection, stream)

    def _join_rooms(self, connection: Connection, stream: Stream) -> None:
        if stream.live:
            return
        if stream.edge.closed:
            # Closed during an await before this: the rooms belong to another edge by now.
            self._sender.close(connection.sid, EVENTS_MISSING)
            return
        stream.unpin()
        if stream.batch:
            self._batches.enter(stream.edge.session_id, exact=connection.pid is not None)
        for room in stream.rooms(recovery=connection.pid is not None):
            self._sender.join(connection.sid, room)
        self._show(connection, stream)  # a merge that was caught up may have added names
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
        self._hide(connection, stream)
        stream.unpin()
        del connection.streams[stream.edge.session_id]
        self._left(connection, stream.edge.session_id)
        if not connection.streams:
            self._sender.leave(connection.sid, rooms.SERVICE)
        self._edges.unwatch(stream.edge)

    def _show(self, connection: Connection, stream: Stream) -> None:
        """Join the rooms for what is ephemeral that the stream wants, and leave the others."""
        wanted = stream.who_rooms()
        for room in wanted - stream.shown:
            self._sender.join(connection.sid, room)
        for room in stream.shown - wanted:
            self._sender.leave(connection.sid, room)
        stream.shown = wanted

    def _hide(self, connection: Connection, stream: Stream) -> None:
        for room in stream.shown:
            self._sender.leave(connection.sid, room)
        stream.shown = set()

    # catching up

    def _catch_up_later(self, connection: Connection) -> None:
        """Start to catch up in the next turn, or start again with the current subscriptions."""
        if connection.task:
            connection.task.cancel()
        if connection.pid is not None:
            for stream in connection.streams.values():
                self._leave_rooms(connection, stream)
        connection.task = asyncio.create_task(self._catch_up.run(connection, self._go_live))

    # the connections of a session

    def _entered(self, connection: Connection, session_id: str) -> None:
        self._in_session.setdefault(session_id, set()).add(connection)
        self._sender.join(connection.sid, rooms.SERVICE)

    def _left(self, connection: Connection, session_id: str) -> None:
        others = self._in_session[session_id]
        others.discard(connection)
        if not others:
            del self._in_session[session_id]

    def _merged(self, session_id: str, entry: Entry) -> None:
        """A chat was merged into another: streams that are live in the old chat are live in the new one from here
        on."""
        for connection in self._in_session.get(session_id, ()):
            stream = connection.streams[session_id]
            if stream.live and stream.whole is None:
                stream.follow(entry)
                for room in stream.rooms(recovery=connection.pid is not None):
                    self._sender.join(connection.sid, room)
                self._show(connection, stream)
        self.on_merged(session_id, entry)
