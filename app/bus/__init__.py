"""The bus, which carries reports between servers.

The log in the database is the truth. A bus may lose, repeat, delay and reorder what it carries: that costs latency,
never an event. The follower reads missing events from the log, and queries the sessions' numbers every few seconds,
whatever the bus reports.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Commit:
    """A server, perhaps this one, has committed the events of a session up to `seq`."""

    session_id: str
    seq: int
    due: datetime | None = None
    """When a delivery that no server has started is due."""


@dataclass(frozen=True, slots=True)
class Told:
    """An ephemeral value of a session from another server. It is complete in itself: a later one of the same kind
    replaces it."""

    session_id: str
    kind: str
    value: Mapping[str, Any]
    """JSON values."""


class Bus(Protocol):
    def listen(self) -> AsyncIterator[Commit | Told | None]:
        """Yield what servers report from now on, and None when listening has begun and then at least every second.

        Raises Unavailable when the connection breaks. What was committed meanwhile must then be queried.
        """

    def tell(self, told: Told) -> None:
        """Send a value to the other servers. Never waits and never raises. If too many values wait, the oldest are
        dropped."""

    async def send(self) -> None:
        """Send the waiting values, forever. Runs as a background task."""
