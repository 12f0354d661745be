"""The connections that are let in: who each belongs to, how many one person has, and when they end.

What a connection gets is a matter of its subscriptions (`app.services.subscriptions`). What one had that asked for
Socket.IO's connection state recovery is kept for a while after it has gone (`app.services.recovery`).
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
"""How often connections are looked for whose token has expired; the contract promises 10 s."""


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
        """`max_per_sub`: connections of one `sub`."""
        self._edges, self._subscriptions, self._recovery = edges, subscriptions, recovery
        self._sender, self._metrics = sender, metrics
        self._connections: dict[str, Connection] = {}
        self._max_per_sub = max_per_sub
        self._of_sub: Counter[str] = Counter()
        """Connections of each person, those that are being let in among them."""
        edges.on_lost = self._lost

    async def close(self) -> None:
        tasks = [connection.task for connection in self._connections.values() if connection.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def connect(
        self, sid: str, principal: Principal, *, recover: bool = False, pid: object = None, offset: object = None
    ) -> None:
        """Let a client in. With `recover` it gets a `pid`: its old one and all that it missed, if that can be.

        Raises AppError `too_many_connections` where its `sub` has as many as it may.
        """
        if recover:
            self._replace(pid, principal)
        # Counted before anything is awaited: of many that come at once, no more than the limit get past here.
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
        """Whoever comes back before it was noticed that it had gone takes the place of its old connection."""
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
        """The connection is gone. If it may be recovered, what it had is kept."""
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
        """The connections that are let in."""
        return list(self._connections)

    def connect_data(self, sid: str) -> dict[str, Any]:
        """What the connection is told when it is let in, beside its id."""
        connection = self._connections.get(sid)
        return {"pid": connection.pid} if connection and connection.pid else {}

    def get(self, sid: str) -> Connection:
        """Raises AppError `forbidden` for a connection that is gone."""
        connection = self._connections.get(sid)
        if connection is None:
            raise AppError("forbidden", CLOSED)
        return connection

    def may(self, sid: str, scope: str, session_id: str) -> bool:
        """Whether the connection is there, and its token allows this now."""
        connection = self._connections.get(sid)
        return connection is not None and connection.principal.may(scope, session_id)

    def close_where(self, applies: Callable[[Principal], bool], reason: str) -> int:
        """Close the connections of these people. Answers how many there were."""
        found = [connection for connection in self._connections.values() if applies(connection.principal)]
        for connection in found:
            self._sender.close(connection.sid, reason)
        return len(found)

    def authenticate(self, sid: str, principal: Principal) -> None:
        """Put a new token in the place of the old one; rights that it lacks end their subscriptions.

        Raises AppError `forbidden` for a token of somebody else.
        """
        connection = self.get(sid)
        if principal.sub != connection.principal.sub:
            raise AppError("forbidden", "The token belongs to another person.")
        connection.principal = principal
        self._subscriptions.narrow(connection)

    def congested(self, sid: str) -> None:
        """Bytes begin to wait for the connection."""
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
        """Nothing more is sent to the connection."""
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
        """The session's edge was given up."""
        self._subscriptions.close_all(session_id)
        self._recovery.lost(session_id)

    # in the background

    async def keep_house(self) -> None:
        """Close connections whose token has expired or that nobody serves; give up what was kept for too long."""
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
