"""Catching up: sending a connection the log, at the pace at which it takes it.

A connection that may be recovered is live in all its streams or in none; another's streams become live one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from app.domain.events import POSITION, SERVICE, Event, render_position
from app.errors import Unavailable
from app.metrics import Metrics
from app.services import recovery
from app.services.publisher import EVENTS, render_batch
from app.services.sender import Sender
from app.services.stream import Connection, Stream
from app.storage.mongo import Store

log = structlog.get_logger(__name__)

PAGE: Final = 100
"""Events read from the log at a time."""
PACE_BYTES: Final = 256 * 1024
"""A catching-up stream waits for the client when more than this waits for it."""
PARALLEL_READS: Final = 6


GoLive = Callable[[Connection, Sequence[Stream]], None]


class CatchUp:
    def __init__(self, store: Store, sender: Sender, metrics: Metrics, *, batch_events: int) -> None:
        self._store, self._sender, self._metrics = store, sender, metrics
        self._batch_events = batch_events
        self._reads = asyncio.Semaphore(PARALLEL_READS)

    async def run(self, connection: Connection, go_live: GoLive) -> None:
        """Send what is missing; `go_live` is called with the streams that are at the edge, in the same turn.

        Ends when all streams are live, or the connection is gone or must go.
        """
        with self._metrics.catching_up.track_inprogress():
            try:
                await self._catch_up(connection, go_live)
            except (Exception, asyncio.CancelledError):
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # The client comes back, and is given the rest or told that it cannot be.
                log.exception("catching_up_failed", connection_id=connection.sid)
                self._sender.close(connection.sid, "catching up failed")

    async def _catch_up(self, connection: Connection, go_live: GoLive) -> None:
        while await self._sender.drained(connection.sid):
            behind = [stream for stream in connection.streams.values() if not stream.live]
            if connection.pid is None or all(stream.at_edge for stream in behind):
                ready = [stream for stream in behind if stream.at_edge]
                for stream in ready:
                    self._tell_position(connection, stream)
                go_live(connection, ready)
                if connection.task is not asyncio.current_task():  # that has made it congested: another catches up
                    return
                behind = [stream for stream in behind if not stream.live]
            if not behind:
                connection.task = None
                return
            for stream in behind:
                if not stream.at_edge and not await self._page(connection, stream):
                    return

    async def _page(self, connection: Connection, stream: Stream) -> bool:
        """Send the next page of the log. False when the connection is gone or must go."""
        upto = stream.edge.seq
        chats = None if stream.whole is not None else list(stream.chats)
        try:
            async with self._reads:
                events = await self._store.read_events(stream.edge.session_id, stream.cursor, upto, PAGE, chats)
        except Unavailable:
            # It is in no room, where the others are told.
            self._sender.push(connection.sid, SERVICE, {"available": False})
            connection.told_away = True
            await asyncio.sleep(1)
            return True
        if connection.told_away:
            connection.told_away = False
            self._sender.push(connection.sid, SERVICE, {"available": True})
        wanted: list[Event] = []
        for event in events:
            if stream.whole is not None and event.seq != stream.cursor + 1:
                return self._trimmed(connection, stream)
            stream.cursor = event.seq
            if not stream.wants(event):
                continue
            wanted.append(event)
            if stream.batch and len(wanted) < self._batch_events and event is not events[-1]:
                continue
            self._send(connection, stream, wanted)
            wanted = []
            if self._sender.waiting(connection.sid) > PACE_BYTES and not await self._sender.drained(connection.sid):
                return False
        if wanted:
            self._send(connection, stream, wanted)
        if len(events) < PAGE:
            if stream.whole is not None and stream.cursor != upto:
                return self._trimmed(connection, stream)
            stream.cursor = upto
        return True

    def _send(self, connection: Connection, stream: Stream, events: Sequence[Event]) -> None:
        """One event, or a batch. The stream's cursor is at the last of them."""
        stream.told = stream.cursor
        self._metrics.events_caught_up.inc(len(events))
        name, data = (EVENTS, render_batch(events)) if stream.batch else (events[0].event, events[0].data)
        if connection.pid is None:
            self._sender.push(connection.sid, name, data)
        else:
            cursors = {session_id: one.cursor for session_id, one in connection.streams.items()}
            offset = recovery.make_offset(connection.pid, connection.generation, cursors)
            self._sender.push(connection.sid, name, data, offset)

    def _trimmed(self, connection: Connection, stream: Stream) -> bool:
        """The log lost entries while we read it: the client comes back and is told that it cannot recover."""
        log.warning("log_trimmed_while_catching_up", session_id=stream.edge.session_id, cursor=stream.cursor)
        self._sender.close(connection.sid, "events no longer kept")
        return False

    def _tell_position(self, connection: Connection, stream: Stream) -> None:
        """Tell a stream that is about to be live how far it is, where the last event did not."""
        if stream.told < stream.cursor:
            stream.told = stream.cursor
            position = render_position(self._store.position(stream.cursor))
            payload = {"sessionId": stream.edge.session_id, "position": position}
            self._sender.push(connection.sid, POSITION, payload)
