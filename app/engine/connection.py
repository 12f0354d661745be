"""An Engine.IO connection: incoming and outgoing packets on any transport, and the upgrade from polling."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from . import frames
from .allowance import Allowance
from .backlog import Backlog
from .inbox import Inbox
from .limits import Limits
from .messages import NOOP, PING, PONG_PROBE, Message
from .outbox import Outbox
from .packets import ProtocolError, from_base64
from .polling import Polling
from .reasons import PARSE_ERROR, RATE_LIMITED, TRANSPORT_CLOSE, TRANSPORT_ERROR, Reason
from .stats import Stats
from .websocket import State, WebSocket

log = logging.getLogger(__name__)


class Handshake(NamedTuple):
    """What the first request says about a client."""

    address: str
    """As returned by `client_address`."""
    origin: str | None
    """Already checked. None for clients that are not browsers."""
    user_agent: str | None
    path: str
    """The path of the request, without the query."""


class Host(Protocol):
    """Receives a connection's events."""

    def received(self, connection: "Connection", data: str | bytes) -> None:
        """An Engine.IO message. Raises ProtocolError."""

    def ponged(self, connection: "Connection") -> bool:
        """The client has answered a ping. False if there was none."""

    def malformed(self, connection: "Connection", why: str) -> None:
        """The client has violated the protocol, and is being closed."""

    def congested(self, connection: "Connection") -> None:
        """The turn in which the connection became congested ends."""

    def ended(self, connection: "Connection", reason: Reason) -> None:
        """The connection has ended. Called immediately."""

    async def disconnected(self, connection: "Connection", reason: Reason) -> None:
        """The connection has ended. Called after everything it had sent was handled."""


def _discard(_data: bytes) -> None:
    """The `write` of a closed connection."""


