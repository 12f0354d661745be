"""The engine alone, as small as a server on it can be: a client names its room when it connects."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import uvloop
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[2]))
from app import engine
from tests.bench.emitting import Event, obey, say

SEND_BUFFER_BYTES = 256 * 1024
"""As `python -m app serve` has it."""


async def main() -> None:
    limits = engine.Limits(max_connections=0, max_per_address=0)
    sio = engine.Server(limits=limits, ping_interval=3600, ping_timeout=3600, deflate=False)
    sids: list[str] = []

    @sio.event
    async def connect(sid: str, handshake: object, auth: dict[str, str]) -> None:
        sids.append(sid)
        sio.join(sid, auth["room"])

    app = web.Application()
    sio.attach(app, "socket.io")
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    listening.bind(("127.0.0.1", 0))
    await web.SockSite(runner, listening, backlog=1024).start()
    say({"listening": listening.getsockname()[1]})

    def emit(room: int, event: Event) -> None:
        sio.publish("new_message", event, rooms=(f"r{room}",))

    def churn(others: int, times: int) -> dict[str, float]:
        """Seconds of CPU of one client's leave and join, where others are in so many rooms of their own."""
        me, *rest = sids
        for number in range(others):
            sio.join(rest[number % len(rest)], ("other", number))
        sio.join(me, "mine")
        begun = time.process_time()
        for _ in range(times):
            sio.leave(me, "mine")
            sio.join(me, "mine")
        seconds = time.process_time() - begun
        for number in range(others):
            sio.leave(rest[number % len(rest)], ("other", number))
        return {"seconds": seconds / times}

    await obey(emit, ready=lambda: sio.stats.congested == 0, churn=churn)


uvloop.run(main())
