"""Unsent data of one connection, and the limits for congestion and for closing it."""

import asyncio

from .limits import Limits
from .outbox import Outbox, Recipient
from .stats import Stats


class Backlog:
    """The transport reports its size; the outbox reports congestion at the end of the turn."""

    __slots__ = ("_base", "_limits", "_outbox", "_owner", "_relief", "_stats", "_turn", "congested", "waits")

    def __init__(self, owner: Recipient, outbox: Outbox, limits: Limits, stats: Stats) -> None:
        self._owner, self._outbox, self._limits, self._stats = owner, outbox, limits, stats
        self.waits = False
        """Whether the kernel, or the next poll, has not taken everything."""
        self.congested = False
        """Whether more than `Limits.high_water` bytes are unsent, or were and have not all been taken."""
        self._turn = self._base = 0  # when it became congested, and how much that turn left unsent
        self._relief: asyncio.Future[None] | None = None

    def grew(self, before: int, size: int) -> bool:
        """There are more unsent bytes. Returns False if there are more than allowed."""
        if size <= self._limits.high_water:
            return True
        if not self.congested:
            self.congested = True
            self._turn, self._base = self._outbox.turn, 0
            self._stats.congested += 1
            self._stats.congestions += 1
            self._outbox.congested(self._owner)
        if self._turn == self._outbox.turn:
            return size <= self._limits.max_burst  # one large turn alone closes no connection
        self._base = self._base or before
        return size <= self._limits.max_buffered + self._base

    def relieved(self) -> None:
        """Everything has been taken (or, when polling, almost everything)."""
        self.waits = False
        if self.congested:
            self.congested = False
            self._stats.congested -= 1
        if self._relief is not None:
            self._relief.set_result(None)
            self._relief = None

    def begin_anew(self) -> None:
        """Unsent data moves to another transport, for which it counts as a burst of this turn."""
        self._turn, self._base = self._outbox.turn, 0

    async def relief(self) -> None:
        """Wait until `relieved` is called."""
        if self._relief is None:
            self._relief = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._relief)
