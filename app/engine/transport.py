"""What asyncio's transports lack: how much the peer has received, and an immediate reset."""

import array
import asyncio
import math
import socket
import struct
from typing import Final, NamedTuple, cast

try:
    import fcntl
    import termios
except ImportError:  # not on this system, where the kernel's buffer is not counted
    fcntl = None  # type: ignore[assignment]

_LINGER_NOT = struct.pack("ii", 1, 0)
_TCP_INFO = getattr(socket, "TCP_INFO", None)
# In Linux's struct tcp_info, which only grows.
_LAST_ACK_AT, _ROUND_TRIP_AT, _TAKEN_AT, _TCP_INFO_SIZE = 56, 68, 120, 128

SLOW_LINK: Final = 4_000
"""Assumed minimum speed of a client's link, in bytes per second."""
_LONGEST: Final = 4


class Taken(NamedTuple):
    """How much sent data the peer has received."""

    size: int
    """A number that increases with the bytes acknowledged by the peer's kernel."""
    heard: float
    """Seconds since its kernel acknowledged anything, new or not. 0 if that is unknown."""
    round_trip: float
    """Round-trip time in seconds, as our kernel measures it. 0 if that is unknown."""


def taken(transport: asyncio.WriteTransport) -> Taken:
    """What the peer has received, not just our kernel. On systems other than Linux: what our kernel has taken."""
    sock = transport.get_extra_info("socket")
    if _TCP_INFO is not None and sock is not None:
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _TCP_INFO_SIZE)
        except OSError:
            info = b""
        if len(info) == _TCP_INFO_SIZE:
            (size,) = struct.unpack_from("=Q", info, _TAKEN_AT)
            (since,), (trip,) = (struct.unpack_from("=I", info, at) for at in (_LAST_ACK_AT, _ROUND_TRIP_AT))
            return Taken(size, since / 1_000, trip / 1_000_000)
    return Taken(-transport.get_write_buffer_size(), 0.0, 0.0)


class Pace:
    """Whether a peer still takes what it was sent. Ask every `timeout` seconds.

    A peer may take nothing for that long, and on a slow link for up to four times as long: a lost packet costs several
    round trips, and a proxy that has received much at once receives more only after passing that on.
    """

    __slots__ = ("_left", "_size", "_timeout")

    def __init__(self, transport: asyncio.WriteTransport, timeout: float) -> None:
        self._timeout = timeout
        self._size, _, round_trip = taken(transport)
        self._left = self._checks(self._size, round_trip)

    def stalled(self, transport: asyncio.WriteTransport) -> bool:
        """Whether it has taken nothing for too long."""
        size, _, round_trip = taken(transport)
        if size > self._size:
            self._left, self._size = self._checks(size - self._size, round_trip), size
            return False
        self._left -= 1
        return self._left <= 0

    def _checks(self, size: int, round_trip: float) -> int:
        """How often it may be found to have taken nothing, after it has taken `size` bytes."""
        return min(_LONGEST, max(1, math.ceil((size / SLOW_LINK + 4 * round_trip) / self._timeout)))


def unsent(transport: asyncio.WriteTransport) -> int:
    """Bytes buffered by us and by the kernel, including those the peer has not acknowledged."""
    size = array.array("i", [0])
    sock = transport.get_extra_info("socket")
    if fcntl is not None and sock is not None:
        try:
            fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, size, True)
        except (OSError, ValueError):
            pass
    return size[0] + transport.get_write_buffer_size()


def reset(transport: asyncio.BaseTransport) -> None:
    """Drop a connection at once, with the kernel's buffer. close() and abort() would continue sending."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        except OSError:
            pass  # already closed
    cast(asyncio.WriteTransport, transport).abort()
