"""How far a watched session was sent by this process: the publisher's bookkeeping of one session."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections import deque

from app.domain.events import Event


class Edge:
    """`seq` is the number up to which was sent; it is right once the edge is `ready`."""

    __slots__ = (
        "_forgotten",
        "_history",
        "_moved",
        "backlog",
        "batch",
        "batch_timer",
        "batchers",
        "committing",
        "exact_batchers",
        "found",
        "pumping",
        "reader",
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
        self.committing = 0
        """How many writes of this process are under way: what comes of them will come directly."""
        self.reader: asyncio.Task[None] | None = None
        self.found: asyncio.Future[None] | None = None
        """Under way, or done: where the session stands."""
        self.watchers = 0
        self.batchers = 0
        """Live streams that want batches."""
        self.exact_batchers = 0
        """Those of them whose connections may be recovered."""
        self.batch: list[tuple[Event, int]] = []
        self.batch_timer: asyncio.TimerHandle | None = None
        self._moved: asyncio.Future[None] | None = None
        self._history = array("Q")
        """The publication numbers of the last events, the newest for `seq`."""
        self._forgotten = 0

    @property
    def ready(self) -> bool:
        return self.found is not None and self.found.done()

    @property
    def last(self) -> int:
        """The number up to which the events are here."""
        return self.backlog[-1].seq if self.backlog else self.seq

    def begin(self, seq: int, number: int) -> None:
        """The session stands at `seq`, and this process has made `number` publications."""
        self.seq, self._forgotten = seq, number

    def sent(self, seq: int, number: int) -> None:
        self.seq = seq
        self._history.append(number)

    def seq_at(self, number: int) -> int | None:
        """The number up to which was sent when the publication was made; None where that is forgotten."""
        if number < self._forgotten:
            return None
        return self.seq - len(self._history) + bisect_right(self._history, number)

    def forget(self, number: int) -> None:
        """Nobody asks for publications up to this one any more. Where none was this session's, all is still known."""
        known = bisect_right(self._history, number)
        if known:
            self._forgotten = self._history[known - 1]
            del self._history[:known]

    def clear_batch(self) -> list[tuple[Event, int]]:
        """What was gathered, which is forgotten here."""
        if self.batch_timer:
            self.batch_timer.cancel()
            self.batch_timer = None
        batch, self.batch = self.batch, []
        return batch

    async def move(self) -> None:
        """Wait until more was sent, or the edge is given up."""
        if self._moved is None or self._moved.done():
            self._moved = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._moved])

    def wake(self) -> None:
        if self._moved and not self._moved.done():
            self._moved.set_result(None)
