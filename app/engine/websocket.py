"""The websocket of a connection, straight on asyncio's transport: the HTTP server is out of the way.

Writing costs nothing beyond `transport.write` while the kernel takes everything. As soon as it does not, a checking
write is swapped in, which knows how much waits; when all is taken it is swapped out again.

What a client sends is bounded before it is paid for: nothing is parsed or inflated behind a close, whoever closed, and
frames that bring no message have an allowance.
"""

import asyncio
import enum
import socket
from collections.abc import Callable
from typing import Protocol

from . import frames
from .allowance import Allowance
from .backlog import Backlog
from .deadlines import Deadlines
from .deflate import inflate
from .frames import WebSocketError
from .limits import Limits
from .reasons import SLOW_READER, TRANSPORT_CLOSE, TRANSPORT_ERROR, Reason
from .stats import Stats
from .transport import reset, taken, unsent

CONTROL_COST = 8
"""A control frame takes as much of the allowance as so many fragments: most of them are answered."""
LEAST_FRAGMENT = 64
"""Bytes of a fragment in the long run: Autobahn's clients send no smaller ones."""


class State(enum.IntEnum):
    PROBE = 0  # a second transport of a polling connection, nothing said yet
    UPGRADE = 1  # it has been probed and may take over
    OPEN = 2
    CLOSING = 3


class Owner(Protocol):
    """The connection that a websocket belongs to."""

    write: Callable[[bytes], None] | None
    closed: bool
    backlog: Backlog

    def receive(self, data: str | bytes) -> None:
        """A message that came on an open websocket."""

    def upgrade_packet(self, websocket: "WebSocket", data: str | bytes) -> None:
        """A message that came on one that is not open yet."""

    def websocket_lost(self, websocket: "WebSocket", reason: Reason) -> None:
        """It has ended by itself."""

    def websocket_failed(self, websocket: "WebSocket", code: int, why: str) -> None:
        """The client broke the protocol; the websocket closes with this code."""


