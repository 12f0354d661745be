"""One timer for many equal delays: items are due in the order in which they were added.

Ten thousand connections with a heartbeat would need ten thousand timers otherwise. The clock is the event loop's,
which is monotonic, so setting the system clock has no effect.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from .stats import Stats
from .tasks import guarded

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Items that are due a fixed delay after they were added.

    `callback(item, due)` is called for each item, at most an eighth of a second early. `due` is its exact deadline in
    the loop's time, so that a chain of delays does not drift when the loop is busy. An item must not be added twice.
    If a callback raises, this is counted in `Stats.failures`, and the other items are still called.
    """

    def __init__(self, delay: float, callback: Callable[[T, float], None], stats: Stats) -> None:
        self.delay = delay
        self._callback, self._stats = callback, stats
        self._step = min(delay / 100, 0.25)  # few wake-ups with many items, because a wake-up costs more than an item
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, item: T) -> bool:
        return item in self._due

    def add(self, item: T, since: float | None = None) -> None:
        """Start the item's delay, now or at a time in the recent past."""
        loop = asyncio.get_running_loop()
        self._due[item] = (loop.time() if since is None else since) + self.delay
        if self._timer is None:
            self._timer = loop.call_later(self.delay, self._tick, loop)

    def discard(self, item: T) -> bool:
        """Remove the item. False if it was not waiting."""
        return self._due.pop(item, None) is not None

    def overdue(self, item: T) -> bool:
        """Whether its deadline has passed, even if the timer has not run yet."""
        due = self._due.get(item)
        return due is not None and due <= asyncio.get_running_loop().time()

    def clear(self) -> None:
        """Remove all items and stop the timer."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time() + self._step / 2
        due = []
        for item, at in self._due.items():
            if at > now:
                break
            due.append((item, at))
        for item, _ in due:
            del self._due[item]
        self._timer = None
        for item, at in due:
            guarded(self._stats, self._callback, item, at)
        if self._due and self._timer is None:
            first = next(iter(self._due.values()))
            self._timer = loop.call_at(max(first, now + self._step), self._tick, loop)
