"""All connections of a server: how they start, their heartbeats, and how they end."""

import logging
import secrets
from collections.abc import Callable
from typing import Any

from .admission import Admission
from .connection import Connection, Handshake
from .deadlines import Deadlines
from .heartbeat import Heartbeat
from .inbox import Inbox
from .limits import Limits
from .outbox import Outbox
from .polling import Polls
from .reasons import CONNECT_TIMEOUT, PING_TIMEOUT, Reason
from .stats import Stats, Throttle
from .tasks import Tasks
from .websocket import WebSocket, WebSockets

log = logging.getLogger(__name__)

SID_LENGTH = 20


class Connections:
    """`handlers` are those of `Engine.on`."""

    def __init__(
        self,
        handlers: dict[str, Callable[..., Any]],
        limits: Limits,
        stats: Stats,
        *,
        ping_interval: float,
        ping_timeout: float,
        deflate: bool,
    ) -> None:
        self._handlers, self._limits, self._stats = handlers, limits, stats
        self.by_sid: dict[str, Connection] = {}
        self._own = secrets.token_urlsafe(3)  # the prefix of all ids of this server
        self.tasks = Tasks(stats)
        self.outbox = Outbox(stats)
        self.websockets = WebSockets(limits, stats, deflate=deflate)
        self.polls = Polls(limits, stats)
        self.admission = Admission(limits, stats)
        self.heartbeat = Heartbeat[Connection](
            ping_interval, ping_timeout, stats, ping=Connection.send_ping, lost=self._lost
        )
        self.on_congested: Callable[[Connection], None] = lambda connection: None
        self._unconnected, self._upgrading = (
            Deadlines[Connection](delay, lambda connection, _: connection.close(CONNECT_TIMEOUT), stats)
            for delay in (limits.connect_timeout, limits.upgrade_timeout + limits.connect_timeout)
        )
        self._may_log = Throttle()

    def __len__(self) -> int:
        return len(self.by_sid)

    @property
    def watched(self) -> int:
        """The number of items with a deadline."""
        return (
            len(self.heartbeat) + len(self._unconnected) + len(self._upgrading) + len(self.websockets) + len(self.polls)
        )

    def is_foreign(self, sid: str) -> bool:
        """Whether an id is from another server, or from before a restart."""
        return len(sid) == SID_LENGTH and not sid.startswith(self._own)

    def open(self, handshake: Handshake, transport: str) -> Connection:
        """A new connection that no connect handler has accepted yet."""
        inbox = Inbox(self.tasks, self._stats)
        sid = self._own + secrets.token_urlsafe(12)
        connection = Connection(sid, handshake, self, inbox, self.outbox, self._limits, self._stats)
        self.by_sid[connection.sid] = connection
        self._stats.connections += 1
        self._stats.opened[transport] += 1
        self.admission.opened(handshake.address)
        self._outside(connection)
        self.heartbeat.begin(connection)
        return connection

    def admit(self, connection: Connection) -> None:
        """A connect handler has accepted the connection."""
        if not connection.admitted and not connection.closed:
            connection.admitted = True
            self._inside(connection)

    def expel(self, connection: Connection) -> None:
        """It has left its last namespace: it must connect to one again soon, or is closed."""
        if connection.admitted and not connection.closed:
            connection.admitted = False
            self._outside(connection)

    def begin_upgrade(self, connection: Connection, websocket: WebSocket) -> None:
        """A polling client tries a WebSocket. Some clients send nothing else until that has opened or failed, so it
        gets more time to connect, but only once."""
        connection.upgrading = websocket
        websocket.begin_upgrade()
        if self._unconnected.discard(connection):
            self._upgrading.add(connection)

    def _outside(self, connection: Connection) -> None:
        self.admission.outside(connection.handshake.address)
        self._unconnected.add(connection)

    def _inside(self, connection: Connection) -> None:
        self.admission.inside(connection.handshake.address)
        self._unconnected.discard(connection)
        self._upgrading.discard(connection)

    def is_lost(self, connection: Connection) -> bool:
        """Whether its time to answer a ping is over, even if the timer has not run yet."""
        return self.heartbeat.overdue(connection) and not connection.is_taking()

    def _lost(self, connection: Connection) -> None:
        """It has not answered a ping in time."""
        if connection.is_taking():
            self.heartbeat.wait_on(connection)
        else:
            connection.close(PING_TIMEOUT)

    def stop(self) -> None:
        """Forget all deadlines."""
        for part in (self.heartbeat, self.websockets, self.polls):
            part.stop()
        self._unconnected.clear()
        self._upgrading.clear()

    # connection.Host

    def received(self, connection: Connection, data: str | bytes) -> None:
        self._handlers["message"](connection, data)

    def ponged(self, connection: Connection) -> bool:
        return self.heartbeat.pong(connection)

    def malformed(self, connection: Connection, why: str) -> None:
        self._stats.malformed += 1
        address = connection.handshake.address
        if self._may_log(address):
            log.warning("client_malformed", extra={"connection_id": connection.sid, "address": address, "error": why})

    def ended(self, connection: Connection, reason: Reason) -> None:
        self.by_sid.pop(connection.sid, None)
        if not connection.admitted:
            self._inside(connection)
        self.admission.closed(connection.handshake.address)
        self.heartbeat.end(connection)
        self._stats.connections -= 1
        self._stats.closed[reason.text] = self._stats.closed.get(reason.text, 0) + 1

    async def disconnected(self, connection: Connection, reason: Reason) -> None:
        await self._handlers["disconnect"](connection, reason.text)

    def congested(self, connection: Connection) -> None:
        self.on_congested(connection)
