"""Sends connections the events that they have missed, each at the pace of its client.

Events in memory (`app.services.memory`) are sent from there. Older events are read from the log in aligned pages, each
page once for all connections that wait for it; a stream of some chats reads only the events of its chats. A stream that
has reached the edge joins its rooms in the same turn of the event loop, so every stream becomes live eventually.

The bytes sent in one turn of the loop are limited for all connections together, and connections take turns. A client
that asks for many events again and again has to wait; other clients do not.
A connection that may be recovered is live in all its streams or in none. Streams of other connections become live one
by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from app.domain.events import POSITION, render_position
from app.errors import Unavailable
from app.metrics import Metrics
from app.quota import Quota
from app.services import batches, recovery
from app.services.closing import CATCHING_UP_FAILED, EVENTS_GONE, EVENTS_MISSING
from app.services.connection import Connection
from app.services.edge import Edge, Log
from app.services.memory import PAGE, Entry, Memory
from app.services.sender import Sender
from app.services.sharing import joined, shared
from app.services.stream import Stream

log = structlog.get_logger(__name__)

PORTION_BYTES: Final = 48 * 1024
"""Bytes sent to a connection at a time. Less than what makes it congested."""
TURN_BYTES: Final = 1024 * 1024
"""Bytes sent to all connections that catch up, in one turn of the loop."""
PARALLEL_READS: Final = 6
RETRY_SECONDS: Final = 1.0

GoLive = Callable[[Connection, Sequence[Stream]], None]


class CatchUp:
    def __init__(self, store: Log, sender: Sender, memory: Memory, metrics: Metrics, *, batch_events: int) -> None:
        self._store, self._sender, self._memory, self._metrics = store, sender, memory, metrics
        self._batch_events = batch_events
        self._parallel = asyncio.Semaphore(PARALLEL_READS)
        self._quota = Quota(TURN_BYTES)
        self._reads: dict[tuple[Edge, int], asyncio.Task[tuple[int, list[Entry]]]] = {}
        """Pages that are being read."""

    async def run(self, connection: Connection, go_live: GoLive) -> None:
        """Send what is missing. `go_live` is called with the streams that are at the edge, in the same turn.

        Returns when all streams are live, or when the connection is closed.
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
                self._sender.close(connection.sid, CATCHING_UP_FAILED)
            finally:
                for stream in connection.streams.values():
                    stream.unpin()

    async def _catch_up(self, connection: Connection, go_live: GoLive) -> None:
        while await self._sender.drained(connection.sid):
            # No await from here to go_live: a stream that is at the edge now joins its rooms there.
            behind = [stream for stream in connection.streams.values() if not stream.live]
            if connection.pid is None or all(stream.at_edge for stream in behind):
                ready = [stream for stream in behind if stream.at_edge]
                for stream in ready:
                    self._tell_position(connection, stream)
                go_live(connection, ready)
                behind = [stream for stream in behind if not stream.live]
            if not behind:
                connection.task = None
                return
            for stream in behind:
                if stream.edge.closed:
                    self._sender.close(connection.sid, EVENTS_MISSING)
                    return
                if not stream.at_edge and not await self._advance(connection, stream):
                    return

    async def _advance(self, connection: Connection, stream: Stream) -> bool:
        """Send the stream's next portion, or all that is left. False if the connection is closed."""
        if stream.asked:
            asked, stream.asked = stream.asked, 0
            await connection.charge(asked)
        if self._sender.waiting(connection.sid) > PORTION_BYTES:
            stream.unpin()  # a slow client reads the log for itself where the memory has moved on
        recent = stream.edge.recent
        if recent.after(stream.cursor) is None and not await self._fetch(connection, stream):
            return False
        await self._quota.take(PORTION_BYTES)
        # No await from here: the last portion ends at the edge, and the caller joins the rooms in the same turn.
        size = 0
        while size < PORTION_BYTES and (entries := recent.after(stream.cursor)):
            portion = _portion(entries, PORTION_BYTES - size)
            size += sum(entry.size for entry in portion)
            self._send(connection, stream, portion)
        return True

    async def _fetch(self, connection: Connection, stream: Stream) -> bool:
        """Read what follows the stream's cursor: a whole page into memory, or the events of the stream's chats, which
        are sent. False if the connection is closed."""
        if stream.pin is None:
            await self._memory.room()
        stream.unpin()
        stream.pin = stream.edge.recent.pin(stream.edge.seq)
        try:
            if stream.whole is None:
                return await self._read_chats(connection, stream)
            return await self._read_page(connection, stream)
        except Unavailable:
            await asyncio.sleep(RETRY_SECONDS)
            return True

    async def _read_page(self, connection: Connection, stream: Stream) -> bool:
        edge, number = stream.edge, stream.cursor // PAGE
        read = self._reads.get((edge, number))
        if read is None:
            read = self._reads[edge, number] = shared(self._read(edge, number))
            read.add_done_callback(lambda task: self._reads.pop((edge, number)))
        upto, entries = await joined(read)
        if edge.recent.after(stream.cursor) is not None or upto <= stream.cursor or edge.closed:
            return True
        # It has left the memory already, or was never whole.
        following = [entry for entry in entries if entry.seq > stream.cursor]
        if not following or following[-1].seq - stream.cursor != len(following):
            log.warning("log_trimmed_while_catching_up", session_id=edge.session_id, cursor=stream.cursor)
            self._sender.close(connection.sid, EVENTS_GONE)
            return False
        return await self._send_all(connection, stream, following)

    async def _read(self, edge: Edge, number: int) -> tuple[int, list[Entry]]:
        """Read a page. Returns the number up to which it was read, and the entries."""
        async with self._parallel:
            upto = min((number + 1) * PAGE, edge.seq)
            events = await self._store.read_events(edge.session_id, number * PAGE, upto, PAGE)
        self._metrics.log_reads.inc()
        entries = [Entry(event) for event in events]
        if not edge.closed:
            edge.recent.fill(number, entries)
        return upto, entries

    async def _read_chats(self, connection: Connection, stream: Stream) -> bool:
        """Send the events of the stream's chats that are older than what is in memory."""
        edge = stream.edge
        async with self._parallel:
            upto = edge.recent.first(edge.seq) - 1
            if upto <= stream.cursor:
                return True
            # The log has a `chat_merged` under its new name alone, and so what follows it.
            for entry in edge.merged:
                stream.follow(entry)
            events = await self._store.read_events(edge.session_id, stream.cursor, upto, PAGE, stream.all_chats())
        self._metrics.log_reads.inc()
        if not await self._send_all(connection, stream, [Entry(event) for event in events]):
            return False
        if len(events) < PAGE:
            stream.cursor = upto
        return True

    # sending

    async def _send_all(self, connection: Connection, stream: Stream, entries: Sequence[Entry]) -> bool:
        """Send entries that are not in memory, at the client's pace. False if the connection is closed."""
        while entries:
            await self._quota.take(PORTION_BYTES)
            portion = _portion(entries, PORTION_BYTES)
            self._send(connection, stream, portion)
            entries = entries[len(portion) :]
            if entries and not await self._sender.drained(connection.sid):
                return False
        return True

    def _send(self, connection: Connection, stream: Stream, portion: Sequence[Entry]) -> None:
        """Send the entries of the portion that the stream takes, and move its cursor to the portion's end."""
        wanted = portion
        if stream.whole is None or stream.whole >= portion[0].seq:
            wanted = [entry for entry in portion if stream.takes(entry)]
        if wanted:
            self._metrics.events_caught_up.inc(len(wanted))
            if stream.batch:
                for entries in batches.lists(wanted, self._batch_events, by_chat=stream.whole is None):
                    self._push(connection, stream, entries[-1].seq, batches.EVENTS, batches.render(entries))
            elif connection.pid is not None:
                for entry in wanted:
                    self._push(connection, stream, entry.seq, entry.event, entry.data)
            else:
                self._sender.push_prepared(connection.sid, self._prepared(wanted))
                stream.told = wanted[-1].seq
        stream.cursor = portion[-1].seq

    def _prepared(self, entries: Sequence[Entry]) -> list[object]:
        for entry in entries:
            if entry.prepared is None:
                entry.prepared = self._sender.prepare(entry.event, entry.data)
        return [entry.prepared for entry in entries]

    def _push(self, connection: Connection, stream: Stream, seq: int, event: str, data: object) -> None:
        stream.cursor = stream.told = seq
        if connection.pid is None:
            self._sender.push(connection.sid, event, data)
            return
        cursors = {session_id: one.cursor for session_id, one in connection.streams.items()}
        offset = recovery.make_offset(connection.pid, connection.generation, cursors)
        self._sender.push(connection.sid, event, data, offset)

    def _tell_position(self, connection: Connection, stream: Stream) -> None:
        """Send the position of a stream that is about to become live, unless its last event told it."""
        if stream.told < stream.cursor:
            stream.told = stream.cursor
            position = render_position(self._store.position(stream.cursor))
            self._sender.push(connection.sid, POSITION, {"sessionId": stream.edge.session_id, "position": position})


def _portion(entries: Sequence[Entry], most: int) -> Sequence[Entry]:
    """The first entries that fit into `most` bytes, at least one."""
    size = 0
    for index, entry in enumerate(entries):
        size += entry.size
        if size > most and index:
            return entries[:index]
    return entries
