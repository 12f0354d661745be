"""Stops the server without failed requests behind a proxy that can use other servers.

A proxy may repeat a POST only if the connection was refused: a request on an open connection may have been processed.
So a stopping server

1. answers `/readyz` with 503 and refuses new connections, but serves those that are waiting to be accepted; 2.
continues to serve requests on open connections, with `Connection: close` in each answer, until no connection is left
or none has been used for `IDLE_SECONDS`, and for `SERVE_SECONDS` at most; 3. then accepts nothing more, finishes what
it accepted and closes its sockets.

Requests of the Socket.IO transport do not delay the stop: its clients reconnect to another server.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from app.http.listener import Listening

STOP_SECONDS: Final = 8.0
"""How long the server may take to stop, without closing the store and its private database."""
SERVE_SECONDS: Final = 3.0
"""How long requests on open connections are served, at most."""
IDLE_SECONDS: Final = 0.5
"""How long a kept-alive connection must be idle to be closed."""
LOOK_SECONDS: Final = 0.02


class Draining:
    """Whether the server is stopping, how much of STOP_SECONDS is left, and the pending requests."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._requests = 0
        self._last = 0.0

    def begin(self) -> None:
        self._begun = self._begun or time.monotonic()

    def __call__(self) -> bool:
        return self._begun is not None

    def left(self, keep: float) -> float:
        """Seconds that may be used now, so that `keep` seconds are left for later steps."""
        assert self._begun is not None
        return max(0.0, self._begun + STOP_SECONDS - time.monotonic() - keep)

    def middleware(self, engine_path: str) -> Middleware:
        """Counts requests, and closes connections while the server is stopping. Must wrap every handler that
        answers."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(engine_path):
                return await handler(request)
            self._requests += 1
            try:
                response = await handler(request)
            finally:
                self._requests -= 1
                self._last = time.monotonic()
            if self() and not response.prepared:
                response.force_close()
            return response

        return count

    async def serve_open_connections(self, listening: Listening) -> None:
        """Refuse new connections, and serve the open ones as described in the module's docstring."""
        self.begin()
        await listening.stop()
        begun = time.monotonic()
        while listening.connections:
            now = time.monotonic()
            idle = not self._requests and now - max(begun, self._last) >= IDLE_SECONDS
            if idle or now - begun >= SERVE_SECONDS:
                break
            await asyncio.sleep(LOOK_SECONDS)
