"""Fair queueing for a limited resource: bytes of memory, a process, concurrent answers.

A caller that finds room, with nobody of the same key waiting, continues at once. Others wait, and are admitted key by
key in turn, so that one busy key delays another by no more than one turn. The number of waiting callers is limited.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator

from app.errors import AppError


class Turns:
    """Not thread-safe."""

    def __init__(self, capacity: int, *, each: int | None = None, waiting: int, error: AppError) -> None:
        """`each`: the share of the capacity that one key may use; `waiting`: how many callers of one key may wait;
        `error`: raised for any more."""
        self._capacity, self._each, self._most = capacity, each or capacity, waiting
        self._error = error
        self._taken = 0
        self._of: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}

    @property
    def wanted(self) -> bool:
        """Whether anyone is waiting."""
        return bool(self._waiting)

    @contextlib.asynccontextmanager
    async def take(self, key: str, amount: int = 1, seconds: float | None = None) -> AsyncIterator[None]:
        """Hold `amount` of the resource (at most one key's share) until the end of the block.

        Raises the error given to `Turns` if too many are waiting, or after `seconds`.
        """
        amount = min(amount, self._each)
        if key in self._waiting or not self._fits(key, amount):
            await self._wait(key, amount, seconds)
        else:
            self._add(key, amount)
        try:
            yield
        finally:
            self._add(key, -amount)
            self._let_in()

    async def _wait(self, key: str, amount: int, seconds: float | None) -> None:
        queue = self._waiting.setdefault(key, deque())
        if len(queue) >= self._most:
            raise self._error
        turn = asyncio.get_running_loop().create_future()
        queue.append((amount, turn))
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # admitted and cancelled at the same time
                self._add(key, -amount)
            else:
                with contextlib.suppress(ValueError):  # it was passed over
                    queue.remove((amount, turn))
                if not queue and self._waiting.get(key) is queue:
                    del self._waiting[key]
            self._let_in()
            if isinstance(error, TimeoutError):
                raise self._error from None
            raise

    def _fits(self, key: str, amount: int) -> bool:
        return self._taken + amount <= self._capacity and self._of[key] + amount <= self._each

    def _add(self, key: str, amount: int) -> None:
        self._taken += amount
        self._of[key] += amount
        if not self._of[key]:
            del self._of[key]

    def _let_in(self) -> None:
        """Admit as many as fit, one of each key in turn."""
        passed = 0
        while passed < len(self._waiting):
            key = next(iter(self._waiting))
            queue = self._waiting.pop(key)
            while queue and queue[0][1].done():
                queue.popleft()  # cancelled
            if queue and self._fits(key, queue[0][0]):
                amount, turn = queue.popleft()
                self._add(key, amount)
                turn.set_result(None)
                passed = 0
            elif queue:
                passed += 1
            if queue:
                self._waiting[key] = queue
