"""A WebSocket echo server on the engine's frames, for the Autobahn test suite (port 9001).

Autobahn's `wstest` needs Python 2.7, so no target of the Makefile runs it. With it installed by hand:

    .venv/bin/python tests/conformance/websocket.py &
    wstest --mode fuzzingclient --spec spec.json

where spec.json is {"servers": [{"url": "ws://127.0.0.1:9001/"}], "cases": ["*"], "outdir": "autobahn"}.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable

import uvloop
from aiohttp import web

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from app.engine import Limits, upgrade
from app.engine.deflate import deflated_frame
from app.engine.detach import Detached, detach
from app.engine.frames import BINARY, TEXT, frame
from app.engine.stats import Stats
from app.engine.websocket import WebSocket, WebSockets
from tests.conformance.server import serve

PORT = 9001
# The largest message of the suite has 16 MiB.
LIMITS = Limits(max_packet=2**24 + 1, max_burst=2**26, max_buffered=2**26, high_water=2**26, stall_timeout=60)


class Backlog:
    """Bounds nothing: the suite reads what it is sent."""

    waits = False

    def grew(self, _before: int, _size: int) -> bool:
        return True

    def relieved(self) -> None:
        pass


class Echo:
    """Owns one WebSocket."""

    closed = False

    def __init__(self) -> None:
        self.write: Callable[[bytes], None] | None = None
        self.backlog = Backlog()
        self.compressed = False

    def receive(self, data: str | bytes) -> None:
        assert self.write is not None
        payload, opcode = (data.encode(), TEXT) if isinstance(data, str) else (data, BINARY)
        self.write(deflated_frame(payload, opcode) if self.compressed else frame(payload, opcode))

    def upgrade_packet(self, websocket: WebSocket, data: str | bytes) -> None:
        raise AssertionError("it is open from the beginning")

    def websocket_lost(self, websocket: WebSocket, reason: object) -> None:
        self.closed = True

    def websocket_failed(self, websocket: WebSocket, code: int, why: str) -> None:
        self.closed = True


async def main() -> None:
    shared = WebSockets(LIMITS, Stats(), deflate=True)

    async def open_websocket(request: web.Request) -> web.Response:
        accept, tcp, owner = upgrade.accept_key(request), request.transport, Echo()
        assert tcp is not None
        head, owner.compressed = upgrade.answer(request, accept, compress=True)
        websocket = WebSocket(owner, tcp, owner.compressed, shared)
        tail = detach(request, tcp, websocket)
        websocket.begin()
        tcp.write(head)
        websocket.open()
        if tail:
            websocket.data_received(tail)
        return Detached(status=101)

    app = web.Application()
    app.router.add_get("/", open_websocket)
    await serve(app, PORT, "WebSocket echo")


if __name__ == "__main__":
    try:
        uvloop.run(main())
    except KeyboardInterrupt:
        pass
