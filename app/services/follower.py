"""Follows the commits of other servers and the availability of the database.

The bus (`app.bus`) reports each commit of any server. While it is broken, when it is connected again, and every few
seconds in any case, the database is queried for the last numbers of the watched sessions. If a session's number is
lower than what was sent, the database was restored from a backup, and the session's edge is closed. While the database
does not answer, all subscribed connections are told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final, Protocol

import structlog

from app.bus import Bus, Commit, Committed, Told, Unheard
from app.domain import rooms
from app.domain.events import SERVICE
from app.errors import Unavailable
from app.metrics import Metrics
from app.services.background import surviving
from app.services.edge import HOLE_READS, HOLE_SECONDS, Edge
from app.services.edges import Edges
from app.services.sender import Sender

log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 1.0
"""How often the database is queried while the bus is broken."""
SLOW_SWEEP_SECONDS: Final = 5.0
"""How often it is queried otherwise: a bus may lose reports, and servers of an earlier version do not use it."""
LOOK_SECONDS: Final = 1.0
"""Time limit for each of the two pings that check whether the database is available."""


class Numbers(Protocol):
    """The sessions' last numbers, implemented by `app.storage.mongo.Store`."""

    async def seqs(self, session_ids: Collection[str] | None = None) -> dict[str, int]: ...

    async def ping(self, timeout: float) -> None: ...


class Follower:
    def __init__(self, numbers: Numbers, bus: Bus, edges: Edges, sender: Sender, metrics: Metrics) -> None:
        self._numbers, self._bus, self._edges, self._sender, self._metrics = numbers, bus, edges, sender, metrics
        self._available = True
        """The availability that clients were last told."""
        self._away_since = 0.0
        self.on_due: Callable[[str, datetime], None] = lambda session_id, due: None
        """Called with a session that has a delivery to be started, and the time at which it is due. It must not
        raise."""
        self.on_told: Callable[[Told], None] = lambda told: None
        """Called with each ephemeral value of another server. It must not raise."""
        self.on_unheard: Callable[[Collection[str]], None] = lambda session_ids: None
        """Called with sessions of which something may have been missed. It must not raise."""
        self.watching = asyncio.Event()
        """Set while the bus is connected."""

    async def run(self) -> None:
        """Follow forever, whatever the driver raises."""
        while True:
            with surviving("bus_broken"):
                await self._follow()
            self.watching.clear()
            self._metrics.bus_connected.set(0)
            with surviving("sweep_failed"):
                await self._look()
                await self.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def _follow(self) -> None:
        """Follow until an error is raised."""
        looked = swept = 0.0
        async for one in self._bus.listen():
            now = asyncio.get_running_loop().time()
            if not self.watching.is_set():
                self.watching.set()
                self._metrics.bus_connected.set(1)
                self._tell(available=True)
                await self.sweep()
                swept = now
            if isinstance(one, Commit):
                self._edges.advance(one.session_id, one.seq)
                if one.due is not None:
                    self.on_due(one.session_id, one.due)
            elif isinstance(one, Committed):
                self._edges.publish(one.session_id, one.events)
            elif isinstance(one, Unheard):
                self.on_unheard(one.session_ids)
                await self._ask([edge for name in one.session_ids if (edge := self._edges.get(name)) and edge.begun])
            elif isinstance(one, Told):
                self.on_told(one)
            if now - looked >= SWEEP_SECONDS:  # restarts reading of missing events that has ended for any reason
                looked = now
                for edge in self._edges:
                    edge.advance(0)
                if not self._bus.through_database:
                    with surviving("database_not_reached"):
                        await self._look()
            if now - swept >= SLOW_SWEEP_SECONDS:
                await self.sweep()
                swept = now

    async def _look(self) -> None:
        """Tell clients whether the database answers. Raises the driver's error if it does not.

        The first ping may fail only because its connection is as dead as the bus's. The driver then closes
        that connection, and the second ping uses another one.
        """
        try:
            try:
                await self._numbers.ping(LOOK_SECONDS)
            except Unavailable:
                await self._numbers.ping(LOOK_SECONDS)
        except Exception:
            self._tell(available=False)
            raise
        self._tell(available=True)

    def _tell(self, *, available: bool) -> None:
        """Tell clients about a change to available, and repeat that it is unavailable, because new clients may have
        come."""
        if available != self._available:
            now = asyncio.get_running_loop().time()
            if available:
                log.warning("database_available_again", seconds=round(now - self._away_since, 1))
            else:
                log.warning("database_unavailable")
            self._away_since = now
        elif available:
            return
        self._available = available
        # Not as an ephemeral event of the engine, which is dropped for slow connections: this must arrive.
        self._sender.publish(SERVICE, {"available": available}, rooms=(rooms.SERVICE,))

    async def sweep(self) -> None:
        """Query the last numbers of all watched sessions. Raises Unavailable."""
        # An edge that is just beginning may have read a number from before the change stream began.
        for edge in self._edges:
            if not edge.begun:
                with surviving("session_not_found"):
                    await edge.begin()
        await self._ask([edge for edge in self._edges if edge.begun])

    async def _ask(self, edges: Sequence[Edge]) -> None:
        """Query where these sessions stand. Raises Unavailable."""
        for _ in range(HOLE_READS):
            if not edges:
                return
            before = {edge: edge.seq for edge in edges}
            seqs = await self._numbers.seqs([edge.session_id for edge in edges])
            edges = [edge for edge in edges if not edge.closed and seqs.get(edge.session_id, 0) < before[edge]]
            for edge in before.keys() - edges:
                self._metrics.bus_missed.inc(edge.known < seqs.get(edge.session_id, 0))
                edge.advance(seqs.get(edge.session_id, 0))
            if edges:
                await asyncio.sleep(HOLE_SECONDS)
        for edge in edges:  # the database was restored to an earlier state
            edge.lose()
