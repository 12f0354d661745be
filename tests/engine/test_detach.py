"""aiohttp lets a connection go after its upgrade: what `detach` relies upon, pinned."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from app.engine import Server
from tests.support import PATIENCE

from .conftest import Serve, Site, until


def handlers() -> list[RequestHandler]:
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is RequestHandler]


async def test_nothing_of_aiohttp_is_left_of_an_open_websocket(site: Site) -> None:
    """No RequestHandler, no request, no task of it; the transport is open and works."""
    before = len(handlers())
    tasks = asyncio.all_tasks()
    sockets = [await site.socket() for _ in range(10)]
    gc.collect()
    assert len(handlers()) == before
    assert not [thing for thing in gc.get_objects() if type(thing) is web.Request]
    assert asyncio.all_tasks() == tasks
    for socket in sockets:
        assert await socket.ask("echo", 1) == [1]


async def test_a_websocket_that_has_ended_leaves_nothing_of_ours(site: Site) -> None:
    """Connection, websocket and transport are freed without the garbage collector finding a cycle that holds them."""
    socket = await site.socket()
    connection = next(iter(site.server.eio.sockets.values()))
    ended = weakref.ref(connection)
    transport = connection.websocket.transport
    del connection
    socket.kill()
    await site.told.get()
    await until(transport.is_closing)
    del transport
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert ended() is None


@pytest.mark.parametrize("cancellation", [True, False])
async def test_detaching_works_in_every_surrounding(cancellation: bool) -> None:
    """With middlewares, an access log, a signal, and with handlers cancelled or not."""
    server = Server()

    async def connect(sid: str, handshake: Any, auth: Any) -> None:
        pass

    server.on("connect", connect)

    @web.middleware
    async def middleware(request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        response.headers["X-Middleware"] = "1"
        return response

    async def signal(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Signal"] = "1"

    app = web.Application(middlewares=[middleware])
    app.on_response_prepare.append(signal)
    server.attach(app)
    runner = web.AppRunner(app, handler_cancellation=cancellation, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site = Site(server, runner)
    socket = await site.socket()
    assert (await socket.ask("nope"))[0]["error"]["code"] == "unknown_event"
    async with asyncio.timeout(PATIENCE):
        closing = asyncio.create_task(runner.cleanup())
        assert (await socket.closed()).code == 1012
        await closing


async def test_a_client_that_goes_during_the_handshake_is_no_trouble(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred that connect and vanish: nothing is logged, nothing is left."""
    site = await serve()
    request = (
        f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()
    for _ in range(100):
        _, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(request)
        writer.transport.abort()
    socket = await site.socket()
    await until(lambda: site.server.stats.connections == 1)
    socket.kill()
    await until(lambda: site.server.stats.connections == 0)
    assert caplog.records == []
