"""A stopping server fails no request: neither pending ones nor those on open connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.support import PATIENCE, Process, message, mint, until

Start = Callable[..., Awaitable[Process]]


class Wire:
    """A connection on which one HTTP request follows the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, method: str, path: str, body: bytes = b"", *, of: int | None = None) -> None:
        """Send a request, or its beginning where `of` says that its body is longer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {mint()}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {of or len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split()[1]), headers, json.loads(body)

    async def ended(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read() == b""
        return True


@contextlib.asynccontextmanager
async def wire(process: Process) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(process.site.url.rpartition(":")[2]))
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


async def _stopping(process: Process) -> None:
    process.process.send_signal(signal.SIGTERM)
    await until(lambda: any('"stopping"' in line for line in process.log), "the server to stop")


async def test_open_connections_are_served(processes: Start) -> None:
    """After SIGTERM a request on an open connection is answered as ever, with `Connection: close`; new ones find
    nobody, and /readyz says why."""
    process = await processes()
    async with wire(process) as bot, wire(process) as probe, wire(process) as idle:
        for one in (bot, probe, idle):
            one.send("GET", "/readyz")
            status, headers, body = await one.answer()
            assert (status, body["draining"], headers.get("connection")) == (200, False, None)
        await _stopping(process)
        bot.send("POST", "/webhook/shop", json.dumps(message("the last one", messageId="m1")).encode())
        status, headers, body = await bot.answer()
        assert (status, body["data"]["results"][0]["seq"], headers["connection"]) == (200, 1, "close")
        probe.send("GET", "/readyz")
        status, headers, body = await probe.answer()
        assert (status, body["draining"], headers["connection"]) == (503, True, "close")
        with pytest.raises(ConnectionRefusedError):
            async with wire(process):
                pass
        for one in (bot, probe, idle):
            assert await one.ended()
    assert await process.wait() == 0


async def test_bodies_under_way_are_taken(processes: Start) -> None:
    """A body that is half here when the server is told to stop is read to its end, stored and answered."""
    process = await processes()
    body = json.dumps({"messages": [message("x" * 1000, messageId=f"m{n}") for n in range(100)]}).encode()
    async with wire(process) as bot:
        bot.send("POST", "/webhook/shop", body[:5000], of=len(body))
        await _stopping(process)
        bot.writer.write(body[5000:])
        status, headers, answer = await bot.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert [result["seq"] for result in answer["data"]["results"]] == list(range(1, 101))
    assert await process.wait() == 0


async def test_connections_that_wait_are_accepted(processes: Start) -> None:
    """Connections that wait to be accepted when the server is stopped are answered, and not reset."""
    process = await processes()
    process.process.send_signal(signal.SIGSTOP)
    async with contextlib.AsyncExitStack() as stack:
        waiting = [await stack.enter_async_context(wire(process)) for _ in range(20)]
        for number, one in enumerate(waiting):
            one.send("POST", "/webhook/shop", json.dumps(message(messageId=f"m{number}")).encode())
        process.process.send_signal(signal.SIGTERM)
        process.process.send_signal(signal.SIGCONT)
        answers = [await one.answer() for one in waiting]
    assert {status for status, _, _ in answers} == {200}
    assert await process.wait() == 0
