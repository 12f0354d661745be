"""Heartbeats (Engine.IO 4): the server sends pings, and closes connections that do not answer in time."""

import random
from collections.abc import Callable
from typing import Generic, TypeVar

from .deadlines import Deadlines
from .stats import Stats

_FIRST_PINGS = 8

C = TypeVar("C")


class Heartbeat(Generic[C]):
    """The heartbeats of all connections. `ping(connection)` sends a ping; `lost(connection)` is called if there is no
    pong within `timeout` seconds."""

    def __init__(
        self, interval: float, timeout: float, stats: Stats, *, ping: Callable[[C], None], lost: Callable[[C], None]
    ) -> None:
        self.interval, self.timeout = interval, timeout
        self._send = ping
        self._pings = Deadlines[C](interval, self._ping, stats)
        # The first ping is sent somewhat earlier, so that clients that connect together are not pinged together.
        self._first_pings = [
            Deadlines[C](interval * (1 - i / (2 * _FIRST_PINGS)), self._ping, stats) for i in range(_FIRST_PINGS)
        ]
        self._pongs = Deadlines[C](timeout, lambda connection, _: lost(connection), stats)

    def __len__(self) -> int:
        """Number of connections with a heartbeat."""
        return sum(map(len, (self._pings, *self._first_pings, self._pongs)))

    def begin(self, connection: C) -> None:
        random.choice(self._first_pings).add(connection)  # noqa: S311 - no secret

    def end(self, connection: C) -> None:
        self._pings.discard(connection)
        self._pongs.discard(connection)
        for pings in self._first_pings:
            pings.discard(connection)

    def pong(self, connection: C) -> bool:
        """The client has answered. False if there was no ping."""
        if not self._pongs.discard(connection):
            return False
        self._pings.add(connection)
        return True

    def wait_on(self, connection: C) -> None:
        """Wait another `timeout` for a missing pong."""
        self._pongs.add(connection)

    def overdue(self, connection: C) -> bool:
        """Whether its pong is overdue, even if `lost` has not been called yet."""
        return self._pongs.overdue(connection)

    def stop(self) -> None:
        for deadlines in (self._pings, *self._first_pings, self._pongs):
            deadlines.clear()

    def _ping(self, connection: C, due: float) -> None:
        self._pongs.add(connection, due)
        self._send(connection)
