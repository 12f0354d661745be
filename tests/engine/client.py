"""Clients that can violate the protocol."""

import asyncio
import base64
import hashlib
import json
import os
import socket
import struct
import zlib
from typing import Any, Self

import aiohttp

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TIMEOUT = 10


def frame(
    payload: bytes,
    opcode: int = 1,
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\x11\x22\x33\x44",
    length: int | None = None,
) -> bytes:
    n = len(payload) if length is None else length
    first, masked = (0x80 if fin else 0) | rsv << 4 | opcode, 0x80 if mask else 0
    if n < 126:
        head = struct.pack("!BB", first, masked | n)
    elif n < 65536:
        head = struct.pack("!BBH", first, masked | 126, n)
    else:
        head = struct.pack("!BBQ", first, masked | 127, n)
    if mask:
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        head += mask
    return head + payload


def close_body(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


def deflate(payload: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Closed(Exception):
    """The server has closed the connection: the close code, or None without a close frame, and whether it was a
    reset."""

    def __init__(self, code: int | None, reset: bool = False) -> None:
        super().__init__(code, reset)
        self.code, self.reset = code, reset


class Socket:
    """A websocket made by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self.reader, self.writer, self.head = reader, writer, head
        self.status = int(head.split()[1])
        self.frames: list[tuple[int, bytes, int]] = []

    @classmethod
    async def open(cls, port: int, query: str, headers: dict[str, str], *, rcvbuf: int = 0, extra: bytes = b"") -> Self:
        sock = socket.socket()
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=2**16)
        key = base64.b64encode(os.urandom(16)).decode()
        fields = {
            "Host": f"127.0.0.1:{port}",
            "Upgrade": "websocket",
            "Connection": "keep-alive, Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
        }
        for name, value in headers.items():
            fields[name.replace("_", "-")] = value
        lines = [f"GET /socket.io/?{query} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items() if v), "", ""]
        writer.write("\r\n".join(lines).encode() + extra)
        async with asyncio.timeout(TIMEOUT):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if head.startswith("HTTP/1.1 101"):
            accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
            assert f"Sec-WebSocket-Accept: {accept}\r\n" in head
        return cls(reader, writer, head)

    def send(self, data: bytes) -> None:
        if self.writer.transport.is_closing():
            raise ConnectionResetError
        self.writer.write(data)

    async def text(self, *packets: str) -> None:
        self.send(b"".join([frame(packet.encode()) for packet in packets]))
        await self.writer.drain()

    async def frame(self) -> tuple[int, bytes, int]:
        """The next frame: opcode, payload, reserved bits. Raises Closed when the server has closed."""
        async with asyncio.timeout(TIMEOUT):
            try:
                b0, b1 = await self.reader.readexactly(2)
                assert not b1 & 0x80, "a server masks nothing"
                assert b0 & 0x80, "this server does not fragment"
                n = b1
                if n == 126:
                    n = struct.unpack("!H", await self.reader.readexactly(2))[0]
                elif n == 127:
                    n = struct.unpack("!Q", await self.reader.readexactly(8))[0]
                payload = await self.reader.readexactly(n)
            except (asyncio.IncompleteReadError, OSError) as error:
                raise Closed(None, isinstance(error, OSError)) from None
        if b0 & 15 == 8:
            raise Closed(struct.unpack("!H", payload[:2])[0] if payload else None)
        return b0 & 15, payload, b0 >> 4 & 7

    async def packet(self) -> Any:
        """The next Engine.IO packet that is not a ping: str or bytes."""
        while True:
            opcode, payload, rsv = await self.frame()
            if rsv:
                payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
            if opcode == 2:
                return payload
            if opcode == 1 and payload != b"2":
                return payload.decode()

    async def event(self) -> list[Any]:
        packet = await self.packet()
        assert packet.startswith("42"), packet
        return json.loads(packet[2:])

    async def ask(self, *event: Any, ident: int = 7) -> Any:
        """The answer to an event; everything before it is skipped."""
        await self.text(f"42{ident}" + json.dumps(event))
        head = f"43{ident}"
        while True:
            packet = await self.packet()
            if isinstance(packet, str) and packet.startswith(head):
                return json.loads(packet[len(head) :])

    async def closed(self) -> Closed:
        """Read and discard everything until the server closes. Then the connection itself must end."""
        try:
            while True:
                await self.frame()
        except Closed as closed:
            try:
                async with asyncio.timeout(TIMEOUT):
                    while await self.reader.read(65536):
                        pass
            except OSError:
                closed.reset = True
            self.kill()
            return closed

    def kill(self) -> None:
        self.writer.transport.abort()


class Polling:
    """A polling client, one request at a time or not."""

    def __init__(self, session: aiohttp.ClientSession, url: str, opening: dict[str, Any]) -> None:
        self.session, self.opening, self.sid = session, opening, opening["sid"]
        self.url = f"{url}/socket.io/?EIO=4&transport=polling&sid={self.sid}"

    @classmethod
    async def open(cls, url: str) -> Self:
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))
        async with session.get(f"{url}/socket.io/?EIO=4&transport=polling") as response:
            text = await response.text()
            if response.status != 200:
                await session.close()
                raise Closed(response.status)
            return cls(session, url, json.loads(text[1:]))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def poll(self) -> tuple[int, str]:
        async with self.session.get(self.url) as response:
            return response.status, await response.text()

    async def post(self, body: str | bytes, **options: Any) -> tuple[int, str]:
        async with self.session.post(self.url, data=body, **options) as response:
            return response.status, await response.text()
