"""A watched session's edge: the number up to which this process has sent its events to the rooms.

It sends edge + 1, edge + 2 …, without exception. It is given what this process commits (`take`), and told when another
process has committed (`advance`); missing events are read from the log (`_fill`). Sent events stay in memory for
clients that catch up (`recent`). Only the edge itself writes its fields.
"""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, Protocol

import structlog

from app.domain.events import CHAT_MERGED, Event
from app.domain.models import Position
from app.errors import Unavailable
from app.services.memory import Entry, Memory, Recent
from app.services.publications import Publications
from app.services.sharing import GIVEN_UP, joined, shared

log = structlog.get_logger(__name__)

TURN_BYTES: Final = 48 * 1024
"""Maximum sent in one turn of the loop. More would make healthy readers look slow."""
GATHER_SECONDS: Final = 0.02
"""How long a session's events are collected while the event loop is busy, to be written together."""
BUSY_SECONDS: Final = 0.005
"""The loop counts as busy if a turn takes longer."""
RETRY_SECONDS: Final = 1.0
HOLE_READS: Final = 30
HOLE_SECONDS: Final = 0.1
"""How often, and at which interval, missing events are read again: after a failover the new primary may show a commit a
little later."""
FILL_EVENTS: Final = 200


class Log(Protocol):
    """The reads that an edge needs, implemented by `app.storage.mongo.Store`."""

    epoch: str

    def position(self, seq: int) -> Position: ...

    async def seq(self, session_id: str) -> int: ...

    async def read_events(
        self, session_id: str, after: int, upto: int, limit: int, chat_ids: Collection[str] | None = None
    ) -> list[Event]: ...

    async def names_of(self, session_id: str, chat_id: str) -> list[str]: ...

    async def kept_after(self, session_id: str, upto: int, most: int) -> int: ...


