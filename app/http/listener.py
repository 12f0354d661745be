"""Listening: aiohttp's protocol with a time limit on the head of each request, and problems for what is no HTTP.

A connection is closed when a request has begun and its head is not whole in time, or when none has begun at all. That
a head is whole is told by the outermost middleware. A connection that becomes a websocket leaves this protocol behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from app.errors import AppError
from app.http.problems import problem

log = structlog.get_logger(__name__)

KEEPALIVE_SECONDS: Final = 75
"""How long an idle connection stays: longer than reverse proxies keep theirs."""


class GuardedHandler(web.RequestHandler):
    __slots__ = ("_head_timeout", "_head_timer", "_requests")

    def __init__(self, server: web.Server, head_timeout: float) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, keepalive_timeout=KEEPALIVE_SECONDS, access_log=None)  # type: ignore[arg-type]
        self._head_timeout = head_timeout
        self._head_timer: asyncio.TimerHandle | None = None
        self._requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._requests and self._head_timer is None:
            self._expect_head()
        super().data_received(data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp answers where no handler does: no HTTP, or too long a head. Its words and bytes stay here."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if status >= 500:
            log.error("request_failed", error=type(exc).__name__)
            error = AppError("internal", "The request could not be served.")
        else:
            error = AppError("malformed", "This is no HTTP request that can be read.")
        response = problem(error)
        response.force_close()
        return response

    def begin(self) -> None:
        """A request's head is whole."""
        self._requests += 1
        self._head_is_here()

    def end(self) -> None:
        """The request is answered; from here the limit on idle connections holds."""
        self._requests -= 1

    def _expect_head(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(self._head_timeout, self._give_up)

    def _head_is_here(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self.transport is not None:
            self.transport.abort()


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """To be the outermost one: tells the connection when a request begins and ends."""
    connection = request.protocol
    if not isinstance(connection, GuardedHandler):
        return await handler(request)
    connection.begin()
    try:
        return await handler(request)
    finally:
        connection.end()


class Listening:
    """A bound socket on which connections are accepted."""

    def __init__(self, http: web.Server, listening: socket.socket, head_timeout: float) -> None:
        self._http, self._listening, self._head_timeout = http, listening, head_timeout
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=self._listening, backlog=1024)

    @property
    def connections(self) -> int:
        """Open HTTP connections; websockets are none."""
        return len(self._http.connections)

    def close(self) -> None:
        """Accept nobody from now on."""
        if self._server is not None:
            self._server.close()

    async def stop(self) -> None:
        """Accept those who have connected already, and nobody else: they would see a connection that is reset, not
        one that is refused."""
        waiting: list[socket.socket] = []
        # No await and no callback from here to `close`, so that hardly anybody can connect in between.
        with contextlib.suppress(OSError):
            while True:
                waiting.append(self._listening.accept()[0])
        self.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._accept, connection)

    def _accept(self) -> GuardedHandler:
        return GuardedHandler(self._http, self._head_timeout)


async def listen(runner: web.AppRunner, listening: socket.socket, head_timeout: float) -> Listening:
    """Serve the runner's application on a bound socket."""
    assert runner.server is not None, "the runner is set up"
    started = Listening(runner.server, listening, head_timeout)
    await started.start()
    return started
