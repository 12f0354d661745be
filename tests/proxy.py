"""A TCP proxy between clients and a server that can be made as bad as a network is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

CHUNK = 64 * 1024


class Proxy:
    """Listens on a port of its own; what is set on it holds for old and new connections alike.

    `up` and `down` are the directions from client to server and back: a cleared event freezes that direction.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = 0
        self.up, self.down = asyncio.Event(), asyncio.Event()
        self.up.set()
        self.down.set()
        self.bytes_per_second: float | None = None
        """How fast either direction is; None: as fast as it goes."""
        self.split = False
        """Hand on byte by byte."""
        self.refusing = False
        """Accept nobody."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
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

    def cut(self) -> None:
        """The network is gone: nothing passes, nobody is told."""
        self.up.clear()
        self.down.clear()

    def thaw(self) -> None:
        self.up.set()
        self.down.set()
        self.refusing = False

    def drop(self, *, reset: bool = False) -> None:
        """Close every connection, orderly or with a reset."""
        for writer in list(self._writers):
            sock = writer.get_extra_info("socket")
            if reset and sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort() if reset else writer.close()

    @property
    def connections(self) -> int:
        return len(self._writers) // 2

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refusing:
            writer.transport.abort()
            return
        try:
            await self.up.wait()  # a cut network lets no handshake through either
            other_reader, other_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, other_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, other_writer, self.up))
                group.create_task(self._copy(other_reader, writer, self.down))
        finally:
            self._writers -= {writer, other_writer}
            writer.transport.abort()
            other_writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await may.wait()
                for part in [data[i : i + 1] for i in range(len(data))] if self.split else [data]:
                    writer.write(part)
                    await writer.drain()
                    if self.split:
                        await asyncio.sleep(0)
                if self.bytes_per_second:
                    await asyncio.sleep(len(data) / self.bytes_per_second)
            if writer.can_write_eof():
                writer.write_eof()
