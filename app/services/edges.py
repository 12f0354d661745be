"""The edges of the sessions that are watched on this server, and shared queries about them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from app.domain.events import Event
from app.services.edge import Edge, Log
from app.services.memory import Entry, Memory
from app.services.publications import Publications
from app.services.sharing import failed, joined, shared

KEPT_SECONDS: Final = 5.0
"""How long the result of a query for the oldest kept event is reused. A client whose events expire while it catches up
is told so."""


class Edges:
    def __init__(self, store: Log, publications: Publications, memory: Memory, *, max_missed: int) -> None:
        """`max_missed`: the maximum number of events that can be caught up."""
        self._store, self._publications, self._memory = store, publications, memory
        self.max_missed = max_missed
        self._edges: dict[str, Edge] = {}
        self._watchers: dict[Edge, int] = {}
        self._asked: dict[Edge, tuple[asyncio.Task[int], asyncio.Task[int] | None]] = {}
        """Queries for a session's last number: the pending one, and the one after it."""
        self._kept: dict[Edge, tuple[float, asyncio.Task[int]]] = {}
        self.on_lost: Callable[[str], None] = lambda session_id: None
        """Called with a session whose events are missing for good, after its edge was closed."""
        self.on_watch: list[Callable[[str], None]] = []
        """Called with a session that is watched from now on, before its number is queried."""
        self.on_unwatch: Callable[[str], None] = lambda session_id: None
        """Called with a session that nobody watches any more."""
        self.on_merged: Callable[[str, Entry], None] = lambda session_id, entry: None
        """Called with a session and a `chat_merged` that was sent to its rooms, before anything after it."""

    def get(self, session_id: str) -> Edge | None:
        """The session's edge if it is watched."""
        return self._edges.get(session_id)

    def __iter__(self) -> Iterator[Edge]:
        return iter(list(self._edges.values()))

    async def watch(self, session_id: str) -> Edge:
        """The session's edge, kept until `unwatch` was called as often. Raises Unavailable."""
        edge = self._edges.get(session_id)
        if edge is None:
            edge = Edge(session_id, self._store, self._publications, self._memory, self._lose, self._merged)
            self._edges[session_id] = edge
            for told in self.on_watch:
                told(session_id)
            self._watchers[edge] = 0
        self._watchers[edge] += 1
        try:
            await edge.begin()
        except BaseException:
            self.unwatch(edge)
            raise
        return edge

    def unwatch(self, edge: Edge) -> None:
        if edge not in self._watchers:
            return  # closed meanwhile
        self._watchers[edge] -= 1
        if not self._watchers[edge]:
            self._remove(edge)
            edge.close()

    def close(self) -> None:
        """Close all edges, without calling `on_lost`."""
        for edge in self:
            self._remove(edge)
            edge.close()

    def _remove(self, edge: Edge) -> None:
        del self._watchers[edge]
        del self._edges[edge.session_id]
        self.on_unwatch(edge.session_id)
        self._publications.batches.discard(edge.session_id)
        for task in (*self._asked.pop(edge, ()), self._kept.pop(edge, (0, None))[1]):
            if task:
                task.cancel()

    def _lose(self, session_id: str) -> None:
        self._remove(self._edges[session_id])
        self.on_lost(session_id)

    def _merged(self, session_id: str, entry: Entry) -> None:
        self.on_merged(session_id, entry)

    # commits

    @contextlib.contextmanager
    def committing(self, session_id: str) -> Iterator[None]:
        """Used around a write of this process (see `Edge.committing`)."""
        edge = self._edges.get(session_id)
        with edge.committing() if edge else contextlib.nullcontext():
            yield

    def publish(self, session_id: str, events: Sequence[Event]) -> None:
        """Send what this process has just committed."""
        if edge := self._edges.get(session_id):
            edge.take(events)

    def advance(self, session_id: str, seq: int) -> None:
        """Another process has committed up to `seq`."""
        if edge := self._edges.get(session_id):
            edge.advance(seq)

    # for clients that come back

    async def refresh(self, edge: Edge) -> int:
        """Query the session's last number, from now on, and bring the edge there. Many concurrent callers share two
        queries. Raises Unavailable."""
        edge.check()
        asked = self._asked.get(edge)
        if asked is None or asked[0].done():
            task = self._ask(edge, None)
            self._asked[edge] = (task, None)
        elif asked[1] is None or asked[1].done():
            task = self._ask(edge, asked[0])
            self._asked[edge] = (asked[0], task)
        else:
            task = asked[1]
        seq = await joined(task)
        await edge.reach(seq)
        return seq

    def _ask(self, edge: Edge, before: asyncio.Task[int] | None) -> asyncio.Task[int]:
        async def ask() -> int:
            if before:
                await asyncio.wait([before])
                if edge in self._asked:
                    task = asyncio.current_task()
                    assert task is not None
                    self._asked[edge] = (task, None)
            return await self._store.seq(edge.session_id)

        return shared(ask())

    async def can_recover(self, edge: Edge, seq: int) -> bool:
        """Whether every event after `seq` can be sent. Brings the edge to the database's last number. Raises
        Unavailable."""
        head = await self.refresh(edge)
        missed = head - seq
        if not 0 <= missed <= self.max_missed:
            return False
        if missed == 0 or edge.recent.first(edge.seq) <= seq + 1:
            return True
        loop = asyncio.get_running_loop()
        asked = self._kept.get(edge)
        if asked is None or loop.time() - asked[0] > KEPT_SECONDS or (asked[1].done() and failed(asked[1])):
            asked = (loop.time(), shared(self._store.kept_after(edge.session_id, head, self.max_missed)))
            self._kept[edge] = asked
        return await joined(asked[1]) <= seq
