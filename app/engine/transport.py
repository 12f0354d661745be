"""What asyncio's transports lack: how much the peer has received, and an immediate reset."""

import array
import asyncio
import socket
import struct
from typing import NamedTuple, cast

try:
    import fcntl
    import termios
except ImportError:  # not on this system, where the kernel's buffer is not counted
    fcntl = None  # type: ignore[assignment]

_LINGER_NOT = struct.pack("ii", 1, 0)
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_LAST_ACK_AT, _TAKEN_AT, _TCP_INFO_SIZE = 56, 120, 128  # in Linux's struct tcp_info, which only grows


class Taken(NamedTuple):
    """How much sent data the peer has received."""

    size: int
    """A number that increases with the bytes acknowledged by the peer's kernel."""
    heard: float
    """Seconds since its kernel acknowledged anything, new or not. 0 if that is unknown."""


def taken(transport: asyncio.WriteTransport) -> Taken:
    """What the peer has received, not just our kernel. On systems other than Linux: what our kernel has taken."""
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
