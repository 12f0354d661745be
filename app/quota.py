"""Spreads work over turns of the event loop, so that a lot of it does not delay everything else."""

from __future__ import annotations

import asyncio
from collections import deque


class Quota:
    """Grants work in the order of request, up to `most` of it in one turn of the loop. Not thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._scheduled = False

    async def take(self, amount: int = 1) -> None:
        """Wait until the caller may do this much. The last grant in a turn may exceed what is left."""
        if self._left > 0 and not self._waiting:
            self._grant(amount)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        self._schedule()
        await turn

    def _grant(self, amount: int) -> None:
        self._left -= amount
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._scheduled, self._left = False, self._most
        while self._waiting and self._left > 0:
            amount, turn = self._waiting.popleft()
            if not turn.done():
                self._grant(amount)
                turn.set_result(None)
