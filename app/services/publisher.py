"""Sends what was committed, whoever committed it, to the rooms of this process.

For each session that somebody watches here there is an edge: the number up to which was sent. It sends edge + 1,
edge + 2 … and never anything else. What this process commits comes here directly; a change stream tells when another
process has written, and where that leaves a hole the log is read. While the change stream is broken, and when it is
back, the database is asked how far the watched sessions are. What cannot be made whole (a log that lost entries, a
database that was put back) ends in `on_lost`: the session's connections are closed, come back, and are told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import structlog

from app.domain import rooms
from app.domain.events import POSITION, Event, render_position
from app.errors import Unavailable
from app.metrics import Metrics
from app.services.engine import Engine
from app.storage.mongo import Store

log = structlog.get_logger(__name__)

TURN_BYTES = 64 * 1024
"""What is sent in one turn of the loop: more would make healthy readers look slow."""
PAGE = 200
POSITION_SECONDS = 30.0
"""How often the streams are told how far they have come; the contract promises 40 s."""
SWEEP_SECONDS = 1.0
"""How often the database is asked while the change stream is broken."""
MAX_HOLE_READS = 10


class Edge:
    """How far a watched session was sent. `seq` is right once `ready` is done."""

    __slots__ = (
        "backlog",
        "committing",
        "moved",
        "pumping",
        "reader",
        "ready",
        "seq",
        "session_id",
        "target",
        "watchers",
    )

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.seq = 0
        self.target = 0
        """The highest number known to be committed."""
        self.backlog: deque[Event] = deque()
        """What comes next, without a hole."""
        self.pumping = False
        self.moved: asyncio.Future[None] | None = None
        """Done when more was sent; for those who wait for that."""
        self.committing = 0
        """This process is writing to the session: what comes of it will come directly."""
        self.reader: asyncio.Task[None] | None = None
        self.ready: asyncio.Future[None] | None = None
        self.watchers = 0

    @property
    def last(self) -> int:
        """The number up to which the events are here."""
        return self.backlog[-1].seq if self.backlog else self.seq

    async def move(self) -> None:
        """Wait until more was sent, or the edge is given up."""
        if self.moved is None or self.moved.done():
            self.moved = asyncio.get_running_loop().create_future()
        await asyncio.wait([self.moved])

    def wake(self) -> None:
        if self.moved and not self.moved.done():
            self.moved.set_result(None)


class Publisher:
    def __init__(self, store: Store, engine: Engine, metrics: Metrics) -> None:
        self._store, self._engine, self._metrics = store, engine, metrics
        self._edges: dict[str, Edge] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.on_lost: Callable[[str], None] = lambda session_id: None
        """Called with a session whose events cannot be made whole."""
        self.watching = asyncio.Event()
        """Set while the change stream is open."""

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._tell_positions())]

    async def close(self) -> None:
        tasks = [*self._tasks, *(edge.reader for edge in self._edges.values() if edge.reader)]
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
            await self._ready(edge)
        except BaseException:
            self.unwatch(edge)
            raise
        return edge

    def unwatch(self, edge: Edge) -> None:
        edge.watchers -= 1
        if edge.watchers == 0 and self._edges.get(edge.session_id) is edge:
            self._drop(edge)

    async def refresh(self, edge: Edge) -> int:
        """Ask the database how far the session is and bring the edge there. Answers the edge. Raises Unavailable."""
        seq = await self._store.seq(edge.session_id)
        self._advance(edge, seq)
        while edge.seq < seq:
            if self._edges.get(edge.session_id) is not edge:
                raise Unavailable("The session's events are being put in order. Try again.")
            await edge.move()
        return edge.seq

    async def _ready(self, edge: Edge) -> None:
        """Find where the session stands. Those who come meanwhile wait for the same answer."""
        while edge.ready is not None and not edge.ready.done():
            await asyncio.wait([edge.ready])
        if edge.ready is not None:
            return
        edge.ready = asyncio.get_running_loop().create_future()
        try:
            edge.seq = await self._store.seq(edge.session_id)
        except BaseException:
            waiting, edge.ready = edge.ready, None
            waiting.set_result(None)
            raise
        edge.ready.set_result(None)
        self._advance(edge, edge.target)

    def _drop(self, edge: Edge) -> None:
        del self._edges[edge.session_id]
        edge.backlog.clear()
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
        if edge.ready is not None and edge.ready.done():
            self._take(edge, events)

    def _advance(self, edge: Edge, seq: int) -> None:
        """The session is known to stand at `seq`: get what is missing."""
        edge.target = max(edge.target, seq)
        if edge.target <= edge.last or edge.committing or edge.reader or not (edge.ready and edge.ready.done()):
            return
        if self._edges.get(edge.session_id) is edge:
            edge.reader = asyncio.create_task(self._fill(edge))

    async def _fill(self, edge: Edge) -> None:
        """Read the log up to the target."""
        try:
            misses = 0
            while edge.last < edge.target:
                try:
                    events = await self._store.read_events(edge.session_id, edge.last, edge.target, PAGE)
                except Unavailable:
                    await asyncio.sleep(SWEEP_SECONDS)
                    continue
                if not self._take(edge, events) and edge.last < edge.target:
                    # After a fail-over the new primary may show the commit a little later.
                    misses += 1
                    if misses == MAX_HOLE_READS:
                        self._lose(edge)
                        return
                    await asyncio.sleep(0.1)
                while edge.backlog:
                    await edge.move()
        finally:
            edge.reader = None

    def _lose(self, edge: Edge) -> None:
        log.error("events_missing_in_log", session_id=edge.session_id, edge=edge.last, target=edge.target)
        if self._edges.get(edge.session_id) is edge:
            del self._edges[edge.session_id]
        edge.wake()
        self.on_lost(edge.session_id)

    # what goes out

    def _take(self, edge: Edge, events: Sequence[Event]) -> int:
        """Put what follows without a hole behind what waits, and send. Answers how many were new."""
        taken = 0
        last = edge.last
        for event in events:
            if event.seq == last + 1:
                edge.backlog.append(event)
                last = event.seq
                taken += 1
        if not edge.pumping:
            self._pump(edge)
        self._advance(edge, edge.target)
        return taken

    def _pump(self, edge: Edge) -> None:
        """Send a turn's worth; what is left waits for the next turn."""
        edge.pumping = False
        size = 0
        while edge.backlog and size < TURN_BYTES:
            event = edge.backlog.popleft()
            size += event.size
            edge.seq = event.seq
            self._engine.publish(
                event.event,
                event.data,
                rooms=(rooms.session(event.session_id), rooms.chat(event.session_id, event.chat_id)),
            )
            self._metrics.events_published.inc()
        if size:
            edge.wake()
        if edge.backlog:
            edge.pumping = True
            asyncio.get_running_loop().call_soon(self._pump, edge)

    # in the background

    async def _follow(self) -> None:
        """Follow the change stream for ever."""
        while True:
            try:
                begun = False
                async for change in self._store.watch():
                    if not begun:
                        begun = True
                        self.watching.set()
                        await self._sweep()
                    if change is not None and (edge := self._edges.get(change[0])):
                        self._advance(edge, change[1])
            except Unavailable as error:
                self.watching.clear()
                log.warning("change_stream_broken", error=error.detail)
            with contextlib.suppress(Unavailable):
                await self._sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def _sweep(self) -> None:
        """Ask how far all watched sessions are."""
        before = {session_id: edge.seq for session_id, edge in self._edges.items()}
        if not before:
            return
        seqs = await self._store.seqs(before.keys())
        for session_id, seq in before.items():
            edge = self._edges.get(session_id)
            if edge is None or not (edge.ready and edge.ready.done()):
                continue
            if seqs.get(session_id, 0) < seq:
                self._lose(edge)  # the database was put back to an earlier state
            else:
                self._advance(edge, seqs.get(session_id, 0))

    async def _tell_positions(self) -> None:
        while True:
            await asyncio.sleep(POSITION_SECONDS)
            for session_id, edge in list(self._edges.items()):
                if edge.ready and edge.ready.done():
                    position = {"sessionId": session_id, "position": render_position(self._store.position(edge.seq))}
                    to = (rooms.session(session_id), rooms.chats(session_id))
                    self._engine.publish(POSITION, position, rooms=to, ephemeral=True)
                await asyncio.sleep(0)
