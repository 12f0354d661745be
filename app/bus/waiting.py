"""A limited queue of values that are sent to other servers in batches."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

MAX_WAITING: Final = 10_000
AT_ONCE: Final = 500

T = TypeVar("T")


class Waiting(Generic[T]):
    def __init__(self) -> None:
        self._waiting: deque[T] = deque(maxlen=MAX_WAITING)
        self._some = asyncio.Event()

    def put(self, one: T) -> None:
        """Add one. If too many wait, the oldest is dropped."""
        self._waiting.append(one)
        self._some.set()

    async def take(self) -> list[T]:
        """Wait until there are some, and remove up to AT_ONCE."""
        await self._some.wait()
        taken = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        if not self._waiting:
            self._some.clear()
        return taken
