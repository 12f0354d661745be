"""The websocket of a connection, straight on asyncio's transport: the HTTP server is out of the way.

Writing costs nothing beyond `transport.write` while the kernel takes everything. As soon as it does not, a checking
write is swapped in, which knows how much waits; when all is taken it is swapped out again.
"""

import array
import asyncio
import enum
import socket
import struct
from typing import TYPE_CHECKING, cast

try:
    import fcntl
    import termios
except ImportError:  # not on this system: what the kernel holds is then not counted
    fcntl = None  # type: ignore[assignment]

from . import frames
from .frames import WebSocketError

if TYPE_CHECKING:
    from .connection import Connection

_LINGER_NOT = struct.pack("ii", 1, 0)


class State(enum.IntEnum):
    PROBE = 0  # a second transport of a polling connection, nothing said yet
    UPGRADE = 1  # it has been probed and may take over
    OPEN = 2
    CLOSING = 3


def unsent(transport: asyncio.BaseTransport) -> int:
    """Bytes that the kernel holds for the peer, sent and not acknowledged or not yet sent; 0 where it cannot tell."""
    sock = transport.get_extra_info("socket")
    if fcntl is None or sock is None:
        return 0
    size = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, size, True)
    except (OSError, ValueError):
        return 0
    return size[0]


def reset(transport: asyncio.BaseTransport) -> None:
    """Drop a connection at once, with all that the kernel holds for it: close() and abort() would go on sending."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        except OSError:
            pass  # it is closed already
    cast(asyncio.WriteTransport, transport).abort()


class WebSocket(frames.FrameParser, asyncio.Protocol):
    """The protocol object of one websocket."""

    __slots__ = ("connection", "handed", "state", "taken", "transport")

    def __init__(self, connection: "Connection", transport: asyncio.Transport, deflate: bool) -> None:
        super().__init__(connection.server.limits.max_packet, deflate)
        self.connection, self.transport = connection, transport
        self.state = State.PROBE
        self.handed = self.taken = 0  # bytes while something waits: what was to be taken, and what of it was

    def begin(self, send_buffer: int) -> None:
        """Set the transport up: told as soon as one byte waits, and again when none does."""
        self.transport.set_write_buffer_limits(high=1, low=0)
        sock = self.transport.get_extra_info("socket")
        if send_buffer and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        try:
            self.feed(data)
        except WebSocketError as error:
            self.fail(error.code, str(error))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        server = self.connection.server
        self.ended = True
        self.state = State.CLOSING
        server.closing.discard(self)
        server.stalled.discard(self)
        self.connection.websocket_lost(self, exc)

    def pause_writing(self) -> None:
        """The kernel takes no more for now: from here on every write is checked."""
        connection = self.connection
        waiting = self.transport.get_write_buffer_size()
        self.handed, self.taken = waiting + unsent(self.transport), 0
        connection.server.stalled.add(self)
        if self.state == State.OPEN and not connection.closed:
            connection.waits = True
            connection.write = self.write_checked
            if not connection.grew(0, waiting):
                # Not from here: the transport is in the middle of its write.
                asyncio.get_running_loop().call_soon(self.give_up)

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        connection = self.connection
        connection.server.stalled.discard(self)
        if self.state == State.OPEN and not connection.closed:
            connection.write = self.transport.write
            connection.relieved()

    def write_checked(self, data: bytes) -> None:
        before = self.transport.get_write_buffer_size()
        self.transport.write(data)
        self.handed += len(data)
        if not self.connection.grew(before, self.transport.get_write_buffer_size()):
            self.give_up()

    def check_stalled(self, _due: float) -> None:
        """Bytes have waited for a while: whether some were taken since, by the peer and not just by the kernel."""
        taken = self.handed - self.transport.get_write_buffer_size() - unsent(self.transport)
        if taken <= self.taken:
            self.give_up()
        else:
            self.taken = taken
            self.connection.server.stalled.add(self)

    def give_up(self) -> None:
        """The peer does not read: drop it."""
        self.ended = True
        self.state = State.CLOSING
        reset(self.transport)
        self.connection.websocket_stuck(self)

    # frames.FrameParser

    def on_message(self, data: str | bytes) -> None:
        if self.state == State.OPEN:
            self.connection.receive(data)
        elif self.state != State.CLOSING:
            self.connection.upgrade_packet(self, data)

    def on_control(self, opcode: int, payload: bytes) -> None:
        if opcode == frames.CLOSE:
            code = frames.check_close(payload)
            self.ended = True
            if self.state != State.CLOSING:
                self.state = State.CLOSING
                self.transport.write(frames.close_frame(code))
                self.connection.websocket_lost(self, None)
                self._drop_later()
            self.transport.close()
        elif opcode == frames.PING and self.state != State.CLOSING:
            self.send(frames.frame(payload, frames.PONG))

    def send(self, data: bytes) -> None:
        """Write a frame outside the outbox, checked like the others."""
        if self.state == State.OPEN and self.connection.write is not None:
            self.connection.write(data)
        else:
            self.transport.write(data)

    def close(self, code: int = frames.NORMAL) -> None:
        """Orderly: say so, wait for the peer's answer a while, then drop."""
        if self.state != State.CLOSING:
            self.state = State.CLOSING
            self.transport.write(frames.close_frame(code))
            if self.transport.can_write_eof():
                try:
                    self.transport.write_eof()  # the peer need not wait for us to close
                except OSError:
                    pass  # it has gone already, which the transport has not noticed yet
            self._drop_later()

    def fail(self, code: int, reason: str) -> None:
        """The peer broke the protocol: nothing that it still sends can be understood (RFC 6455, 7.1.7)."""
        self.ended = True
        self.connection.websocket_failed(self, code, reason)
        self.close(code)

    def _drop_later(self) -> None:
        server = self.connection.server
        server.stalled.discard(self)
        server.closing.add(self)
