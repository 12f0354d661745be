"""A proxy that answers the upgrade to WebSocket with 101, and then passes nothing on in one direction, or in both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio

from tests.proxy import Proxy, Wire
from tests.stock import stock_client
from tests.support import PATIENCE, Site, message, mint


@pytest.fixture(params=["up", "down", "both"])
async def dead(request: pytest.FixtureRequest, site: Site) -> AsyncIterator[Site]:
    """The server behind such a proxy."""
    proxy = Proxy("127.0.0.1", int(site.url.rpartition(":")[2]))

    def freeze(wire: Wire) -> None:
        for direction, gate in (("up", wire.up), ("down", wire.down)):
            if request.param in (direction, "both"):
                gate.clear()

    def look(wire: Wire, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 101 "):
            asyncio.get_running_loop().call_soon(freeze, wire)  # when this has been passed on

    proxy.on_down = look
    await proxy.start()
    yield Site(f"http://127.0.0.1:{proxy.port}", site.http)
    await proxy.stop()


async def test_javascript_stays_with_polling(site: Site, dead: Site) -> None:
    """The stock JavaScript client gets its events by polling, at once, and is not closed."""
    async with stock_client() as stock:
        await stock.open(dead, transports=["polling", "websocket"])
        await stock.ask("subscribe", sessionId="shop")
        for number in range(1, 4):
            await site.post("shop", message())
            await stock.has(*range(1, number + 1))
        assert len(stock.all("connect")) == 1
        assert stock.all("disconnect") == []
        await stock.transport("polling")


async def test_python_polls_where_it_is_told_to(site: Site, dead: Site) -> None:
    """A proxy that also hides that the server has closed the connection: python-socketio's asyncio client waits for the
    probe's answer for ever, with any server (Node's too). With polling alone, as the README advises, it gets its
    events.
    tests/engine/test_python_client.py has the proxies that do not hide it."""
    seqs: asyncio.Queue[int] = asyncio.Queue()
    gone: list[Any] = []
    client = socketio.AsyncClient()

    async def take(event: dict[str, Any]) -> None:
        seqs.put_nowait(event["seq"])

    client.on("new_message", take)
    client.on("disconnect", lambda *reason: gone.append(reason))
    async with asyncio.timeout(PATIENCE):
        await client.connect(dead.url, auth={"token": mint()}, transports=["polling"], wait_timeout=PATIENCE)
        assert (await client.call("subscribe", {"sessionId": "shop"}))["ok"]
        for number in range(1, 4):
            await site.post("shop", message())
            assert await seqs.get() == number
    assert gone == []
    await client.disconnect()
    await client.shutdown()
