"""The WebSocket of a connection, directly on asyncio's transport, without the HTTP server.

While the kernel takes everything, a write is just `transport.write`. When it does not, a checking write is used
instead, which counts unsent bytes, until everything has been taken.

Input is limited before it is processed: nothing is parsed or decompressed after a close, from either side, and frames
without a message are rate-limited.
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
from .transport import Pace, reset, taken, unsent

CONTROL_COST = 8
"""A control frame counts as much as this number of fragments, because most of them are answered."""
UNSENT_BYTES = 16_384
"""Maximum size of unsent data in the kernel (TCP_NOTSENT_LOWAT), beside what is in flight. The rest is buffered here,
so that on a slow link a ping is not behind a full SO_SNDBUF."""
LEAST_FRAGMENT = 64
"""Minimum average size of a fragment, in bytes. Autobahn's clients send no smaller ones."""


class State(enum.IntEnum):
    PROBE = 0  # the WebSocket of an upgrade, before its probe
    UPGRADE = 1  # probed: the upgrade may complete
    OPEN = 2
    CLOSING = 3


class Owner(Protocol):
    """The connection that a WebSocket belongs to."""

    write: Callable[[bytes], None] | None
    closed: bool
    backlog: Backlog

    def receive(self, data: str | bytes) -> None:
        """A message on an open WebSocket."""

    def upgrade_packet(self, websocket: "WebSocket", data: str | bytes) -> None:
        """A message on a WebSocket that is not open yet."""

    def websocket_lost(self, websocket: "WebSocket", reason: Reason) -> None:
        """The WebSocket has ended without a close from our side."""

    def websocket_failed(self, websocket: "WebSocket", code: int, why: str) -> None:
        """The client violated the protocol; the WebSocket is closed with this code."""


class WebSockets:
    """Limits and deadlines shared by the WebSockets of a server."""

    def __init__(self, limits: Limits, stats: Stats, *, deflate: bool) -> None:
        self.limits, self.deflate = limits, deflate
        self.extra_frames = max(1_024, limits.max_packet // LEAST_FRAGMENT)
        """Rate limit for frames without a message: this many at once, and as many again every ten seconds."""
        self.upgrading = Deadlines[WebSocket](limits.upgrade_timeout, lambda ws, _: ws.give_up_upgrade(), stats)
        self.stalled = Deadlines[WebSocket](limits.stall_timeout, WebSocket.check_stalled, stats)
        self.closing = Deadlines[WebSocket](limits.close_timeout, lambda ws, _: reset(ws.transport), stats)

    def __len__(self) -> int:
        """Number of items with a deadline."""
        return len(self.upgrading) + len(self.stalled) + len(self.closing)

    def stop(self) -> None:
        for deadlines in (self.upgrading, self.stalled, self.closing):
            deadlines.clear()


class WebSocket(frames.FrameParser, asyncio.Protocol):
    """The asyncio protocol of one WebSocket."""

    __slots__ = ("_all", "_extra", "_pace", "_taken_late", "deflate", "owner", "silent", "state", "transport")

    def __init__(
        self, owner: Owner, transport: asyncio.Transport, deflate: bool, shared: WebSockets, *, silent: bool = False
    ) -> None:
        """`silent`: close without a close frame."""
        super().__init__(shared.limits.max_packet, inflate if deflate else None)
        self.deflate, self.silent = deflate, silent
        self.owner, self.transport, self._all = owner, transport, shared
        self.state = State.PROBE
        self._pace: Pace | None = None  # while there are unsent bytes
        self._taken_late: int | None = None  # taken by the peer, when its pong was late
        self._extra: Allowance | None = None  # most clients never need it

    def begin(self) -> None:
        """Configure the transport to report when there are unsent bytes, and when there are none."""
        self.transport.set_write_buffer_limits(high=1, low=0)
        sock = self.transport.get_extra_info("socket")
        if self._all.limits.send_buffer and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._all.limits.send_buffer)
        if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def begin_upgrade(self) -> None:
        """This is the WebSocket of an upgrade, which must complete within `Limits.upgrade_timeout`."""
        self._all.upgrading.add(self)

    def give_up_upgrade(self) -> None:
        """The upgrade was not completed in time: reset the WebSocket, without a close frame.

        python-socketio's asyncio client waits for the answer to its probe without a time limit. It continues with
        polling if the connection breaks, but fails if it gets a close frame instead of the answer.
        """
        self.ended = True
        self.state = State.CLOSING
        reset(self.transport)

    def open(self) -> None:
        """From here on this is the connection's transport."""
        self._all.upgrading.discard(self)
        self.state = State.OPEN
        # It may be full already, of unread pongs.
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
        """The kernel's buffer is full: from here on every write is checked."""
        owner = self.owner
        waiting = self.transport.get_write_buffer_size()
        self._pace = Pace(self.transport, self._all.limits.stall_timeout)
        self._all.stalled.add(self)
        if self.state == State.OPEN and not owner.closed:
            owner.backlog.waits = True
            owner.write = self._write_checked
            if not owner.backlog.grew(0, waiting):
                # Not here, because the transport is in the middle of a write.
                asyncio.get_running_loop().call_soon(self._give_up)

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self._all.stalled.discard(self)
        self._pace = None
        if self.state == State.OPEN and not self.owner.closed:
            self.owner.write = self.transport.write
            self.owner.backlog.relieved()

    def _write_checked(self, data: bytes) -> None:
        before = self.transport.get_write_buffer_size()
        self.transport.write(data)
        if not self.owner.backlog.grew(before, self.transport.get_write_buffer_size()):
            self._give_up()

    def check_stalled(self, _due: float) -> None:
        """Bytes have been unsent for a while: check whether the peer, not just the kernel, takes some."""
        if self._pace is None or self._pace.stalled(self.transport):
            self._give_up()
        else:
            self._all.stalled.add(self)

    def is_taking(self) -> bool:
        """See `Connection.is_taking`. The ping is queued after the data in our kernel's buffer."""
        size, heard, round_trip = taken(self.transport)
        before, self._taken_late = self._taken_late, size
        alive = heard < self._all.limits.stall_timeout + 4 * round_trip
        return unsent(self.transport) > 0 and alive and (before is None or size > before)

    def _give_up(self) -> None:
        """The peer does not read: drop the connection."""
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
        """Write a frame without the outbox, with the same checks."""
        if self.state == State.OPEN and self.owner.write is not None:
            self.owner.write(data)
        else:
            self.transport.write(data)

    def close(self, code: int = frames.NORMAL) -> None:
        """Close: send a close frame, wait a moment for the peer, then drop the connection.

        Nothing from the peer is parsed any more, including its close frame. Our end of the connection is closed as
        well, so that the peer need not wait for us.
        """
        self.ended = True
        if self.state != State.CLOSING:
            self.state = State.CLOSING
            if not self.silent:
                self.transport.write(frames.close_frame(code))
            if self.transport.can_write_eof():
                try:
                    self.transport.write_eof()
                except OSError:
                    pass  # it has ended already, which the transport has not noticed yet
            self._drop_later()

    def fail(self, code: int, why: str) -> None:
        """The peer violated the protocol: what it sends from now on is ignored (RFC 6455, 7.1.7)."""
        self.ended = True
        self.owner.websocket_failed(self, code, why)
        self.close(code)

    def _drop_later(self) -> None:
        self._all.upgrading.discard(self)
        self._all.stalled.discard(self)
        self._all.closing.add(self)
