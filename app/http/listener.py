"""Listens for connections: aiohttp's protocol with limits for each connection, and problems (RFC 9457) for invalid
HTTP.

- A connection is closed if the headers of a request are not complete in time, or if no request begins at all. The
  outermost middleware reports when headers are complete.
- Bodies are passed on as sent; nothing is decompressed here.
- If a request is answered before its body was read, the body is not read to its end. The client gets a moment to
  notice the answer, and the connection is closed.
- A connection is reset if its client reads nothing for `stall_timeout`.
- The number of connections per address is limited, except for trusted proxies; more are reset.

A connection that becomes a WebSocket leaves this protocol.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from typing import Final, cast

import structlog
from aiohttp import StreamReader, web
from aiohttp.typedefs import Handler

from app.errors import AppError
from app.http.limits import Limits
from app.http.problems import HEADERS, problem

log = structlog.get_logger(__name__)

KEEPALIVE_SECONDS: Final = 75
"""How long an idle connection stays open: longer than reverse proxies keep theirs."""

LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 1024 * 1024
"""How much of a refused body is still read and discarded: a client whose connection is closed while it sends may miss
the answer (RFC 9112, 9.6)."""

_RESET: Final = struct.pack("ii", 1, 0)


class GuardedHandler(web.RequestHandler):
    __slots__ = ("_head_timer", "_limits", "_requests", "_stall", "_when_taken", "_whose")

    def __init__(self, server: web.Server, limits: Limits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEPALIVE_SECONDS,
            tcp_keepalive=False,
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,
            lingering_time=0,
        )
        self._limits = limits
        self._whose: str | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._requests = 0
        self._when_taken: contextlib.AsyncExitStack | None = None

    def close_when_taken(self, held: contextlib.AsyncExitStack) -> None:
        """Close the resources of the current request when the client has read its answer, or when the connection has
        ended."""
        self._when_taken = held

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._whose = self._limits.opened(transport)
        if self._whose is None:
            cast(asyncio.Transport, transport).abort()
            return
        # So that `pause_writing` is called for anything the kernel does not accept at once.
        cast(asyncio.Transport, transport).set_write_buffer_limits(high=0)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_is_complete()
        self._is_taken()
        if self._whose is not None:
            self._limits.closed(self._whose)
            self._whose = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.transport is not None:
            self._look_for_stall(self.transport, _waiting(self.transport))

    def resume_writing(self) -> None:
        self._is_taken()
        super().resume_writing()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer, and discard what the client still sends of an unwanted body."""
        try:
            answered = await super().finish_response(request, resp, start_time)
            if self._when_taken is not None:
                with contextlib.suppress(ConnectionError):
                    await request.writer.drain()
            if not request.content.is_eof() and self.transport is not None:
                await _linger(request.content, self.transport)
            return answered
        finally:
            if self._when_taken is not None:
                held, self._when_taken = self._when_taken, None
                await held.aclose()

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
        """The answer to invalid HTTP and to headers that are too long. It repeats nothing of the request."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has already begun")
        if status >= 500:
            log.error("request_failed", error=type(exc).__name__)
            error = AppError("internal", "The request could not be served.")
        else:
            error = AppError("malformed", "This is not a valid HTTP request.")
        response = problem(error)
        response.force_close()
        return response

    def begin(self) -> None:
        """The headers of a request are complete."""
        self._requests += 1
        self._head_is_complete()

    def end(self) -> None:
        """The request is answered. From here the limit for idle connections applies."""
        self._requests -= 1

    def _look_for_stall(self, transport: asyncio.Transport, waiting: int) -> None:
        self._stall = asyncio.get_running_loop().call_later(
            self._limits.stall_timeout, self._reset_if_stalled, transport, waiting
        )

    def _reset_if_stalled(self, transport: asyncio.Transport, before: int) -> None:
        """The transport is an argument, because aiohttp forgets a transport that it closes while it has unsent
        bytes."""
        self._stall = None
        waiting = _waiting(transport)
        if 0 < before <= waiting:
            self._limits.log("answer_reset", "not_taken", bytes=waiting)
            with contextlib.suppress(OSError):  # discard what the kernel holds as well
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        elif waiting:
            self._look_for_stall(transport, waiting)

    def _is_taken(self) -> None:
        if self._stall:
            self._stall.cancel()
            self._stall = None

    def _expect_head(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(self._limits.head_timeout, self._give_up)

    def _head_is_complete(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self.transport is not None:
            self.transport.abort()


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tells the connection when a request begins and ends. Must be the outermost middleware."""
    connection = request.protocol
    if not isinstance(connection, GuardedHandler):
        return await handler(request)
    connection.begin()
    try:
        response = await handler(request)
        if not request.content.is_eof() and not response.prepared:
            response.force_close()  # its body is not read to the end
        return response
    finally:
        connection.end()


async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`: the headers of every answer."""
    response.headers.update(HEADERS)


def _waiting(transport: asyncio.Transport) -> int:
    """Unsent bytes, here and in the kernel, which accepts more only when much of its buffer is free."""
    size = array.array("i", [0])
    with contextlib.suppress(OSError, ValueError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, size, True)
    return size[0] + transport.get_write_buffer_size()


async def _linger(body: StreamReader, transport: asyncio.Transport) -> None:
    with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
        transport.write_eof()
    dropped = 0
    with contextlib.suppress(TimeoutError, web.RequestPayloadError, ConnectionError):
        async with asyncio.timeout(LINGER_SECONDS):
            while dropped < LINGER_BYTES and (chunk := await body.readany()):
                dropped += len(chunk)


class Listening:
    """A bound socket that accepts connections."""

    def __init__(self, http: web.Server, listening: socket.socket, limits: Limits) -> None:
        self._http, self._listening, self._limits = http, listening, limits
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=self._listening, backlog=1024)

    @property
    def connections(self) -> int:
        """Open HTTP connections, without WebSockets."""
        return len(self._http.connections)

    def close(self) -> None:
        """Stop accepting connections."""
        if self._server is not None:
            self._server.close()

    async def stop(self) -> None:
        """Accept the connections that are already established in the kernel, and no more. Otherwise their clients would
        see a reset instead of a refused connection."""
        waiting: list[socket.socket] = []
        # No await and no callback from here to `close`, so that hardly anyone can connect in between.
        with contextlib.suppress(OSError):
            while True:
                waiting.append(self._listening.accept()[0])
        self.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._accept, connection)

    def _accept(self) -> GuardedHandler:
        return GuardedHandler(self._http, self._limits)


async def listen(runner: web.AppRunner, listening: socket.socket, limits: Limits | float) -> Listening:
    """Serve the runner's application on a bound socket. A number as `limits` is the timeout for headers."""
    assert runner.server is not None, "the runner is set up"
    limits = limits if isinstance(limits, Limits) else Limits(limits)
    started = Listening(runner.server, listening, limits)
    await started.start()
    return started
