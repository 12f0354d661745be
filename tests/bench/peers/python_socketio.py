"""python-socketio as it comes, on aiohttp."""

import sys
from pathlib import Path

import socketio
import uvloop
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.bench.emitting import obey, say


async def main() -> None:
    sio = socketio.AsyncServer(async_mode="aiohttp", ping_interval=3600, ping_timeout=3600)

    @sio.event
    async def connect(sid: str, environ: object, auth: dict[str, str]) -> None:
        await sio.enter_room(sid, auth["room"])

    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    say({"listening": runner.addresses[0][1]})

    async def emit(room: int, event: object) -> None:
        await sio.emit("new_message", event, room=f"r{room}")

    await obey(emit)


uvloop.run(main())