class Edge:
    def __init__(
        self,
        session_id: str,
        store: Log,
        publications: Publications,
        memory: Memory,
        on_lost: Callable[[str], None],
        on_merged: Callable[[str, Entry], None] = lambda session_id, entry: None,
    ) -> None:
        """`on_lost` is called if events are missing for good; `on_merged` when a `chat_merged` was sent to the rooms,
        before anything after it."""
        self.session_id = session_id
        self.seq = 0
        """The number of the last sent event. Valid once the edge has begun."""
        self.closed = False
        """The edge is closed or no longer watched. It does not move again."""
        self.recent = Recent(memory)
        self._store, self._publications, self._on_lost = store, publications, on_lost
        self._on_merged = on_merged
        self.merged: list[Entry] = []
        """All `chat_merged` events sent so far."""
        self._target = 0
        """The highest number known to be committed."""
        self._backlog: deque[Entry] = deque()
        """The events to send next, without gaps."""
        self._committing = 0
        """Number of pending writes of this process, whose events will be given to `take`."""
        self._filling: asyncio.Task[None] | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._begun = False
        self._pump_handle: asyncio.Handle | None = None
        self._pumped = float("-inf")
        self._busy = False
        self._moved: asyncio.Future[None] | None = None
        self._history = array("Q")
        """The publication numbers of the last events, the newest for `seq`."""
        self._forgotten = 0

    @property
    def begun(self) -> bool:
        """Whether `seq` is known."""
        return self._begun

    def check(self) -> None:
        """Raises Unavailable if the edge is closed and cannot be followed any more."""
        if self.closed:
            raise Unavailable(GIVEN_UP)

    # the session's last number

    async def begin(self) -> None:
        """Read the session's last number. Concurrent callers share the query. Raises Unavailable."""
        if not self._begun:
            if self._beginning is None or self._beginning.done():
                self._beginning = shared(self._find())
            await joined(self._beginning)
        self.check()

    async def _find(self) -> None:
        seq = await self._store.seq(self.session_id)
        self.seq, self._forgotten, self._begun = seq, self._publications.number, True
        self.advance(self._target)

    async def reach(self, seq: int) -> None:
        """Wait until the edge is at `seq`, a number known to be committed. Raises Unavailable."""
        self.advance(seq)
        self.check()
        while self.seq < seq:
            if self._moved is None or self._moved.done():
                self._moved = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._moved])
            self.check()

    @property
    def known(self) -> int:
        """The highest number known to be committed."""
        return max(self._target, self.seq)

    # input

    @contextlib.contextmanager
    def committing(self) -> Iterator[None]:
        """Used around a write of this process. Meanwhile, reported commits wait for the events given to `take`."""
        self._committing += 1
        try:
            yield
        finally:
            self._committing -= 1
            self.advance(self._target)

    def take(self, events: Sequence[Event]) -> None:
        """Take committed events. Those that follow without a gap are sent; otherwise the missing ones are read."""
        if not events or self.closed:
            return
        self._target = max(self._target, events[-1].seq)
        if not self._begun:
            return
        last = self._last
        for event in events:
            if event.seq == last + 1:
                self._backlog.append(Entry(event))
                last = event.seq
        if self._backlog and self._pump_handle is None:
            self._pump_soon()
        self.advance(self._target)

    def advance(self, seq: int) -> None:
        """Another process has committed up to `seq`: read the missing events."""
        self._target = max(self._target, seq)
        if self.closed or not self._begun or self._target <= self._last or self._committing:
            return
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._fill())

    @property
    def _last(self) -> int:
        """The number up to which the events are known here."""
        return self._backlog[-1].seq if self._backlog else self.seq

    async def _fill(self) -> None:
        """Read the log up to the target."""
        misses = 0
        while (last := self._last) < self._target:
            try:
                events = await self._store.read_events(self.session_id, last, self._target, FILL_EVENTS)
            except Exception as error:
                if not isinstance(error, Unavailable):
                    log.exception("log_not_read", session_id=self.session_id)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.take(events)
            if self._last > last:  # by what was read, or by what was taken meanwhile
                misses = 0
            elif self._last < self._target:
                misses += 1
                if misses == HOLE_READS:
                    self.lose()
                    return
                await asyncio.sleep(HOLE_SECONDS)
            while self._backlog and not self.closed:
                await self.reach(self.seq + 1)

    def lose(self) -> None:
        """Events are missing for good: the log has lost some, or the database was restored."""
        if not self.closed:
            log.error("events_missing_in_log", session_id=self.session_id, edge=self._last, target=self._target)
            self.close()
            self._on_lost(self.session_id)

    def close(self) -> None:
        """Close the edge. It does not move any more."""
        self.closed = True
        self._backlog.clear()
        self.recent.clear()
        if self._pump_handle:
            self._pump_handle.cancel()
        self._wake()
        current = asyncio.current_task()
        for task in (self._filling, self._beginning):
            if task and task is not current:
                task.cancel()

    # output

    def _pump_soon(self) -> None:
        """Send now, or, if the loop is busy, together with the events of the next milliseconds."""
        loop = asyncio.get_running_loop()
        wait = self._pumped + GATHER_SECONDS - loop.time()
        if self._busy and wait > 0:
            self._pump_handle = loop.call_later(wait, self._pump)
        else:
            self._pump()

    def _pump(self) -> None:
        """Send as much as one turn allows. The rest waits for the next turn."""
        loop = asyncio.get_running_loop()
        self._pump_handle, self._pumped = None, loop.time()
        size = 0
        while self._backlog and size < TURN_BYTES:
            entry = self._backlog.popleft()
            size += entry.size
            self._publications.send(self.session_id, entry)
            self.seq = entry.seq
            self._history.append(entry.number)
            self.recent.append(entry)
            if entry.event == CHAT_MERGED:
                self.merged.append(entry)
                self._on_merged(self.session_id, entry)
        self._wake()
        if self._backlog:
            self._pump_handle = loop.call_soon(self._pump)
        loop.call_soon(self._turn_is_over, self._pumped)

    def _turn_is_over(self, began: float) -> None:
        self._busy = asyncio.get_running_loop().time() - began > BUSY_SECONDS

    def _wake(self) -> None:
        if self._moved and not self._moved.done():
            self._moved.set_result(None)

    # for recovery

    def seq_at(self, number: int) -> int | None:
        """The session's last sent number at the time of the publication. None if that has been forgotten."""
        if number < self._forgotten:
            return None
        return self.seq - len(self._history) + bisect_right(self._history, number)

    def forget(self, number: int) -> None:
        """Forget publications up to this one. If none of them was of this session, nothing is lost."""
        known = bisect_right(self._history, number)
        if known:
            self._forgotten = self._history[known - 1]
            del self._history[:known]
