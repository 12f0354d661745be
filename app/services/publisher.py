"""Sends what was committed, whoever committed it, to the rooms of this process.

For each session that somebody watches here there is an edge: the number up to which was sent. It sends edge + 1,
edge + 2 … and never anything else. What this process commits comes here directly; a change stream tells when another
process has written, and where that leaves a hole the log is read. While the change stream is broken, and when it is
back, the database is asked how far the watched sessions are. What cannot be made whole (a log that lost entries, a
database that was put back) ends in `on_lost`: the session's connections are closed, come back, and are told.
While nothing can come, since the database does not answer, everybody subscribed here is told so.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence

import structlog

from app.domain import rooms
from app.domain.events import POSITION, SERVICE, Event, render_position
from app.errors import Unavailable
from app.metrics import Metrics
from app.services.background import surviving
from app.services.edge import Edge
from app.services.sender import Sender
from app.storage.mongo import Store

log = structlog.get_logger(__name__)

EVENTS = "events"
TURN_BYTES = 64 * 1024
"""What is sent in one turn of the loop: more would make healthy readers look slow."""
PAGE = 200
POSITION_SECONDS = 36.0
"""How often the streams are told how far they have come; the contract promises 40 s."""
SWEEP_SECONDS = 1.0
"""How often the database is asked while the change stream is broken."""
LOOK_SECONDS = 1.0
"""How long the database may take to answer, each of the two times that it is asked whether it is there."""
MAX_HOLE_READS = 30
HOLE_SECONDS = 0.1
"""What is missing is asked for so often, so long after one another: after a fail-over the new primary may show a
commit a little later."""

GIVEN_UP = "The session's events are being put in order. Try again."


class Publisher:
    def __init__(
        self,
        store: Store,
        sender: Sender,
        metrics: Metrics,
        *,
        batch_events: int,
        batch_seconds: float,
        remember_seconds: float,
    ) -> None:
        """`remember_seconds`: for so long is known how far each session was sent at each publication."""
        self._store, self._sender, self._metrics = store, sender, metrics
        self._batch_events, self._batch_seconds = batch_events, batch_seconds
        self._remember_seconds = remember_seconds
        self._edges: dict[str, Edge] = {}
        self._gathering: set[Edge] = set()
        """With a batch that is not sent yet and that a connection which may be recovered waits for."""
        self._tasks: list[asyncio.Task[None]] = []
        self._marks: list[tuple[float, int]] = []
        self._available = True
        """What everybody has been told of the database."""
        self.process = secrets.token_urlsafe(6)
        """The name of this process's publications."""
        self.number = 0
        """Publications of this process so far; each event sent to the rooms has one."""
        self.on_lost: Callable[[str], None] = lambda session_id: None
        """Called with a session whose events cannot be made whole."""
        self.on_forget: Callable[[int], None] = lambda number: None
        """Called before the publications up to this one are forgotten."""
        self.watching = asyncio.Event()
        """Set while the change stream is open."""

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._keep_house())]

    async def close(self) -> None:
        tasks = [*self._tasks, *(edge.reader for edge in self._edges.values() if edge.reader)]
        for edge in self._edges.values():
            edge.clear_batch()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # watching

    async def watch(self, session_id: str) -> Edge:
        """The session's edge, kept until as many `unwatch`. Raises Unavailable."""
        edge = self._edges.get(session_id)
        if edge is None:
            edge = self._edges[session_id] = Edge(session_id)
        edge.watchers += 1
        try:
            await self._find(edge)
            self._check_current(edge)
        except BaseException:
            self.unwatch(edge)
            raise
        return edge

    def unwatch(self, edge: Edge) -> None:
        edge.watchers -= 1
        if edge.watchers == 0 and self.is_current(edge):
            self._drop(edge)

    async def refresh(self, edge: Edge) -> int:
        """Ask the database how far the session is and bring the edge there. Answers the edge. Raises Unavailable."""
        seq = await self._store.seq(edge.session_id)
        self._advance(edge, seq)
        self._check_current(edge)
        while edge.seq < seq:
            await edge.move()
            self._check_current(edge)
        return edge.seq

    def is_current(self, edge: Edge) -> bool:
        """Whether the edge still moves. One that was given up gets nothing any more: nobody may begin to follow it."""
        return self._edges.get(edge.session_id) is edge

    def _check_current(self, edge: Edge) -> None:
        if not self.is_current(edge):
            raise Unavailable(GIVEN_UP)

    async def _find(self, edge: Edge) -> None:
        """Find where the session stands. Those who come meanwhile wait for the same answer."""
        while edge.found is not None and not edge.found.done():
            await asyncio.wait([edge.found])
        if edge.ready:
            return
        found = edge.found = asyncio.get_running_loop().create_future()
        try:
            seq = await self._store.seq(edge.session_id)
        except BaseException:
            edge.found = None
            found.set_result(None)
            raise
        edge.begin(seq, self.number)
        found.set_result(None)
        self._advance(edge, edge.target)

    def _drop(self, edge: Edge) -> None:
        del self._edges[edge.session_id]
        edge.backlog.clear()
        edge.clear_batch()
        edge.wake()
        if edge.reader:
            edge.reader.cancel()

    # what comes in

    @contextlib.contextmanager
    def committing(self, session_id: str) -> Iterator[None]:
        """Around a write of this process: what the change stream tells meanwhile waits for what comes directly."""
        edge = self._edges.get(session_id)
        if edge is None:
            yield
            return
        edge.committing += 1
        try:
            yield
        finally:
            edge.committing -= 1
            self._advance(edge, edge.target)

    def publish(self, session_id: str, events: Sequence[Event]) -> None:
        """Take what this process has just committed."""
        edge = self._edges.get(session_id)
        if edge is None or not events:
            return
        edge.target = max(edge.target, events[-1].seq)
        if edge.ready:
            self._take(edge, events)

    def _advance(self, edge: Edge, seq: int) -> None:
        """The session is known to stand at `seq`: get what is missing."""
        edge.target = max(edge.target, seq)
        if edge.target <= edge.last or edge.committing or edge.reader or not edge.ready:
            return
        if self.is_current(edge):
            edge.reader = asyncio.create_task(self._fill(edge))

    async def _fill(self, edge: Edge) -> None:
        """Read the log up to the target."""
        try:
            misses = 0
            while (last := edge.last) < edge.target:
                try:
                    events = await self._store.read_events(edge.session_id, last, edge.target, PAGE)
                except Exception as error:
                    if not isinstance(error, Unavailable):
                        log.exception("log_not_read", session_id=edge.session_id)
                    await asyncio.sleep(SWEEP_SECONDS)
                    continue
                self._take(edge, events)
                if edge.last > last:  # by what was read, or by what came directly meanwhile
                    misses = 0
                elif edge.last < edge.target:
                    misses += 1
                    if misses == MAX_HOLE_READS:
                        self._lose(edge)
                        return
                    await asyncio.sleep(HOLE_SECONDS)
                while edge.backlog:
                    await edge.move()
        finally:
            edge.reader = None

    def _lose(self, edge: Edge) -> None:
        if not self.is_current(edge):
            return
        log.error("events_missing_in_log", session_id=edge.session_id, edge=edge.last, target=edge.target)
        self._drop(edge)
        self.on_lost(edge.session_id)

    # what goes out

    def _take(self, edge: Edge, events: Sequence[Event]) -> None:
        """Put what follows without a hole behind what waits, and send."""
        last = edge.last
        for event in events:
            if event.seq == last + 1:
                edge.backlog.append(event)
                last = event.seq
        if not edge.pumping:
            self._pump(edge)
        self._advance(edge, edge.target)

    def _pump(self, edge: Edge) -> None:
        """Send a turn's worth; what is left waits for the next turn."""
        edge.pumping = False
        size = 0
        while edge.backlog and size < TURN_BYTES:
            event = edge.backlog.popleft()
            size += event.size
            self._send(edge, event)
        if size:
            edge.wake()
        if edge.backlog:
            edge.pumping = True
            asyncio.get_running_loop().call_soon(self._pump, edge)

    def _send(self, edge: Edge, event: Event) -> None:
        # Who sees this event's number has what was gathered for it in other sessions before: recovery relies on it.
        for other in self._gathering - {edge}:
            self.flush_batch(other)
        self.number += 1
        edge.sent(event.seq, self.number)
        session_id, chat_id = event.session_id, event.chat_id
        to = (rooms.session(session_id), rooms.chat(session_id, chat_id))
        self._sender.publish(event.event, event.data, rooms=to)
        to = (rooms.session(session_id, "r"), rooms.chat(session_id, chat_id, "r"))
        self._sender.publish(event.event, event.data, self.offset(self.number), rooms=to)
        self._metrics.events_published.inc()
        if edge.batchers:
            edge.batch.append((event, self.number))
            if edge.exact_batchers:
                self._gathering.add(edge)
            if len(edge.batch) >= self._batch_events:
                self.flush_batch(edge)
            elif edge.batch_timer is None:
                loop = asyncio.get_running_loop()
                edge.batch_timer = loop.call_later(self._batch_seconds, self.flush_batch, edge)

    def flush_batch(self, edge: Edge) -> None:
        """Send what was gathered for streams that want batches: then they, too, have all up to the edge."""
        self._gathering.discard(edge)
        batch = edge.clear_batch()
        if not batch:
            return
        session_id = edge.session_id
        self._send_batch(batch, "session", session_id)
        # A stream of several chats must have its events in order, so a chat's batch ends where another's begins.
        first = 0
        for i in range(1, len(batch) + 1):
            chat_id = batch[first][0].chat_id
            if i == len(batch) or batch[i][0].chat_id != chat_id:
                self._send_batch(batch[first:i], "chat", session_id, chat_id)
                first = i

    def _send_batch(self, batch: list[tuple[Event, int]], room: str, *key: str) -> None:
        events = render_batch([event for event, _ in batch])
        self._sender.publish(EVENTS, events, rooms=((room, "b", *key),))
        self._sender.publish(EVENTS, events, self.offset(batch[-1][1]), rooms=((room, "br", *key),))

    def offset(self, number: int) -> str:
        """What a publication is called in Socket.IO's connection state recovery."""
        return f"{self.process}.{number}"

    # in the background

    async def _follow(self) -> None:
        """Follow the change stream for ever, whatever happens: without it nothing of other processes is pushed."""
        while True:
            with surviving("change_stream_broken"):
                await self._follow_stream()
            self.watching.clear()
            with surviving("sweep_failed"):
                await self._look()
                await self._sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def _follow_stream(self) -> None:
        """Ends by raising."""
        begun, looked = False, 0.0
        async for change in self._store.watch():
            if not begun:
                begun = True
                self.watching.set()
                self._tell(available=True)
                await self._sweep()
            if change is not None and (edge := self._edges.get(change[0])):
                self._advance(edge, change[1])
            now = asyncio.get_running_loop().time()
            if now - looked >= SWEEP_SECONDS:  # whatever has ended a reader, the next one begins by itself
                looked = now
                for edge in self._edges.values():
                    self._advance(edge, edge.target)

    async def _look(self) -> None:
        """Tell everybody whether the database answers. Raises what it raised if it does not.

        Asked once it may not answer only because the connection is as dead as the change stream's; that is given up
        with the first question, and the next goes another way.
        """
        try:
            try:
                await self._store.ping(LOOK_SECONDS)
            except Unavailable:
                await self._store.ping(LOOK_SECONDS)
        except Exception:
            self._tell(available=False)
            raise
        self._tell(available=True)

    def _tell(self, *, available: bool) -> None:
        """That it is available is told when that is new; that it is not at each look: some came since the last one."""
        if available and self._available:
            return
        self._available = available
        to = [room for session_id in self._edges for room in rooms.of_session(session_id)]
        # Not as the engine's ephemeral events, which are left out where bytes wait: nothing else says that it is back.
        self._sender.publish(SERVICE, {"available": available}, rooms=to)

    async def _sweep(self) -> None:
        """Ask how far all watched sessions are."""
        # Those whose answer is under way may have been told of a time before the change stream began.
        finding = [edge.found for edge in self._edges.values() if edge.found and not edge.ready]
        if finding:
            await asyncio.wait(finding)
        edges = [edge for edge in self._edges.values() if edge.ready]
        for _ in range(MAX_HOLE_READS):
            if not edges:
                return
            before = {edge: edge.seq for edge in edges}
            seqs = await self._store.seqs([edge.session_id for edge in edges])
            edges = [edge for edge in edges if seqs.get(edge.session_id, 0) < before[edge]]
            for edge in before.keys() - edges:
                self._advance(edge, seqs.get(edge.session_id, 0))
            if edges:
                await asyncio.sleep(HOLE_SECONDS)
        for edge in edges:  # the database was put back to an earlier state
            self._lose(edge)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(POSITION_SECONDS)
            with surviving("housekeeping_failed"):
                self._forget()
                await self._tell_positions()

    def _forget(self) -> None:
        """Forget the numbers that no recovery can ask for any more."""
        now = asyncio.get_running_loop().time()
        self._marks.append((now, self.number))
        forgotten = 0
        while self._marks and self._marks[0][0] < now - self._remember_seconds:
            forgotten = self._marks.pop(0)[1]
        if forgotten:
            self.on_forget(forgotten)
            for edge in self._edges.values():
                edge.forget(forgotten)

    async def _tell_positions(self) -> None:
        for session_id, edge in list(self._edges.items()):
            if edge.ready:
                self.flush_batch(edge)
                position = {"sessionId": session_id, "position": render_position(self._store.position(edge.seq))}
                self._sender.publish(POSITION, position, rooms=rooms.of_session(session_id), ephemeral=True)
                await asyncio.sleep(0)


def render_batch(events: Sequence[Event]) -> list[dict[str, object]]:
    """The payload of an `events` event."""
    return [{"event": event.event, "data": event.data} for event in events]
