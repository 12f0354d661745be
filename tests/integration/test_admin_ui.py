"""Socket.IO's Admin UI, behind a setting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import socketio
from aiohttp import web
from socketio.exceptions import ConnectionError as Refused

from app.application import assemble
from app.settings import Settings
from app.storage.mongo import Store
from tests.support import PATIENCE, TOKENS, Site

RunApp = Callable[[web.Application], Awaitable[Site]]


async def connect(site: Site, password: str) -> socketio.AsyncClient:
    client = socketio.AsyncClient(reconnection=False)
    auth = {"username": "admin", "password": password}
    try:
        await client.connect(
            site.url, auth=auth, namespaces=["/admin"], transports=["websocket"], wait_timeout=PATIENCE
        )
    except Refused:
        await client.shutdown()
        raise
    return client


async def test_nobody_looks_on_unless_asked_for(site: Site) -> None:
    """Without the setting, the namespace does not exist."""
    with pytest.raises(Refused):
        await connect(site, "")


async def test_looks_on_with_the_password(settings: Settings, store: Store, run_app: RunApp) -> None:
    """With the setting, the Admin UI connects with its password and not without."""
    site = await run_app(assemble(replace(settings, admin_ui_password="look-but-do-not-touch"), TOKENS, store))
    with pytest.raises(Refused):
        await connect(site, "guess")
    client = await connect(site, "look-but-do-not-touch")
    assert "/admin" in client.namespaces
    await client.disconnect()
