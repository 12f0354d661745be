"""The Socket.IO server with python-socketio's API: strict packets, ordered events, an answer to every acknowledgement.

Only this module uses undocumented parts of `socketio.AsyncServer` 5.18: it overrides `_engineio_server_class`,
`_handle_eio_connect`, `_handle_eio_message`, `_handle_eio_disconnect` and `_trigger_event` (which the Admin UI wraps);
tests/engine/test_library_pins.py checks for changes.

The Admin UI (`instrument`) works, with these restrictions: events sent with `publish` and `push` are not listed, its
traffic counters stay at 0, and it may emit to everyone, but only in its own namespace.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import socketio
from aiohttp import web

from . import handlers, packets
from .connection import Connection, Handshake
from .dispatch import Dispatcher
from .engine import Engine
from .limits import Limits
from .messages import Message
from .reasons import SERVER_DISCONNECT, of_user
from .rooms import EVERYONE, Membership, Rooms
from .stats import Stats

log = logging.getLogger(__name__)

_OPTIONS = {"logger", "engineio_logger", "namespaces"}


class Server(socketio.AsyncServer):  # type: ignore[misc]
    """A Socket.IO server. python-socketio's documentation of `AsyncServer` applies, except:

    - A `connect` handler gets a `Handshake` instead of an environ. Its exceptions refuse the client (with the `message`
      "internal" unless it is a `ConnectionRefusedError`). Rooms entered in it, and events sent only to the client, take
      effect when it has accepted the client.
    - `emit` without a room is a ValueError; use `to=EVERYONE`. Room names can be any hashable value, including tuples;
      pass several as a list.
    - Every event that requests an acknowledgement gets one. If there is no handler, if it does not accept the number
      of arguments or raises, or if there are too many events, the answer is `{"ok": false, "error": {"code",
      "message"}}` with the code `unknown_event`, `invalid`, `internal` or `rate_limited`.
    - A client's events are handled in order, one at a time. Acknowledgements are not queued with them, so a handler may
      await `call()` to its own client.
    - The options `client_manager`, `json`, `serializer`, `async_handlers`, `always_connect` and those of Engine.IO do
      not exist, and raise a TypeError.

    `ping_interval` and `ping_timeout` are in seconds. `origin_allowed(request, origin)` is called if there is an
    Origin header; None means same origin. `client_address(request)` returns the client's address for limits and logs;
    None means the TCP peer, which may be a proxy. `on_congested(sid)` is called when a connection has more than
    `Limits.high_water` unsent bytes. It is called at the end of a turn of the loop, never from within `publish`,
    `push`, `join`, `leave` or `close`: everything published before has been passed to the connection, and the callback
    may make it leave its rooms. It must be a plain function, and must not block.
    """

    manager: Rooms
    eio: Engine
    manager_initialized: bool

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        ping_interval: float = 25,
        ping_timeout: float = 20,
        deflate: bool = True,
        origin_allowed: Callable[[web.Request, str], bool] | None = None,
        client_address: Callable[[web.Request], str] | None = None,
        on_congested: Callable[[str], None] | None = None,
        **socketio_options: Any,
    ) -> None:
        if unknown := socketio_options.keys() - _OPTIONS:
            raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
        super().__init__(
            client_manager=Rooms(),
            limits=limits,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            deflate=deflate,
            origin_allowed=origin_allowed,
            client_address=client_address,
            **socketio_options,
        )
        self.on_congested = on_congested
        self.eio.connections.on_congested = self._report_congested
        self._dispatcher = Dispatcher(
            self.eio.connections,
            self.manager,
            self.eio.limits,
            self.eio.stats,
            trigger=lambda *args: self._trigger_event(*args),  # looked up each time, because the Admin UI replaces it
            not_handled=self.not_handled,
            known=self._known,
            connect_data=lambda sid, namespace: self.connect_data(sid, namespace),
        )
        self._broadcasting: set[str] = set()  # namespaces in which an emit without a room is for everyone

    @property
    def limits(self) -> Limits:
        return self.eio.limits

    @property
    def stats(self) -> Stats:
        return self.eio.stats

    # Our own API: plain functions that take effect at once.

    def publish(
        self, event: str, *args: Any, rooms: Iterable[Hashable], ephemeral: bool = False, namespace: str = "/"
    ) -> None:
        """Send an event to all present members of the rooms, once per connection.

        It is encoded and framed once, and sent at the end of this turn of the loop, in order with everything else.
        `ephemeral`: connections with unsent bytes do not get it. Raises TypeError for values that are not JSON or
        bytes.
        """
        target = self.manager.find(namespace, rooms)
        if target:
            self.eio.outbox.send(target, packets.encode(packets.EVENT, namespace, None, [event, *args], ephemeral))

    def push(self, sid: str, event: str, *args: Any, ephemeral: bool = False, namespace: str = "/") -> None:
        """Send an event to one client, like `publish`. Does nothing if it has disconnected."""
        client = self.manager.client(sid, namespace)
        if client is not None:
            self.manager.send_to(client, packets.encode(packets.EVENT, namespace, None, [event, *args], ephemeral))

    def prepare(self, event: str, *args: Any, namespace: str = "/") -> Sequence[Message]:
        """Encode and frame an event once, for `push_prepared`. Raises TypeError for values that are not JSON or
        bytes."""
        return packets.encode(packets.EVENT, namespace, None, [event, *args])

    def push_prepared(self, sid: str, events: Sequence[Sequence[Message]], namespace: str = "/") -> None:
        """Send several prepared events to one client, like repeated `push`."""
        client = self.manager.client(sid, namespace)
        if client is not None:
            for messages in events:
                self.manager.send_to(client, messages)

    def join(self, sid: str, room: Hashable, namespace: str = "/") -> None:
        """Enter a room. Does nothing if the client has disconnected, which may happen at any time."""
        if self.manager.client(sid, namespace) is not None:
            self.manager.basic_enter_room(sid, namespace, room)

    def leave(self, sid: str, room: Hashable, namespace: str = "/") -> None:
        """Leave a room. Does nothing if the client is not in it or has disconnected."""
        self.manager.basic_leave_room(sid, namespace, room)

    def waiting(self, sid: str, namespace: str = "/") -> int:
        """Bytes not yet taken by the kernel, or by a poll, including those sent in this turn. 0 if the client has
        disconnected."""
        client = self.manager.client(sid, namespace)
        return client.connection.waiting() if client is not None and not client.connection.closed else 0

    async def drained(self, sid: str, namespace: str = "/") -> bool:
        """Wait until the kernel has taken everything (or, when polling, until there is less than the high-water mark).
        Returns True then, and False if the client disconnects."""
        client = self.manager.client(sid, namespace)
        return client is not None and await client.connection.drained()

    def is_open(self, sid: str, namespace: str = "/") -> bool:
        """Whether the client can still be sent to. Handlers also run for events that came before a disconnect, when the
        connection has ended."""
        client = self.manager.client(sid, namespace)
        return client is not None and not client.connection.closed

    def close(self, sid: str, reason: str, namespace: str = "/") -> None:
        """Close the client's connection after what was sent to it. Stock clients reconnect by themselves, unlike after
        `disconnect`. The reason is passed to the `disconnect` handler and counted in `Stats.closed`, so there should
        be few different ones."""
        client = self.manager.client(sid, namespace)
        if client is not None:
            self.eio.outbox.flush()
            client.connection.close(of_user(reason))

    def connect_data(self, sid: str, namespace: str) -> dict[str, Any]:
        """Additional content of the CONNECT answer beside `sid`, for subclasses."""
        return {}

    # python-socketio's

    async def emit(
        self,
        event: str,
        data: Any = None,
        to: Any = None,
        room: Any = None,
        skip_sid: Any = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """As in python-socketio, but without a room it raises ValueError; use `to=EVERYONE`."""
        namespace = namespace or "/"
        room = room if to is None else to
        if room is None:
            if namespace not in self._broadcasting:
                raise ValueError("emit() needs a room; use to=EVERYONE for all clients of the namespace")
            room = EVERYONE
        await self.manager.emit(event, data, namespace, room=room, skip_sid=skip_sid, callback=callback)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Disconnect the client from the namespace. Stock clients do not reconnect by themselves (see `close`)."""
        client = self.manager.client(sid, namespace or "/")
        if client is not None and client.state == Membership.CONNECTED:
            client.connection.send(packets.encode(packets.DISCONNECT, client.namespace))
            await self._dispatcher.leave(client, SERVER_DISCONNECT.text)

    async def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """The client's session, also in `disconnect` handlers. Raises KeyError if the client has disconnected."""
        sessions = self._sessions(sid, namespace)
        return sessions.setdefault(namespace or "/", {})  # type: ignore[no-any-return]

    async def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """Replace the client's session. Raises KeyError if the client has disconnected."""
        self._sessions(sid, namespace)[namespace or "/"] = session

    def _sessions(self, sid: str, namespace: str | None) -> dict[str, Any]:
        client = self.manager.client(sid, namespace or "/")
        if client is None:
            raise KeyError(sid)
        connection = client.connection
        if connection.session is None:
            connection.session = {}
        return connection.session

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """`polling` or `websocket`. Raises KeyError if the client has disconnected."""
        client = self.manager.client(sid, namespace or "/")
        if client is None:
            raise KeyError(sid)
        return "websocket" if client.connection.upgraded else "polling"

    def get_environ(self, sid: str, namespace: str | None = None) -> Handshake | None:
        client = self.manager.client(sid, namespace or "/")
        return client.connection.handshake if client is not None else None

    def instrument(self, *args: Any, namespace: str = "/admin", **kwargs: Any) -> Any:
        self._broadcasting.add(namespace)
        return super().instrument(*args, namespace=namespace, **kwargs)

    @property
    def async_handlers(self) -> bool:
        """Required by `call()`, which with python-socketio's ordered handlers would block forever in a handler."""
        return True

    @async_handlers.setter
    def async_handlers(self, value: bool) -> None:
        pass

    # The engine's callbacks

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    async def _handle_eio_connect(self, eio_sid: str, environ: Handshake) -> None:
        if not self.manager_initialized:
            self.manager_initialized = True
            self.manager.initialize()

    def _report_congested(self, connection: Connection) -> None:
        if self.on_congested is None:
            return
        for client in list(connection.clients.values()):
            if client.state == Membership.CONNECTED:
                try:
                    self.on_congested(client.sid)
                except (Exception, asyncio.CancelledError):
                    self.stats.handler_errors += 1
                    log.exception("on_congested_failed")

    def _handle_eio_message(self, connection: Connection, data: str | bytes) -> None:
        self._dispatcher.message(connection, data)

    async def _handle_eio_disconnect(self, connection: Connection, reason: str) -> None:
        await self._dispatcher.disconnected(connection, reason)

    # Finding handlers

    def _known(self, namespace: str) -> bool:
        return (
            self.namespaces == "*"
            or namespace in self.namespaces
            or not {namespace, "*"}.isdisjoint(self.handlers)
            or not {namespace, "*"}.isdisjoint(self.namespace_handlers)
        )

    async def _trigger_event(self, event: str, namespace: str, *args: Any) -> Any:
        """Run the event's handler. Returns `not_handled` if there is none. Raises WrongArguments if the arguments do
        not fit."""
        handler, args = handlers.find(self, event, namespace, args)
        if handler is None:
            return self.not_handled
        return await handlers.run(handler, args, optional=event in self.reserved_events)
