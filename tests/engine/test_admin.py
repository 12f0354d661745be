"""The Admin UI (`sio.instrument`) works on the engine."""

import asyncio
from typing import Any

import socketio

from app.engine import Server

from .conftest import Serve


async def test_the_admin_ui_is_told_what_goes_on(serve: Serve) -> None:
    """Who is there, who comes, joins and leaves, what they say; statistics; and it can disconnect a client."""
    server = Server()
    admin = server.instrument(auth={"username": "u", "password": "p"}, server_stats_interval=0.05)
    try:
        site = await serve(server)
        first = await site.socket()
        client, told = socketio.AsyncClient(reconnection=False), asyncio.Queue[tuple[Any, ...]]()
        client.on("*", lambda *args: told.put_nowait(args), namespace="/admin")
        await client.connect(
            site.url, auth={"username": "u", "password": "p"}, namespaces=["/admin"], transports=["websocket"]
        )

        async def wait_for(name: str, *expected: Any) -> tuple[Any, ...]:
            async with asyncio.timeout(10):
                while True:
                    event = await told.get()
                    if event[0] == name and event[1 : 1 + len(expected)] == expected:
                        return event

        assert "EMIT" in (await wait_for("config"))[1]["supportedFeatures"]
        assert site.sids[0] in [s["id"] for s in (await wait_for("all_sockets"))[1]]
        await site.socket()
        await wait_for("room_joined", "/", "all", site.sids[1])
        stats = (await wait_for("server_stats"))[1]
        assert stats["clientsCount"] == 3
        assert {"name": "/", "socketsCount": 2} in stats["namespaces"]
        await first.text('42["echo",1]')
        await wait_for("event_received", "/", site.sids[0], ["echo", 1])
        await client.emit("_disconnect", ("/", False, site.sids[0]), namespace="/admin")
        await wait_for("socket_disconnected", "/", site.sids[0], "server disconnect")
        await client.disconnect()
        await admin.shutdown()
    finally:
        admin.uninstrument()