class WebSockets:
    """What the websockets of a server share: limits and deadlines."""

    def __init__(self, limits: Limits, stats: Stats, *, deflate: bool) -> None:
        self.limits, self.deflate = limits, deflate
        self.extra_frames = max(1_024, limits.max_packet // LEAST_FRAGMENT)
        """Frames that bring no message: so many at once, and as many again in ten seconds."""
        self.upgrading = Deadlines[WebSocket](limits.upgrade_timeout, lambda ws, _: ws.give_up_upgrade(), stats)
        self.stalled = Deadlines[WebSocket](limits.stall_timeout, WebSocket.check_stalled, stats)
        self.closing = Deadlines[WebSocket](limits.close_timeout, lambda ws, _: reset(ws.transport), stats)

    def __len__(self) -> int:
        """Those that are being watched."""
        return len(self.upgrading) + len(self.stalled) + len(self.closing)

    def stop(self) -> None:
        for deadlines in (self.upgrading, self.stalled, self.closing):
            deadlines.clear()


class WebSocket(frames.FrameParser, asyncio.Protocol):
    """The protocol object of one websocket."""

    __slots__ = ("_all", "_extra", "_taken", "_taken_late", "deflate", "owner", "state", "transport")

    def __init__(self, owner: Owner, transport: asyncio.Transport, deflate: bool, shared: WebSockets) -> None:
        super().__init__(shared.limits.max_packet, inflate if deflate else None)
        self.deflate = deflate
        self.owner, self.transport, self._all = owner, transport, shared
        self.state = State.PROBE
        self._taken = 0  # by the peer, when that was last looked at
        self._taken_late: int | None = None  # likewise, when its pong was late
        self._extra: Allowance | None = None  # most clients never need it

    def begin(self) -> None:
        """Set the transport up: told as soon as one byte waits, and again when none does."""
        self.transport.set_write_buffer_limits(high=1, low=0)
        sock = self.transport.get_extra_info("socket")
        if self._all.limits.send_buffer and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._all.limits.send_buffer)

    def begin_upgrade(self) -> None:
        """It is a second transport, and may be that for `Limits.upgrade_timeout`."""
        self._all.upgrading.add(self)

    def give_up_upgrade(self) -> None:
        """The probe was not completed in time: reset it, without a close frame.

        python-socketio's asyncio client waits for the answer to its probe without a time limit. It goes on with
        polling when the connection breaks, but a close frame in the place of the answer is an error to it.
        """
        self.ended = True
        self.state = State.CLOSING
        reset(self.transport)

    def open(self) -> None:
        """It is the connection's transport from here on, and writes for it."""
        self._all.upgrading.discard(self)
        self.state = State.OPEN
        # It may be full already: of pongs that nobody has read.
        stalled = self in self._all.stalled
        self.owner.backlog.waits = stalled
        self.owner.write = self._write_checked if stalled else self.transport.write

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        try:
            self.feed(data)
        except WebSocketError as error:
            self.fail(error.code, str(error))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.state = State.CLOSING
        for deadlines in (self._all.closing, self._all.stalled, self._all.upgrading):
            deadlines.discard(self)
        self.owner.websocket_lost(self, TRANSPORT_CLOSE if exc is None else TRANSPORT_ERROR)

    def pause_writing(self) -> None:
        """The kernel takes no more for now: from here on every write is checked."""
        owner = self.owner
        waiting = self.transport.get_write_buffer_size()
        self._taken = taken(self.transport).size
        self._all.stalled.add(self)
        if self.state == State.OPEN and not owner.closed:
            owner.backlog.waits = True
            owner.write = self._write_checked
            if not owner.backlog.grew(0, waiting):
                # Not from here: the transport is in the middle of its write.
                asyncio.get_running_loop().call_soon(self._give_up)

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self._all.stalled.discard(self)
        if self.state == State.OPEN and not self.owner.closed:
            self.owner.write = self.transport.write
            self.owner.backlog.relieved()

    def _write_checked(self, data: bytes) -> None:
        before = self.transport.get_write_buffer_size()
        self.transport.write(data)
        if not self.owner.backlog.grew(before, self.transport.get_write_buffer_size()):
            self._give_up()

    def check_stalled(self, _due: float) -> None:
        """Bytes have waited for a while: whether some were taken since, by the peer and not just by the kernel."""
        now = taken(self.transport).size
        if now <= self._taken:
            self._give_up()
        else:
            self._taken = now
            self._all.stalled.add(self)

    def is_taking(self) -> bool:
        """See `Connection.is_taking`. The pong is behind what our kernel holds for the peer."""
        size, heard = taken(self.transport)
        before, self._taken_late = self._taken_late, size
        return (
            unsent(self.transport) > 0 and heard < self._all.limits.stall_timeout and (before is None or size > before)
        )

    def _give_up(self) -> None:
        """The peer does not read: drop it."""
        self.ended = True
        self.state = State.CLOSING
        reset(self.transport)
        self.owner.websocket_lost(self, SLOW_READER)

    # frames.FrameParser

    def on_message(self, data: str | bytes) -> None:
        if self.state == State.OPEN:
            self.owner.receive(data)
        else:
            self.owner.upgrade_packet(self, data)

    def on_extra(self, opcode: int) -> None:
        if self._extra is None:
            self._extra = Allowance(self._all.extra_frames / 10, self._all.extra_frames)
        if not self._extra.take(1 if opcode < frames.CLOSE else CONTROL_COST):
            raise WebSocketError(frames.POLICY, "too many frames")

    def on_control(self, opcode: int, payload: bytes) -> None:
        if opcode == frames.CLOSE:
            code = frames.check_close(payload)
            self.ended = True
            self.state = State.CLOSING
            self.transport.write(frames.close_frame(code))
            self.owner.websocket_lost(self, TRANSPORT_CLOSE)
            self._drop_later()
            self.transport.close()
        elif opcode == frames.PING:
            self._send(frames.frame(payload, frames.PONG))

    def _send(self, data: bytes) -> None:
        """Write a frame outside the outbox, checked like the others."""
        if self.state == State.OPEN and self.owner.write is not None:
            self.owner.write(data)
        else:
            self.transport.write(data)

    def close(self, code: int = frames.NORMAL) -> None:
        """Close in order: send a close frame, wait for the peer a while, then drop it.

        Nothing that the peer has sent or still sends is parsed, its own close frame included: our end of the
        connection is closed as well, so that it need not wait for us.
        """
        self.ended = True
        if self.state != State.CLOSING:
            self.state = State.CLOSING
            self.transport.write(frames.close_frame(code))
            if self.transport.can_write_eof():
                try:
                    self.transport.write_eof()
                except OSError:
                    pass  # it has gone already, which the transport has not noticed yet
            self._drop_later()

    def fail(self, code: int, why: str) -> None:
        """The peer broke the protocol: nothing that it still sends can be understood (RFC 6455, 7.1.7)."""
        self.ended = True
        self.owner.websocket_failed(self, code, why)
        self.close(code)

    def _drop_later(self) -> None:
        self._all.upgrading.discard(self)
        self._all.stalled.discard(self)
        self._all.closing.add(self)
