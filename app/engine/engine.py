"""The Engine.IO 4 server: assembles the parts, and shuts them down.

It replaces python-socketio's `engineio.AsyncServer` and has the part of its interface that python-socketio uses. It
can also be used alone: `on("message", handler)`, where the handler is a plain function with the connection and a str
or bytes as arguments, and `Connection.send_message`.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

from . import http
from .connection import Connection
from .connections import Connections
from .limits import Limits
from .reasons import SERVER_DISCONNECT, SHUTDOWN
from .stats import Stats


def _remote(request: web.Request) -> str:
    return request.remote or ""


class Engine:
    """See `Server` for the options."""

    async_mode = "aiohttp"

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        ping_interval: float = 25,
        ping_timeout: float = 20,
        deflate: bool = True,
        origin_allowed: Callable[[web.Request, str], bool] | None = None,
        client_address: Callable[[web.Request], str] | None = None,
        **_of_engineio: Any,
    ) -> None:
        self.limits = limits = limits or Limits()
        self.stats = Stats()
        self.handlers: dict[str, Callable[..., Any]] = {}
        self.connections = Connections(
            self.handlers,
            limits,
            self.stats,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            deflate=deflate,
        )
        self.outbox = self.connections.outbox
        self.tasks = self.connections.tasks
        self._requests = http.Requests(
            self.connections,
            limits,
            self.stats,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            origin_allowed=origin_allowed or http.same_origin,
            client_address=client_address or _remote,
            connected=self._connected,
        )

    # Used by python-socketio and its Admin UI.

    @property
    def sockets(self) -> dict[str, Connection]:
        return self.connections.by_sid

    def on(self, event: str, handler: Callable[..., Any]) -> None:
        """`connect` (a coroutine function: sid, handshake), `message` (plain: connection, data), `disconnect`
        (a coroutine function: connection, reason)."""
        self.handlers[event] = handler

    def attach(self, app: web.Application, path: str) -> None:
        path = path.strip("/")
        app.router.add_route("*", f"/{path}/", self.handle_request)
        app.on_shutdown.append(self._on_shutdown)

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        return await self._requests.handle(request)

    def generate_id(self) -> str:
        return secrets.token_urlsafe(15)

    def transport(self, sid: str) -> str:
        return "websocket" if self.sockets[sid].upgraded else "polling"

    async def send(self, sid: str, data: str | bytes) -> None:
        if connection := self.sockets.get(sid):
            connection.send_message(data)

    async def get_session(self, sid: str) -> dict[str, Any]:
        """The connection's session dict. Raises KeyError if it has ended."""
        connection = self.sockets[sid]
        if connection.session is None:
            connection.session = {}
        return connection.session

    async def save_session(self, sid: str, session: dict[str, Any]) -> None:
        self.sockets[sid].session = session

    async def disconnect(self, sid: str) -> None:
        if connection := self.sockets.get(sid):
            self.outbox.flush()
            connection.close(SERVER_DISCONNECT)

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """Start a task that the shutdown cancels. If it fails, that is logged and counted in `Stats.failures`."""
        return self.tasks.start_endless(target(*args, **kwargs))

    async def sleep(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    def create_event(self, *args: Any, **kwargs: Any) -> asyncio.Event:
        return asyncio.Event(*args, **kwargs)

    def _get_socket(self, sid: str) -> Connection:
        return self.sockets[sid]

    def _ok(self, packets: Any = None, headers: Any = None, jsonp_index: Any = None) -> dict[str, Any]:
        """Wrapped by the Admin UI to count polling answers; nothing here calls it."""
        return {"response": b""}

    # Start and shutdown.

    async def _connected(self, connection: Connection) -> None:
        await self.handlers["connect"](connection.sid, connection.handshake)

    async def _on_shutdown(self, _app: web.Application) -> None:
        await self.shutdown()

    async def shutdown(self) -> None:
        """Close every connection so that stock clients reconnect by themselves: WebSockets with 1012, polls with a
        close packet. Waits for `disconnect` handlers, and drops the rest after `Limits.shutdown_timeout`."""
        if self._requests.stopping:
            return
        self._requests.stopping = True
        loop = asyncio.get_running_loop()
        end = loop.time() + self.limits.shutdown_timeout * 0.9
        self.outbox.flush()
        for connection in list(self.sockets.values()):
            connection.close(SHUTDOWN)
        closing = self.connections.websockets.closing
        while (closing or self.tasks) and loop.time() < end:  # noqa: ASYNC110 - of a thousand things, once
            await asyncio.sleep(0.01)
        await self.tasks.end(self.limits.shutdown_timeout * 0.1)
        self.connections.stop()
