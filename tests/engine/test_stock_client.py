"""The stock JavaScript client, unmodified: `npm ci --prefix tests/clients` installs it."""

import asyncio
import json
import pathlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import socketio

from .conftest import Serve, successor, until

CLIENTS = pathlib.Path(__file__).parents[1] / "clients"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node_modules" / "socket.io-client").exists(),
    reason="npm ci --prefix tests/clients",
)


class Client:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def do(self, *what: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what).encode() + b"\n")
        await self.process.stdin.drain()

    async def hear(self, what: str) -> list[Any]:
        """The next line of this kind; those before it are skipped."""
        assert self.process.stdout is not None
        async with asyncio.timeout(15):
            while True:
                line = await self.process.stdout.readline()
                assert line, "the client ended"
                heard: list[Any] = json.loads(line)
                if heard[0] == what:
                    return heard[1:]


Start = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    processes: list[asyncio.subprocess.Process] = []

    async def run(url: str, **options: Any) -> Client:
        pipe = asyncio.subprocess.PIPE
        command = ("node", "engine.mjs", url, json.dumps(options))
        processes.append(await asyncio.create_subprocess_exec(*command, cwd=CLIENTS, stdin=pipe, stdout=pipe))
        return Client(processes[-1])

    yield run
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]]


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
async def test_it_connects_asks_is_asked_and_leaves(serve: Serve, start: Start, transports: list[str]) -> None:
    """On every transport and through the upgrade, with binary data both ways."""
    site = await serve(ping_interval=0.3, ping_timeout=1)
    client = await start(site.url, transports=transports)
    await client.hear("connect")
    if len(transports) == 2:
        await until(lambda: site.server.stats.upgraded == 1)
    await client.do("ask", "echo", {"a": [1, "ä"]})
    assert await client.hear("answer") == [{"a": [1, "ä"]}]
    await client.do("binary", "bytes")
    assert await client.hear("answer") == ["bytes"]
    await client.do("ask", "nope")
    assert (await client.hear("answer"))[0]["error"]["code"] == "unknown_event"
    site.server.publish("event", {"b": 1}, b"bytes", rooms=["all"])
    assert await client.hear("event") == ["event", {"b": 1}, "Ynl0ZXM="]
    assert await site.server.call("question", 21, to=site.sids[0]) == 42
    await client.do("close")
    assert await client.hear("disconnect") == ["io client disconnect"]
    async with asyncio.timeout(5):
        while (await site.told.get())[0] != "disconnect":
            pass


async def test_its_events_during_the_upgrade_come_in_order(serve: Serve, start: Start) -> None:
    """Published all the time from the handshake to after the upgrade: each number once."""
    site = await serve()
    client = await start(site.url)
    await client.hear("connect")
    numbers = 0
    while site.server.stats.upgraded == 0:
        site.server.publish("n", numbers, rooms=["all"])
        numbers += 1
        await asyncio.sleep(0.001)
    site.server.publish("n", numbers, rooms=["all"])
    assert [(await client.hear("event"))[1] for _ in range(numbers + 1)] == list(range(numbers + 1))


async def test_a_refusal_reaches_it_whole(serve: Serve, start: Start) -> None:
    """Message and data."""
    site = await serve()

    def refuse(sid: str, handshake: Any, auth: Any) -> None:
        raise socketio.exceptions.ConnectionRefusedError("unauthorized", {"code": "unauthorized"})

    site.server.on("connect", refuse)
    client = await start(site.url)
    assert await client.hear("connect_error") == ["unauthorized", {"code": "unauthorized"}]


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
async def test_it_comes_back_by_itself_when_it_was_closed(serve: Serve, start: Start, transports: list[str]) -> None:
    """After `close`, not after `disconnect`."""
    site = await serve()
    client = await start(site.url, transports=transports)
    for _ in range(2):
        await client.hear("connect")
        site.server.close(site.sids[-1], "expired")
        assert (await client.hear("disconnect"))[0] in ("transport close", "transport error")
    await client.hear("connect")
    await site.server.disconnect(site.sids[-1])
    assert await client.hear("disconnect") == ["io server disconnect"]
    assert len(site.sids) == 3


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
async def test_it_comes_back_by_itself_after_a_restart(serve: Serve, start: Start, transports: list[str]) -> None:
    """The server shuts down, and another takes its port."""
    site = await serve()
    client = await start(site.url, transports=transports)
    await client.hear("connect")
    await site.runner.cleanup()
    assert (await client.hear("disconnect"))[0] in ("transport close", "transport error")
    async with successor(site):
        await client.hear("connect")
