"""The authenticated connections: their owners, their number per person, and when they end.

What a connection gets depends on its subscriptions (`app.services.subscriptions`). If a connection requested
Socket.IO's connection state recovery, its state is kept for a while after it has ended (`app.services.recovery`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import structlog

from app.auth import Principal
from app.errors import AppError
from app.metrics import Metrics
from app.services import recovery
from app.services.closing import EVENTS_MISSING, INTENDED, REPLACED, TOKEN_EXPIRED
from app.services.connection import Connection
from app.services.edges import Edges
from app.services.recovery import Recovery
from app.services.sender import Sender
from app.services.subscriptions import CLOSED, Subscriptions

log = structlog.get_logger(__name__)

EXPIRY_SECONDS: Final = 4.0
"""Interval of the search for expired tokens. The contract promises to close connections within 10 s."""


class Connections:
    def __init__(
        self,
        edges: Edges,
        subscriptions: Subscriptions,
        recovery: Recovery,
        sender: Sender,
        metrics: Metrics,
        *,
        max_per_sub: int,
    ) -> None:
        """`max_per_sub`: maximum number of connections of one `sub`."""
        self._edges, self._subscriptions, self._recovery = edges, subscriptions, recovery
        self._sender, self._metrics = sender, metrics
        self._connections: dict[str, Connection] = {}
        self._max_per_sub = max_per_sub
        self._of_sub: Counter[str] = Counter()
        """Number of connections of each `sub`, including those that are being connected."""
        edges.on_lost = self._lost

    async def close(self) -> None:
        tasks = [connection.task for connection in self._connections.values() if connection.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def connect(
        self, sid: str, principal: Principal, *, recover: bool = False, pid: object = None, offset: object = None
    ) -> None:
        """Connect a client. With `recover` it gets a `pid`: if recovery is possible, its old one and all missed events.

        Raises AppError `too_many_connections` if its `sub` has reached the limit.
        """
        if recover:
            self._replace(pid, principal)
        # Counted before the first await, so that concurrent connects cannot exceed the limit.
        self._count(principal.sub)
        connection = Connection(sid, principal)
        try:
            if recover:
                await self._recover(connection, pid, offset)
        except BaseException:
            self._uncount(principal.sub)
            raise
        self._connections[sid] = connection
        self._subscriptions.resume(connection)

    def _replace(self, pid: object, principal: Principal) -> None:
        """Close the old connection of a client that reconnects before the end of the old one was noticed."""
        before = self._recovery.connected(pid) if isinstance(pid, str) else None
        if before and before.principal.sub == principal.sub:
            self._keep(before)
            self._sender.close(before.sid, REPLACED)

    async def _recover(self, connection: Connection, pid: object, offset: object) -> None:
        connection.pid = recovery.make_pid()
        if isinstance(pid, str) and await self._recovery.restore(connection, pid, offset):
            connection.pid = pid
            self._metrics.recoveries.labels("recovered").inc()
        elif pid is not None:
            self._metrics.recoveries.labels("refused").inc()
        self._recovery.enter(connection)

    def disconnect(self, sid: str, reason: str | None) -> None:
        """The connection has ended. If it may be recovered, its state is kept."""
        connection = self._connections.get(sid)
        if connection is None:
            return
        if connection.pid and reason not in INTENDED:
            self._keep(connection)
        else:
            self._forget(connection)
            for stream in connection.streams.values():
                self._edges.unwatch(stream.edge)

    @property
    def sids(self) -> list[str]:
        """The ids of all connections."""
        return list(self._connections)

    def connect_data(self, sid: str) -> dict[str, Any]:
        """What the CONNECT answer contains in addition to the connection's id."""
        connection = self._connections.get(sid)
        return {"pid": connection.pid} if connection and connection.pid else {}

    def get(self, sid: str) -> Connection:
        """Raises AppError `forbidden` if the connection has ended."""
        connection = self._connections.get(sid)
        if connection is None:
            raise AppError("forbidden", CLOSED)
        return connection

    def may(self, sid: str, scope: str, session_id: str) -> bool:
        """Whether the connection is there, and its token allows this now."""
        connection = self._connections.get(sid)
        return connection is not None and connection.principal.may(scope, session_id)

    def close_where(self, applies: Callable[[Principal], bool], reason: str) -> int:
        """Close the connections to which this applies. Returns their number."""
        found = [connection for connection in self._connections.values() if applies(connection.principal)]
        for connection in found:
            self._sender.close(connection.sid, reason)
        return len(found)

    def authenticate(self, sid: str, principal: Principal) -> None:
        """Replace the connection's token. Subscriptions that the new token does not allow end.

        Raises AppError `forbidden` for a token of another person.
        """
        connection = self.get(sid)
        if principal.sub != connection.principal.sub:
            raise AppError("forbidden", "The token belongs to another person.")
        connection.principal = principal
        self._subscriptions.narrow(connection)

    def congested(self, sid: str) -> None:
        """The connection has become congested: it has unsent bytes."""
        connection = self._connections.get(sid)
        if connection:
            self._subscriptions.congested(connection)

    def _count(self, sub: str) -> None:
        if self._of_sub[sub] >= self._max_per_sub:
            raise AppError("too_many_connections", f"One person may have {self._max_per_sub} connections.")
        self._of_sub[sub] += 1

    def _uncount(self, sub: str) -> None:
        self._of_sub[sub] -= 1
        if not self._of_sub[sub]:
            del self._of_sub[sub]

    # the end

    def _forget(self, connection: Connection) -> None:
        """Forget the connection. Nothing more is sent to it."""
        connection.gone = True
        self._subscriptions.forget(connection)
        del self._connections[connection.sid]
        self._uncount(connection.principal.sub)
        self._recovery.leave(connection)

    def _keep(self, connection: Connection) -> None:
        joined = connection.joined()
        self._forget(connection)
        self._recovery.keep(connection, joined)

    def _lost(self, session_id: str) -> None:
        """The session's edge was closed."""
        self._subscriptions.close_all(session_id)
        self._recovery.lost(session_id)

    # in the background

    async def keep_house(self) -> None:
        """Close connections with expired tokens and those that are not served, and discard expired recovery state."""
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            self._close_expired_and_unserved()
            self._recovery.clean_up()

    def _close_expired_and_unserved(self) -> None:
        wall_clock = time.time()
        for connection in list(self._connections.values()):
            if connection.principal.exp <= wall_clock:
                self._sender.close(connection.sid, TOKEN_EXPIRED)
            elif not connection.is_served():
                log.error("stream_left_behind", connection_id=connection.sid)
                self._sender.close(connection.sid, EVENTS_MISSING)
