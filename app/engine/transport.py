"""What asyncio's transports do not tell or do: what the peer has taken, and how to drop it at once."""

import array
import asyncio
import socket
import struct
from typing import NamedTuple, cast

try:
    import fcntl
    import termios
except ImportError:  # not on this system: what the kernel holds is then not counted
    fcntl = None  # type: ignore[assignment]

_LINGER_NOT = struct.pack("ii", 1, 0)
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_LAST_ACK_AT, _TAKEN_AT, _TCP_INFO_SIZE = 56, 120, 128  # in Linux's struct tcp_info, which only ever grows


class Taken(NamedTuple):
    """How far the peer is with what it was sent."""

    size: int
    """A number that grows with the bytes that the peer's kernel has acknowledged."""
    heard: float
    """Seconds since its kernel acknowledged anything, be it nothing new; 0 where that is not known."""


def taken(transport: asyncio.WriteTransport) -> Taken:
    """What the peer has taken, not just our kernel. On systems other than Linux it is our kernel that is asked."""
    sock = transport.get_extra_info("socket")
    if _TCP_INFO is not None and sock is not None:
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _TCP_INFO_SIZE)
        except OSError:
            info = b""
        if len(info) == _TCP_INFO_SIZE:
            (size,), (since,) = struct.unpack_from("=Q", info, _TAKEN_AT), struct.unpack_from("=I", info, _LAST_ACK_AT)
            return Taken(size, since / 1000)
    return Taken(-transport.get_write_buffer_size(), 0.0)


def unsent(transport: asyncio.WriteTransport) -> int:
    """Bytes that we and the kernel hold for the peer, those included that it has not acknowledged."""
    size = array.array("i", [0])
    sock = transport.get_extra_info("socket")
    if fcntl is not None and sock is not None:
        try:
            fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, size, True)
        except (OSError, ValueError):
            pass
    return size[0] + transport.get_write_buffer_size()


def reset(transport: asyncio.BaseTransport) -> None:
    """Drop a connection at once, with all that the kernel holds for it: close() and abort() would go on sending."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        except OSError:
            pass  # it is closed already
    cast(asyncio.WriteTransport, transport).abort()
