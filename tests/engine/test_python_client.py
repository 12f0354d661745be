"""The stock Python client: python-engineio takes a close packet in a poll for the end, and a close frame in the place
of its probe's answer for an error."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import socketio

from app.engine import Limits
from tests.proxy import Proxy, Wire

from .conftest import Serve, successor

TRANSPORTS = pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="-".join)


@asynccontextmanager
async def client(url: str, transports: list[str]) -> AsyncIterator[asyncio.Queue[str]]:
    """What it tells: connect and disconnect."""
    told: asyncio.Queue[str] = asyncio.Queue()
    sessions: list[aiohttp.ClientSession] = []  # it leaves some of them open

    def make_session() -> aiohttp.ClientSession:
        sessions.append(aiohttp.ClientSession())
        return sessions[-1]

    sio = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2, http_session=make_session)
    sio.on("connect", lambda: told.put_nowait("connect"))
    sio.on("disconnect", lambda *_: told.put_nowait("disconnect"))
    try:
        await sio.connect(url, transports=transports)
        yield told
    finally:
        await sio.shutdown()
        for session in sessions:
            await session.close()


async def hear(told: asyncio.Queue[str]) -> str:
    async with asyncio.timeout(15):
        return await told.get()


@TRANSPORTS
async def test_it_comes_back_by_itself_when_it_was_closed(serve: Serve, transports: list[str]) -> None:
    """On every transport, again and again."""
    site = await serve()
    async with client(site.url, transports) as told:
        for number in range(3):
            assert await hear(told) == "connect"
            site.server.close(site.sids[number], "expired")
            assert await hear(told) == "disconnect"
        assert await hear(told) == "connect"


@TRANSPORTS
async def test_it_comes_back_by_itself_after_a_restart(serve: Serve, transports: list[str]) -> None:
    """The server shuts down, and another takes its port."""
    site = await serve()
    async with client(site.url, transports) as told:
        assert await hear(told) == "connect"
        await site.runner.cleanup()
        assert await hear(told) == "disconnect"
        async with successor(site):
            assert await hear(told) == "connect"


@pytest.mark.parametrize("lost", [{"up"}, {"down"}, {"up", "down"}], ids="-".join)
async def test_it_polls_where_a_proxy_breaks_its_upgrade(serve: Serve, lost: set[str]) -> None:
    """The proxy passes the 101 and then nothing, in one direction or both: the client, with its default transports, is
    connected by polling as soon as the server has given the websocket up. (With Node's server it fails with a TypeError
    where nothing comes up, and takes 40 s where nothing comes down.)"""
    site = await serve(limits=Limits(upgrade_timeout=0.5))
    proxy = Proxy("127.0.0.1", site.port)

    def look(wire: Wire, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 101 "):
            asyncio.get_running_loop().call_soon(setattr, wire, "lossy", lost)  # when this has been passed on

    proxy.on_down = look
    await proxy.start()
    try:
        async with client(f"http://127.0.0.1:{proxy.port}", ["polling", "websocket"]) as told:
            assert await hear(told) == "connect"
            assert site.server.transport(site.sids[0]) == "polling"
            site.server.close(site.sids[0], "expired")
            assert await hear(told) == "disconnect"
            assert await hear(told) == "connect"
    finally:
        await proxy.stop()