class Connection:
    """One client, from its handshake until its `disconnect` handlers have run."""

    __slots__ = (
        "__weakref__",
        "_host",
        "_outbox",
        "_outside_bytes",
        "_stats",
        "admitted",
        "allowance",
        "backlog",
        "clients",
        "closed",
        "deflate",
        "handshake",
        "inbox",
        "partial",
        "polling",
        "session",
        "sid",
        "upgrading",
        "websocket",
        "write",
    )

    def __init__(
        self, sid: str, handshake: Handshake, host: Host, inbox: Inbox, outbox: Outbox, limits: Limits, stats: Stats
    ) -> None:
        self.sid, self.handshake, self.inbox = sid, handshake, inbox
        self._host, self._outbox, self._stats = host, outbox, stats
        self.backlog = Backlog(self, outbox, limits, stats)
        self.write: Callable[[bytes], None] | None = None  # None while it polls
        self.deflate = False
        self.closed = False
        self.admitted = False  # a connect handler has accepted it
        self._outside_bytes = limits.max_waiting_event_bytes  # that it may still send before that
        self.websocket: WebSocket | None = None
        self.upgrading: WebSocket | None = None
        self.polling: Polling | None = None
        # For the Socket.IO layer: its rate limit, its clients by namespace, a packet whose attachments are
        # missing, and the user's session.
        self.allowance = Allowance(limits.event_rate, limits.event_burst)
        self.clients: dict[str, Any] = {}
        self.partial: Any = None
        self.session: dict[str, Any] | None = None

    @property
    def upgraded(self) -> bool:
        """Whether it uses a WebSocket. Also used by the Admin UI."""
        return self.websocket is not None

    @property
    def upgrade_probed(self) -> bool:
        return self.upgrading is not None and self.upgrading.state == State.UPGRADE

    # in

    def receive(self, data: str | bytes) -> None:
        """One Engine.IO packet from the client, from either transport."""
        if self.closed:
            return
        if isinstance(data, bytes):
            self._message(data)
        elif data[:1] == "4":
            self._message(data[1:])
        elif data[:1] == "b":
            self._base64(data[1:])
        elif data == "3":
            if not self._host.ponged(self):
                self.malformed("pong without a ping")
        elif data == "1":
            if self.polling is not None:
                self.polling.end(NOOP)
            self.close(TRANSPORT_CLOSE)
        else:
            self.malformed("bad Engine.IO packet")

    def _base64(self, text: str) -> None:
        """Binary data on a WebSocket from a client that only sends text (`forceBase64`)."""
        try:
            data = from_base64(text)
        except ProtocolError as error:
            self.malformed(str(error))
        else:
            self._message(data)

    def _message(self, data: str | bytes) -> None:
        if not self.admitted:
            self._outside_bytes -= len(data)
            if self._outside_bytes < 0:
                self.close(RATE_LIMITED)
                return
        try:
            self._host.received(self, data)
        except ProtocolError as error:
            self.malformed(str(error))

    def malformed(self, why: str, code: int = PARSE_ERROR.code) -> None:
        """The client has violated the protocol: close the connection."""
        self._host.malformed(self, why)
        self.close(PARSE_ERROR, code)

    # out

    def send(self, messages: Sequence[Message]) -> None:
        """Send a packet with its attachments at the end of this turn, in order."""
        if not self.closed:
            self._outbox.send(self, messages)

    def send_message(self, data: str | bytes) -> None:
        """Send one Engine.IO message."""
        self.send([Message(b"4" + data.encode()) if isinstance(data, str) else Message(data, frames.BINARY)])

    def send_ping(self) -> None:
        if self.write is not None:
            self.write(PING.plain)
        elif self.polling is not None:
            self.polling.hold_first(PING)

    def is_taking(self) -> bool:
        """Whether the client is still reading earlier data, so that its pong may be late. Call this when a pong is
        overdue: returns False if there was no progress since the last call."""
        if self.websocket is not None:
            return self.websocket.is_taking()
        return self.polling is not None and self.polling.busy

    def waiting(self) -> int:
        """Unsent bytes, including those of this turn."""
        size = self._unwritten()
        if self.websocket is not None:
            return size + self.websocket.transport.get_write_buffer_size()
        return size + (self.polling.size if self.polling is not None else 0)

    def _unwritten(self) -> int:
        return self._outbox.waiting(self, [client.sid for client in self.clients.values()])

    async def drained(self) -> bool:
        """Wait until few bytes are unsent. False if the connection has ended."""
        if self._unwritten():
            await asyncio.sleep(0)  # wait for the end of the turn: flushing now would split what it holds for others
        while not self.closed and (self.backlog.congested or (self.backlog.waits and self.websocket is not None)):
            await self.backlog.relief()
        return not self.closed

    # outbox.Recipient

    @property
    def waits(self) -> bool:
        return self.backlog.waits

    def hold(self, messages: Sequence[Message]) -> None:
        if self.polling is not None and not self.closed:
            self.polling.hold(messages)

    def broken(self) -> None:
        """The transport raised an error in a write. The error must not affect other connections in the turn."""
        log.warning("transport_broken", extra={"connection_id": self.sid})
        self.close(TRANSPORT_ERROR)

    def report_congested(self) -> None:
        if self.backlog.congested and not self.closed:
            self._host.congested(self)

    # the upgrade from polling to WebSocket

    def open_websocket(self, websocket: WebSocket) -> None:
        """Change to the WebSocket, and send what no poll has taken."""
        self.websocket, self.deflate = websocket, websocket.deflate
        websocket.open()
        self._stats.websockets += 1
        if self.polling is not None and self.write is not None:
            polling, self.polling = self.polling, None
            packets = polling.take_all()
            polling.end(NOOP)
            self.backlog.begin_anew()
            if packets:
                self.write(b"".join([m.deflated if self.deflate else m.plain for m in packets]))
            if not self.backlog.waits:
                self.backlog.relieved()

    def upgrade_packet(self, websocket: WebSocket, data: str | bytes) -> None:
        """A packet on the WebSocket of an upgrade, before the upgrade is complete."""
        if self.closed or self.websocket is not None:
            websocket.close()
        elif websocket.state == State.PROBE and data == "2probe":
            websocket.state = State.UPGRADE
            websocket.transport.write(PONG_PROBE.plain)
            if self.polling is not None:
                self.polling.wake()  # so that the client can stop polling
        elif data == "5":  # Elephant.io does not probe
            self.upgrading = None
            self._stats.upgraded += 1
            self.open_websocket(websocket)
        else:
            websocket.fail(frames.PROTOCOL_ERROR, "bad upgrade packet")

    # closing

    def websocket_lost(self, websocket: WebSocket, reason: Reason) -> None:
        if websocket is self.websocket:
            self.close(reason)
        elif websocket is self.upgrading:
            self.upgrading = None  # it continues with polling

    def websocket_failed(self, websocket: WebSocket, code: int, why: str) -> None:
        if websocket is not self.websocket:
            self.websocket_lost(websocket, PARSE_ERROR)
        elif code == frames.POLICY:
            self.close(RATE_LIMITED)
        else:
            self.malformed(why, code)

    def close(self, reason: Reason, code: int | None = None) -> None:
        """Close the connection. `disconnect` handlers run after earlier events; nothing more is sent.

        `code` is the close code, if it differs from the reason's."""
        if self.closed:
            return
        self.closed = True
        self.backlog.relieved()
        self._host.ended(self, reason)
        self.write, self.deflate = _discard, False
        if self.websocket is not None:
            self._stats.websockets -= 1
        for websocket in (self.websocket, self.upgrading):
            if websocket is not None:
                websocket.close(reason.code if code is None else code)
        if self.polling is not None:
            self.polling.end(None)
        self.inbox.put(0, self._disconnected, reason)

    async def _disconnected(self, reason: Reason) -> None:
        await self._host.disconnected(self, reason)
