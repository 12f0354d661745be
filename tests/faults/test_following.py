"""The task that follows other processes' commits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from app.application import FOLLOWER, assemble
from app.bus.change_stream import ChangeStream
from app.settings import Settings
from app.storage.mongo import Store, connect
from tests.support import TOKENS, Client, Site, message


@pytest.fixture
async def another(store: Store, mongodb_uri: str, database: str) -> AsyncIterator[Store]:
    """The store of another process."""
    another = connect(mongodb_uri, database, 5)
    await another.prepare(30)
    yield another
    another.close()


async def test_survives_whatever_the_driver_raises(
    settings: Settings,
    store: Store,
    another: Store,
    run_app: Callable[[web.Application], Awaitable[Site]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unexpected error does not end the task: messages stored by another process are still pushed."""
    listen, raised = ChangeStream.listen, 0

    async def raising(bus: ChangeStream) -> AsyncIterator[Any]:
        nonlocal raised
        raised += 1
        if raised == 1:
            raise AttributeError("as the driver's when a stream is closed under its own thread")
        async for report in listen(bus):
            yield report

    monkeypatch.setattr(ChangeStream, "listen", raising)
    app = assemble(settings, TOKENS, store)
    site = await run_app(app)
    client = await Client(site).connect()
    await client.subscribe("shop")
    await app[FOLLOWER].watching.wait()
    await (await run_app(assemble(settings, TOKENS, another))).post("shop", message("1"))
    await client.has(1)
    assert raised == 3, "once more, and once on the other server"
    await client.close()
