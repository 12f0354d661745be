"""Pings and pongs (Engine.IO 4): the server asks, and who does not answer in time has gone."""

import random
from collections.abc import Callable
from typing import Generic, TypeVar

from .deadlines import Deadlines
from .stats import Stats

_FIRST_PINGS = 8

C = TypeVar("C")


class Heartbeat(Generic[C]):
    """The heartbeats of all connections. `ping(connection)` sends one, `lost(connection)` is told that none came back
    within `timeout` seconds."""

    def __init__(
        self, interval: float, timeout: float, stats: Stats, *, ping: Callable[[C], None], lost: Callable[[C], None]
    ) -> None:
        self.interval, self.timeout = interval, timeout
        self._send = ping
        self._pings = Deadlines[C](interval, self._ping, stats)
        # Clients that connect together are not pinged together: the first ping comes somewhat earlier.
        self._first_pings = [
            Deadlines[C](interval * (1 - i / (2 * _FIRST_PINGS)), self._ping, stats) for i in range(_FIRST_PINGS)
        ]
        self._pongs = Deadlines[C](timeout, lambda connection, _: lost(connection), stats)

    def __len__(self) -> int:
        """Connections that are being watched."""
        return sum(map(len, (self._pings, *self._first_pings, self._pongs)))

    def begin(self, connection: C) -> None:
        random.choice(self._first_pings).add(connection)  # noqa: S311 - no secret

    def end(self, connection: C) -> None:
        self._pings.discard(connection)
        self._pongs.discard(connection)
        for pings in self._first_pings:
            pings.discard(connection)

    def pong(self, connection: C) -> bool:
        """The client has answered; False if it was not asked."""
        if not self._pongs.discard(connection):
            return False
        self._pings.add(connection)
        return True

    def wait_on(self, connection: C) -> None:
        """Wait once more for an answer that has not come."""
        self._pongs.add(connection)

    def overdue(self, connection: C) -> bool:
        """Whether its answer is overdue, though nobody may have been told yet."""
        return self._pongs.overdue(connection)

    def stop(self) -> None:
        for deadlines in (self._pings, *self._first_pings, self._pongs):
            deadlines.clear()

    def _ping(self, connection: C, due: float) -> None:
        self._pongs.add(connection, due)
        self._send(connection)
