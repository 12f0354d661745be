"""A TCP proxy between clients and a server that simulates network faults."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

CHUNK = 64 * 1024


class Gates:
    """`up` and `down` are the directions from client to server and back: a cleared event freezes that direction."""

    def __init__(self) -> None:
        self.up, self.down = asyncio.Event(), asyncio.Event()
        self.thaw()

    def cut(self) -> None:
        """Cut the network: nothing passes, and neither end is told."""
        self.up.clear()
        self.down.clear()

    def thaw(self) -> None:
        self.up.set()
        self.down.set()


class Wire(Gates):
    """One connection through the proxy, with gates in addition to those of the whole proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        super().__init__()
        self.client, self.server = client, server
        self.client_port: int = (client.get_extra_info("peername") or ("", 0))[1]
        self.server_port: int = (server.get_extra_info("sockname") or ("", 0))[1]
        """Our port at the server's end, which the server sees as its client's."""
        self.marked = False
        """For whoever watches."""
        self.lossy: set[str] = set()
        """The directions, `up` and `down`, in which data is lost, but not the end of the connection."""
        self.abandoned = False

    def drop(self, *, reset: bool = False) -> None:
        """Close both ends, orderly or with a reset."""
        for writer in (self.client, self.server):
            _close(writer, reset=reset)

    def abandon(self) -> None:
        """Drop the client without telling the server: the server's end stays open, and is not read."""
        self.abandoned = True
        self.cut()
        _close(self.client, reset=True)


class Proxy(Gates):
    """Listens on its own port. Its settings apply to old and new connections."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._target = (host, port)
        self.port = 0
        self.bytes_per_second: float | None = None
        """The speed of each direction; None: unlimited."""
        self.split = False
        """Whether to forward byte by byte."""
        self.refusing = False
        """Whether to refuse connections."""
        self.window: int | None = None
        """About as many bytes are taken from the server ahead of the client; None: as many as the kernel likes."""
        self.on_up: Callable[[Wire, bytes], None] | None = None
        """Called with a client's data before it is forwarded."""
        self.on_down: Callable[[Wire, bytes], None] | None = None
        """Called with the server's data before it is forwarded."""
        self.on_accept: Callable[[Wire], None] | None = None
        self.wires: set[Wire] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> Proxy:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def retarget(self, port: int) -> None:
        self._target = (self._target[0], port)

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        self.thaw()
        self.drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def thaw(self) -> None:
        super().thaw()
        self.refusing = False

    def drop(self, *, reset: bool = False) -> None:
        """Close every connection, orderly or with a reset."""
        for wire in list(self.wires):
            wire.drop(reset=reset)

    def abandon(self) -> None:
        """Drop every client without telling the server. New connections work as usual."""
        for wire in list(self.wires):
            wire.abandon()

    @property
    def connections(self) -> int:
        return len(self.wires)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            await self.up.wait()  # a cut network lets no handshake through either
            if reader.at_eof():
                raise ConnectionAbortedError  # it has given up meanwhile
            other_reader, other_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        wire = Wire(writer, other_writer)
        self.wires.add(wire)
        if self.on_accept:
            self.on_accept(wire)
        copies = [
            asyncio.create_task(self._copy(wire, reader, other_writer, up=True)),
            asyncio.create_task(self._copy(wire, other_reader, writer, up=False)),
        ]
        try:
            await asyncio.gather(*copies)
        finally:
            for copy in copies:
                copy.cancel()
            self.wires.discard(wire)
            writer.transport.abort()
            other_writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.window is None:
            return await asyncio.open_connection(*self._target)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.window)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, self._target)
        return await asyncio.open_connection(sock=sock, limit=self.window)

    async def _copy(self, wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        whole, own = (self.up, wire.up) if up else (self.down, wire.down)
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if watch := self.on_up if up else self.on_down:
                    watch(wire, data)
                await whole.wait()
                await own.wait()
                if ("up" if up else "down") in wire.lossy:
                    continue
                for part in self._parts(data):
                    writer.write(part)
                    await writer.drain()
                    if self.split:
                        await asyncio.sleep(0)
                if self.bytes_per_second:
                    await asyncio.sleep(len(data) / self.bytes_per_second)
        if wire.abandoned and up:
            await own.wait()  # the server is not to learn of it
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: uvloop's, where it is closed already
            if writer.can_write_eof():
                writer.write_eof()

    def _parts(self, data: bytes) -> Iterator[bytes]:
        """Byte by byte for as long as that is wanted, the rest as a whole."""
        for i in range(len(data)):
            if not self.split:
                yield data[i:]
                return
            yield data[i : i + 1]


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    sock = writer.get_extra_info("socket")
    if reset and sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort() if reset else writer.close()
