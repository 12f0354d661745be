"""Every test has a real server on loopback. ENGINE_TEST_LOOPS=all runs each on uvloop and on asyncio's own loop."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import uvloop
from aiohttp import web

from app.engine import Limits, Server

from .client import Polling, Socket


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    factories: dict[str, Any] = {"uvloop": uvloop.new_event_loop}
    if os.environ.get("ENGINE_TEST_LOOPS") == "all":
        factories["asyncio"] = asyncio.new_event_loop
    return factories


class Site:
    """A running server, and what its handlers received."""

    def __init__(self, server: Server, runner: web.AppRunner) -> None:
        self.server, self.runner = server, runner
        self.port: int = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.sids: list[str] = []
        self.told: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()  # events and disconnects that reached a handler
        self.sockets: list[Socket] = []

    async def raw(self, query: str = "EIO=4&transport=websocket", **headers: str) -> Socket:
        """An open WebSocket of which nothing was read."""
        socket = await Socket.open(self.port, query, headers)
        self.sockets.append(socket)
        return socket

    async def socket(self, **headers: str) -> Socket:
        """A connected WebSocket client."""
        socket = await self.raw(**headers)
        assert (await socket.packet()).startswith("0{")
        await socket.text("40")
        assert (await socket.packet()).startswith('40{"sid":')
        return socket

    async def polling(self, connect: bool = True) -> Polling:
        polling = await Polling.open(self.url)
        if connect:
            assert await polling.post("40") == (200, "ok")
            assert (await polling.poll())[1].startswith('40{"sid":')
        return polling


@asynccontextmanager
async def successor(site: Site) -> AsyncIterator[None]:
    """Another server on the port of one that has ended, as after a restart."""
    server, app = Server(), web.Application()
    server.on("connect", lambda sid, handshake, auth: None)
    server.attach(app)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", site.port, reuse_address=True).start()
    yield
    await runner.cleanup()


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server: connections are let in into the room "all", `echo` answers with its arguments, and the test is
    told of disconnects."""
    async with AsyncExitStack() as stack:

        async def start(server: Server | None = None, *, attach: bool = True, **options: Any) -> Site:
            server = server or Server(**options)

            async def connect(sid: str, handshake: Any, auth: Any) -> None:
                site.sids.append(sid)
                server.join(sid, "all")

            async def echo(sid: str, *args: Any) -> Any:
                site.told.put_nowait(("echo", *args))
                return args

            def disconnect(sid: str, reason: str) -> None:
                site.told.put_nowait(("disconnect", sid, reason))

            server.on("connect", connect)
            server.on("echo", echo)
            server.on("disconnect", disconnect)
            app = web.Application()
            server.attach(app)
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
            site = Site(server, runner)
            stack.callback(lambda: [socket.kill() for socket in site.sockets])
            return site

        yield start


@pytest.fixture
async def site(serve: Serve) -> Site:
    return await serve()


QUICK = Limits(stall_timeout=0.3, connect_timeout=0.3, upgrade_timeout=0.3, close_timeout=0.3, body_timeout=0.3)
"""Short time limits, for tests of what happens after them."""


async def until(condition: Callable[[], bool]) -> None:
    """Poll for something without a notification."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)
