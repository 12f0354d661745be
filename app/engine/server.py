"""The Engine.IO 4 server: every connection, every deadline, and the shutdown.

It stands where python-socketio expects an `engineio.AsyncServer` and has the part of its interface that is used there.
It can be used alone as well: `on("message", handler)`, where the handler is a plain function that is given the
connection and a str or bytes, and `Connection.send_message`.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

from . import frames, http
from .connection import Connection, Handshake
from .deadlines import Deadlines
from .limits import Limits
from .outbox import Outbox
from .polling import Answer, Polling
from .stats import Stats, Throttle
from .websocket import WebSocket, reset

log = logging.getLogger(__name__)

_FIRST_PINGS = 8
_UPGRADES = '["websocket"]'


def _remote(request: web.Request) -> str:
    return request.remote or ""


class EngineServer:
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
        self.deflate = deflate
        self.origin_allowed = origin_allowed or http.same_origin
        self.client_address = client_address or _remote
        self.stats = Stats()
        self.outbox = Outbox(self.stats)
        self.may_log = Throttle()
        self.sockets: dict[str, Connection] = {}
        self.handlers: dict[str, Callable[..., Any]] = {}
        self.report_congested: Callable[[Connection], None] = lambda connection: None
        self.stopping = False
        self._entering: dict[str, int] = {}  # connections that are not let in yet, by address
        self._tasks: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Task[Any]] = set()  # not waited for

        self.pings = Deadlines[Connection](ping_interval, self._ping)
        # Clients that connect together are not pinged together: the first ping comes somewhat earlier.
        self.first_pings = [
            Deadlines[Connection](ping_interval * (1 - i / (2 * _FIRST_PINGS)), self._ping) for i in range(_FIRST_PINGS)
        ]
        self.pongs = Deadlines[Connection](ping_timeout, lambda c, _: c.close("ping timeout"))
        self.unconnected = Deadlines[Connection](limits.connect_timeout, lambda c, _: c.close("connect timeout"))
        self.upgrades = Deadlines[WebSocket](limits.upgrade_timeout, lambda ws, _: ws.close(frames.POLICY))
        self.stalled = Deadlines[WebSocket](limits.stall_timeout, WebSocket.check_stalled)
        self.answers = Deadlines[Answer](limits.stall_timeout / 2, Answer.check)
        self.unpolled = Deadlines[Polling](limits.stall_timeout, lambda p, _: p.connection.close("slow reader"))
        self.closing = Deadlines[WebSocket](limits.close_timeout, lambda ws, _: reset(ws.transport))
        self._open_packet = (
            f',"pingInterval":{round(ping_interval * 1000)},"pingTimeout":{round(ping_timeout * 1000)}'
            f',"maxPayload":{limits.max_packet}}}'
        )

    # What python-socketio and its Admin UI ask for.

    def on(self, event: str, handler: Callable[..., Any]) -> None:
        """`connect` (a coroutine function: sid, handshake), `message` (plain: connection, data), `disconnect`
        (a coroutine function: connection, reason)."""
        self.handlers[event] = handler

    def attach(self, app: web.Application, path: str) -> None:
        path = path.strip("/")
        app.router.add_route("*", f"/{path}/", self.handle_request)
        app.on_shutdown.append(self._on_shutdown)

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        return await http.handle(self, request)

    def generate_id(self) -> str:
        return secrets.token_urlsafe(15)

    def transport(self, sid: str) -> str:
        return "websocket" if self.sockets[sid].upgraded else "polling"

    async def send(self, sid: str, data: str | bytes) -> None:
        if connection := self.sockets.get(sid):
            connection.send_message(data)

    async def get_session(self, sid: str) -> dict[str, Any]:
        """The connection's own dict; KeyError if it has ended."""
        connection = self.sockets[sid]
        if connection.session is None:
            connection.session = {}
        return connection.session

    async def save_session(self, sid: str, session: dict[str, Any]) -> None:
        self.sockets[sid].session = session

    async def disconnect(self, sid: str) -> None:
        if connection := self.sockets.get(sid):
            self.outbox.flush()
            connection.close("server disconnect")

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(target(*args, **kwargs))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def sleep(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    def create_event(self, *args: Any, **kwargs: Any) -> asyncio.Event:
        return asyncio.Event(*args, **kwargs)

    def _get_socket(self, sid: str) -> Connection:
        return self.sockets[sid]

    def _ok(self, packets: Any = None, headers: Any = None, jsonp_index: Any = None) -> dict[str, Any]:
        """Wrapped by the Admin UI to count polling answers; nothing here calls it."""
        return {"response": b""}

    # What the other parts ask for.

    def start_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that the shutdown waits for and then cancels."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def full(self) -> bool:
        return 0 < self.limits.max_connections <= len(self.sockets)

    def now(self) -> float:
        """The loop's clock, which is monotonic."""
        return asyncio.get_running_loop().time()

    def may_enter(self, address: str) -> bool:
        """Whether this address may have one more connection that is not let in."""
        limit = self.limits.max_unauthenticated_per_address
        return not limit or self._entering.get(address, 0) < limit

    def open(self, handshake: Handshake, transport: str) -> Connection:
        """A new connection, not let in yet."""
        connection = Connection(self, self.generate_id(), handshake)
        self.sockets[connection.sid] = connection
        stats = self.stats
        stats.connections += 1
        stats.opened[transport] += 1
        stats.unauthenticated += 1
        self._entering[handshake.address] = self._entering.get(handshake.address, 0) + 1
        random.choice(self.first_pings).add(connection)  # noqa: S311 - no secret
        self.unconnected.add(connection)
        return connection

    def open_packet(self, sid: str, upgrades: bool) -> str:
        return f'0{{"sid":"{sid}","upgrades":{_UPGRADES if upgrades else "[]"}{self._open_packet}'

    def admit(self, connection: Connection) -> None:
        """A connect handler has let it in."""
        if not connection.admitted:
            connection.admitted = True
            self._entered(connection)

    def expel(self, connection: Connection) -> None:
        """It has left its last namespace: it stands outside again, and not for long."""
        if connection.admitted and not connection.closed:
            connection.admitted = False
            self.stats.unauthenticated += 1
            self._entering[connection.handshake.address] = self._entering.get(connection.handshake.address, 0) + 1
            self.unconnected.add(connection)

    def _entered(self, connection: Connection) -> None:
        self.unconnected.discard(connection)
        self.stats.unauthenticated -= 1
        address = connection.handshake.address
        left = self._entering[address] - 1
        if left:
            self._entering[address] = left
        else:
            del self._entering[address]

    def forget(self, connection: Connection, reason: str) -> None:
        """The connection has ended."""
        self.sockets.pop(connection.sid, None)
        if not connection.admitted:
            self._entered(connection)
        self.pings.discard(connection)
        self.pongs.discard(connection)
        for pings in self.first_pings:
            pings.discard(connection)
        self.stats.connections -= 1
        self.stats.closed[reason] = self.stats.closed.get(reason, 0) + 1

    def _ping(self, connection: Connection, due: float) -> None:
        self.pongs.add(connection, due)
        connection.send_ping()

    # The end.

    async def _on_shutdown(self, _app: web.Application) -> None:
        await self.shutdown()

    async def shutdown(self) -> None:
        """Close every connection so that stock clients come back by themselves: websockets with 1012, polls with a
        close packet. Waits for `disconnect` handlers, and drops what is left at `Limits.shutdown_timeout`."""
        if self.stopping:
            return
        self.stopping = True
        loop = asyncio.get_running_loop()
        end = loop.time() + self.limits.shutdown_timeout * 0.9
        self.outbox.flush()
        for connection in list(self.sockets.values()):
            connection.close("server shutdown", frames.RESTART)
        while (self.closing or self._tasks) and loop.time() < end:  # noqa: ASYNC110 - of a thousand things, once
            await asyncio.sleep(0.01)
        for task in (*self._tasks, *self._background):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.limits.shutdown_timeout * 0.1)
        for heartbeats in (self.pings, *self.first_pings, self.pongs, self.unconnected):
            heartbeats.clear()
        for websockets in (self.upgrades, self.stalled, self.closing):
            websockets.clear()
        self.unpolled.clear()
        self.answers.clear()
