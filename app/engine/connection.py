"""One Engine.IO connection: its packets in and out, whatever the transport, and its upgrade from polling."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import frames
from .outbox import Message
from .packets import ProtocolError
from .polling import CLOSE, NOOP, PING, PONG_PROBE, Polling
from .websocket import State, WebSocket

if TYPE_CHECKING:
    from .rooms import Client
    from .server import EngineServer

log = logging.getLogger(__name__)

Job = Callable[..., Awaitable[None]]


class Handshake(NamedTuple):
    """What is known of a client from the request that it began with."""

    address: str
    """As `client_address` told it."""
    origin: str | None
    """Checked already; None for a client that is no browser."""
    user_agent: str | None
    path: str
    """Of the request, without the query."""


def _discard(_data: bytes) -> None:
    """The write of a closed connection."""


class Connection:
    """One client, from its handshake until its `disconnect` handlers have run."""

    __slots__ = (
        "__weakref__",
        "_base",
        "_drained",
        "_inbox",
        "_turn",
        "_worker",
        "admitted",
        "clients",
        "closed",
        "congested",
        "deflate",
        "handshake",
        "partial",
        "polling",
        "refilled",
        "server",
        "session",
        "sid",
        "tokens",
        "upgrading",
        "waiting_bytes",
        "waits",
        "websocket",
        "write",
    )

    def __init__(self, server: "EngineServer", sid: str, handshake: Handshake) -> None:
        self.server, self.sid, self.handshake = server, sid, handshake
        self.write: Callable[[bytes], None] | None = None  # None while it polls
        self.deflate = False
        self.waits = False  # the kernel, or the next poll, has not taken everything
        self.congested = False
        self.closed = False
        self.admitted = False  # a connect handler has let it in
        self.websocket: WebSocket | None = None
        self.upgrading: WebSocket | None = None
        self.polling: Polling | None = None
        self.session: dict[str, Any] | None = None
        # For the Socket.IO layer: namespaces, a packet whose attachments are missing, what it may still send.
        self.clients: dict[str, Client] = {}
        self.partial: Any = None
        self.tokens = float(server.limits.event_burst)
        self.refilled = 0.0
        self.waiting_bytes = 0
        self._inbox: deque[tuple[int, Job, tuple[Any, ...]]] | None = None
        self._worker: asyncio.Task[None] | None = None
        self._drained: list[asyncio.Future[None]] | None = None
        self._turn = self._base = 0  # when it became congested, and what that turn left waiting

    @property
    def upgraded(self) -> bool:
        """Whether it is on a websocket (also asked for by the Admin UI)."""
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
        elif data == "3":
            if self.server.pongs.discard(self):
                self.server.pings.add(self)
        elif data == "1":
            self.close("client disconnect")
        else:
            self.malformed("bad Engine.IO packet")

    def _message(self, data: str | bytes) -> None:
        try:
            self.server.handlers["message"](self, data)
        except ProtocolError as error:
            self.malformed(str(error))

    def malformed(self, why: str, code: int = frames.PROTOCOL_ERROR) -> None:
        """The client does not keep the protocol: close it, with at most a log line a second for its address."""
        server = self.server
        server.stats.malformed += 1
        if server.may_log(self.handshake.address):
            log.warning("closing %s from %s: %s", self.sid, self.handshake.address, why)
        self.close("parse error", code)

    def enqueue(self, size: int, job: Job, *args: Any) -> None:
        """Run the job after all that were given before it, one at a time."""
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append((size, job, args))
        self.waiting_bytes += size
        if self._worker is None:
            self._worker = self.server.start_task(self._work(self._inbox))

    @property
    def queued(self) -> int:
        """Jobs that wait for the one that runs."""
        return len(self._inbox) if self._inbox else 0

    async def _work(self, inbox: deque[tuple[int, Job, tuple[Any, ...]]]) -> None:
        try:
            while inbox:
                size, job, args = inbox.popleft()
                self.waiting_bytes -= size
                try:
                    await job(*args)
                except Exception:
                    self.server.stats.handler_errors += 1
                    log.exception("a job of %s failed", self.sid)
        finally:
            self._worker = self._inbox = None

    # out

    def send(self, messages: Sequence[Message]) -> None:
        """Send a packet with its attachments at the end of this turn, behind what was sent before."""
        if not self.closed:
            self.server.outbox.send(self, messages)

    def send_message(self, data: str | bytes) -> None:
        """Send one Engine.IO message."""
        self.send([Message(b"4" + data.encode()) if isinstance(data, str) else Message(data, frames.BINARY)])

    def hold(self, messages: Sequence[Message]) -> None:
        """For the outbox: the connection polls."""
        if self.polling is not None and not self.closed:
            self.polling.hold(messages)

    def send_ping(self) -> None:
        if self.write is not None:
            self.write(PING.plain)
        else:
            self.hold([PING])

    def waiting(self) -> int:
        """Bytes that were handed over and not yet taken, those of this turn included."""
        size = self._unwritten()
        if self.websocket is not None:
            return size + self.websocket.transport.get_write_buffer_size()
        return size + (self.polling.size if self.polling is not None else 0)

    def _unwritten(self) -> int:
        return self.server.outbox.waiting(self, [client.sid for client in self.clients.values()])

    def grew(self, before: int, size: int) -> bool:
        """More waits than did: tell the user when it is much; False when it is more than may wait."""
        limits, outbox = self.server.limits, self.server.outbox
        if size <= limits.high_water:
            return True
        if not self.congested:
            self.congested = True
            self._turn, self._base = outbox.turn, 0
            self.server.stats.congested += 1
            self.server.stats.congestions += 1
            outbox.congested(self)
        if self._turn == outbox.turn:
            return size <= limits.max_burst  # a large turn alone kills nobody
        self._base = self._base or before
        return size <= limits.max_buffered + self._base

    def relieved(self) -> None:
        """Nothing waits any more; polling, little does."""
        self.waits = False
        if self.congested:
            self.congested = False
            self.server.stats.congested -= 1
        if self._drained is not None:
            waiters, self._drained = self._drained, None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def report_congested(self) -> None:
        if self.congested and not self.closed:
            self.server.report_congested(self)

    async def drained(self) -> bool:
        """Wait until little waits; False if the connection has ended."""
        if self._unwritten():
            await asyncio.sleep(0)  # until the turn's end; flushing would tear apart what it holds for others
        while not self.closed and (self.congested or (self.waits and self.websocket is not None)):
            waiter = asyncio.get_running_loop().create_future()
            if self._drained is None:
                self._drained = []
            self._drained.append(waiter)
            await waiter
        return not self.closed

    # the change from polling to websocket

    def open_websocket(self, websocket: WebSocket) -> None:
        """Go over to the websocket, and send there what no poll has taken."""
        websocket.state = State.OPEN
        self.websocket, self.deflate = websocket, websocket.deflate
        # It may be full already: of pongs that nobody has read.
        self.waits = websocket in self.server.stalled
        self.write = websocket.write_checked if self.waits else websocket.transport.write
        self.server.stats.websockets += 1
        if self.polling is not None:
            polling, self.polling = self.polling, None
            packets = polling.take()
            polling.release(NOOP)
            self._turn, self._base = self.server.outbox.turn, 0  # what waited is a burst to the websocket
            if packets:
                self.write(b"".join([m.deflated if self.deflate else m.plain for m in packets]))
            if not self.waits:
                self.relieved()

    def upgrade_packet(self, websocket: WebSocket, data: str | bytes) -> None:
        """What comes on a second websocket, before it has taken over."""
        if self.closed or self.websocket is not None:
            websocket.close()
        elif websocket.state == State.PROBE and data == "2probe":
            websocket.state = State.UPGRADE
            websocket.transport.write(PONG_PROBE.plain)
            if self.polling is not None and self.polling.polled and not self.polling.packets:
                self.polling.hold([NOOP])  # so that the client can stop polling
        elif websocket.state == State.UPGRADE and data == "5":
            self.upgrading = None
            self.server.upgrades.discard(websocket)
            self.server.stats.upgraded += 1
            self.open_websocket(websocket)
        else:
            websocket.fail(frames.PROTOCOL_ERROR, "bad upgrade packet")

    # the end

    def websocket_lost(self, websocket: WebSocket, error: Exception | None) -> None:
        if websocket is self.websocket:
            self.close("transport close" if error is None else "transport error")
        elif websocket is self.upgrading:
            self.upgrading = None  # it goes on polling
            self.server.upgrades.discard(websocket)

    def websocket_failed(self, websocket: WebSocket, code: int, reason: str) -> None:
        if websocket is self.websocket:
            self.malformed(reason, code)
        else:
            self.websocket_lost(websocket, None)

    def broken(self) -> None:
        """Its transport refused a write, which it should have told before; the others' turn must not suffer."""
        log.warning("the transport of %s is closed", self.sid)
        self.close("transport error")

    def websocket_stuck(self, websocket: WebSocket) -> None:
        if websocket is self.websocket:
            self.close("slow reader")
        else:
            self.websocket_lost(websocket, None)

    def close(self, reason: str, code: int = frames.NORMAL) -> None:
        """End the connection. `disconnect` handlers run after the events that came before; nothing is sent any more."""
        if self.closed:
            return
        self.closed = True
        self.relieved()
        self.server.forget(self, reason)
        self.write, self.deflate = _discard, False
        if self.websocket is not None:
            self.server.stats.websockets -= 1
            self.websocket.close(code)
        if self.upgrading is not None:
            self.server.upgrades.discard(self.upgrading)
            self.upgrading.close(code)
        if self.polling is not None:
            self.server.unpolled.discard(self.polling)
            # The client that closes gets a noop; others are told, and connect anew by themselves.
            self.polling.release(NOOP if reason == "client disconnect" else CLOSE)
        self.enqueue(0, self._disconnected, reason)

    async def _disconnected(self, reason: str) -> None:
        await self.server.handlers["disconnect"](self, reason)
