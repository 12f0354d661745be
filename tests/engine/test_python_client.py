"""The stock Python client comes back by itself: python-engineio takes a close packet in a poll for the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import socketio
from aiohttp import web

from app.engine import Server

from .conftest import Serve

TRANSPORTS = pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="-".join)


@asynccontextmanager
async def client(url: str, transports: list[str]) -> AsyncIterator[asyncio.Queue[str]]:
    """What it tells: connect and disconnect."""
    told: asyncio.Queue[str] = asyncio.Queue()
    async with aiohttp.ClientSession() as session:  # one of its own it leaves open for each connection
        sio = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2, http_session=session)
        sio.on("connect", lambda: told.put_nowait("connect"))
        sio.on("disconnect", lambda *_: told.put_nowait("disconnect"))
        await sio.connect(url, transports=transports)
        try:
            yield told
        finally:
            await sio.shutdown()


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
        server = Server()
        server.on("connect", lambda sid, handshake, auth: None)
        app = web.Application()
        server.attach(app)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", site.port, reuse_address=True).start()
        assert await hear(told) == "connect"
        await runner.cleanup()
