"""The bus, which carries reports between servers.

The log in the database is the truth. A bus may lose, repeat, delay and reorder what it carries: that costs latency,
never an event. The follower reads missing events from the log, and queries the sessions' numbers every few seconds,
whatever the bus reports.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from app.domain.events import Event
from app.domain.known import Outcome


@dataclass(frozen=True, slots=True)
class Commit:
    """A server, perhaps this one, has committed the events of a session up to `seq`."""

    session_id: str
    seq: int
    due: datetime | None = None
    """When a delivery that no server has started is due."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A server, perhaps this one, has committed these events of a session."""

    session_id: str
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Unheard:
    """Commits of these sessions may have been missed: their numbers must be queried."""

    session_ids: Collection[str]


@dataclass(frozen=True, slots=True)
class Told:
    """An ephemeral value of a session from another server. It is complete in itself: a later one of the same kind
    replaces it."""

    session_id: str
    kind: str
    value: Mapping[str, Any]
    """JSON values."""


Report = Commit | Committed | Unheard | Told


class Bus(Protocol):
    @property
    def through_database(self) -> bool:
        """Whether it breaks when the database is unavailable."""

    def listen(self) -> AsyncIterator[Report | None]:
        """Yield what servers report from now on, and None when listening has begun and then at least every second.

        Raises Unavailable when the connection breaks. What was committed meanwhile must then be queried.
        """

    def follow(self, session_id: str) -> None:
        """Report this session from now on. A bus may report other sessions as well."""

    def stop_following(self, session_id: str) -> None:
        """To be called once for each `follow`."""

    def ring(self, session_id: str, outcome: Outcome) -> None:
        """This server has committed an outcome. Never waits and never raises."""

    def tell(self, told: Told) -> None:
        """Send a value to the other servers. Never waits and never raises. If too many values wait, the oldest are
        dropped."""

    async def send(self) -> None:
        """Send the waiting values, forever. Runs as a background task."""

    async def check(self) -> None:
        """Raises Unavailable, with the reason, if the bus cannot be used."""

    async def close(self) -> None: ...
