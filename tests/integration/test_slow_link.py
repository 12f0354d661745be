"""A client on a slow link that takes bytes all the time is kept, however much waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web

from app.application import assemble
from app.settings import Settings
from app.storage.mongo import Store
from tests.proxy import Proxy
from tests.support import TOKENS, Client, Site, message

SCALE = 10
"""The waits are so many times shorter than the defaults, and the link, 5 kB a second, so many times faster."""
RATE = 5_000 * SCALE


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_slow_link_is_kept(
    transport: str, settings: Settings, store: Store, run_app: Callable[[web.Application], Awaitable[Site]]
) -> None:
    """What waits for it takes the link many times STALL_TIMEOUT, and a proxy on the way takes nothing for as long as it
    needs to pass on what it has taken: everything arrives over the first connection, in order."""
    waits = replace(
        settings,
        stall_timeout=settings.stall_timeout / SCALE,
        ping_interval=settings.ping_interval / SCALE,
        ping_timeout=settings.ping_timeout / SCALE,
    )
    site = await run_app(assemble(waits, TOKENS, store))
    link = Proxy("127.0.0.1", int(site.url.rpartition(":")[2]))
    link.window = 65_536
    await link.start()
    client = await Client(Site(f"http://127.0.0.1:{link.port}", site.http)).connect(transport=transport)
    await client.subscribe("shop")
    link.bytes_per_second = RATE
    for _ in range(2):
        await site.post("shop", {"messages": [message("x" * 1_000) for _ in range(60)]})
    await client.has(*range(1, 121))
    assert client.connected
    await client.close()
    await link.stop()
