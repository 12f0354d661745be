"""Listening, with a time limit on the head of each request, which aiohttp does not have.

A guard stands before aiohttp's own protocol on each connection. It closes the connection when a request has begun and
its head is not whole in time, or when none has begun at all. That a head is whole is told by the outermost middleware.
A connection that becomes a websocket leaves the guard behind with aiohttp's protocol.
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler


class Guard(asyncio.Protocol):
    def __init__(self, inner: asyncio.Protocol, timeout: float) -> None:
        self._inner, self._timeout = inner, timeout
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._inner.connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if not self._requests and self._timer is None:
            self._expect_head()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        self._inner.connection_lost(exc)

    def begin(self) -> None:
        """A request's head is whole."""
        self._requests += 1
        self._head_is_here()

    def end(self) -> None:
        """The request is answered; from here aiohttp's own limit on idle connections holds."""
        self._requests -= 1

    def _expect_head(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._timeout, self._give_up)

    def _head_is_here(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        # Elsewhere by now: the connection has become a websocket, whose own limits hold.
        if self._transport and self._transport.get_protocol() is self:
            self._transport.abort()


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """To be the outermost one: tells the guard when a request begins and ends."""
    guard = request.transport.get_protocol() if request.transport else None
    if not isinstance(guard, Guard):
        return await handler(request)
    guard.begin()
    try:
        return await handler(request)
    finally:
        guard.end()


async def listen(runner: web.AppRunner, listening: socket.socket, header_timeout: float) -> asyncio.Server:
    """Serve the runner's application on a bound socket."""
    factory = runner.server
    assert factory is not None, "the runner is set up"

    def guarded() -> Guard:
        return Guard(factory(), header_timeout)

    return await asyncio.get_running_loop().create_server(guarded, sock=listening, backlog=1024)
