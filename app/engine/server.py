"""The Socket.IO server under python-socketio's API: strict packets, events in order, an answer to every question.

This is the one file that touches what `socketio.AsyncServer` 5.18 does not document: it overrides
`_engineio_server_class`, `_handle_eio_connect`, `_handle_eio_message`, `_handle_eio_disconnect` and `_trigger_event`
(which the Admin UI wraps in its turn); tests/engine/test_library_pins.py says when those change.

The Admin UI (`instrument`) works, with these restrictions: events sent with `publish` and `push` are not listed, its
traffic counters stay at 0, and it may emit to everybody, though only in its own namespace.
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
    """A Socket.IO server. Everything in python-socketio's documentation of `AsyncServer` holds, except:

    - A `connect` handler is given a `Handshake` for an environ; its exceptions refuse the client (`message` "internal"
      if it is no `ConnectionRefusedError`). Rooms entered in it, and events sent to the client alone, take effect
      when it has let the client in.
    - `emit` without a room is a ValueError; `to=EVERYONE` says it. Room names may be any hashable value, tuples too;
      several are given as a list.
    - Every event that asks for an acknowledgement gets one: where there is no handler, the handler does not take as
      many arguments, or raises, and where there are too many events, it is `{"ok": false, "error": {"code",
      "message"}}` with the code `unknown_event`, `invalid`, `internal` or `rate_limited`.
    - A client's events are handled in order, one at a time. Its acknowledgements are not among them, so a handler may
      await `call()` to its own client.
    - The options `client_manager`, `json`, `serializer`, `async_handlers`, `always_connect` and those of Engine.IO
      are not there; a TypeError says so.

    `ping_interval` and `ping_timeout` are seconds. `origin_allowed(request, origin)` is asked where there is an Origin
    header; None means same origin. `client_address(request)` tells whose connection it is, for limits and log lines;
    None means the TCP peer, which is a proxy's if there is one. `on_congested(sid)` is called when more than
    `Limits.high_water` bytes wait for a connection. It is called at the end of a turn of the loop, never from within
    `publish`, `push`, `join`, `leave` or `close`: all that was published before has been handed to the connection, and
    the callback may make it leave its rooms. It must not block, and it must be a plain function.
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
            trigger=lambda *args: self._trigger_event(*args),  # looked up each time: the Admin UI replaces it
            not_handled=self.not_handled,
            known=self._known,
            connect_data=lambda sid, namespace: self.connect_data(sid, namespace),
        )
        self._broadcasting: set[str] = set()  # namespaces in which an emit without a room is for everybody

    @property
    def limits(self) -> Limits:
        return self.eio.limits

    @property
    def stats(self) -> Stats:
        return self.eio.stats

    # Ours: plain functions, at once.

    def publish(
        self, event: str, *args: Any, rooms: Iterable[Hashable], ephemeral: bool = False, namespace: str = "/"
    ) -> None:
        """Send an event to everybody who is in any of the rooms now, each connection once.

        It is encoded and framed once and goes out at the end of this turn of the loop, in order with everything else.
        `ephemeral`: connections for which bytes wait do not get it. Raises TypeError for what is not JSON or bytes.
        """
        target = self.manager.find(namespace, rooms)
        if target:
            self.eio.outbox.send(target, packets.encode(packets.EVENT, namespace, None, [event, *args], ephemeral))

    def push(self, sid: str, event: str, *args: Any, ephemeral: bool = False, namespace: str = "/") -> None:
        """Send an event to one client, as `publish`. Nothing happens if it is gone."""
        client = self.manager.client(sid, namespace)
        if client is not None:
            self.manager.send_to(client, packets.encode(packets.EVENT, namespace, None, [event, *args], ephemeral))

    def prepare(self, event: str, *args: Any, namespace: str = "/") -> Sequence[Message]:
        """Encode and frame an event once, for `push_prepared`. Raises TypeError for what is not JSON or bytes."""
        return packets.encode(packets.EVENT, namespace, None, [event, *args])

    def push_prepared(self, sid: str, events: Sequence[Sequence[Message]], namespace: str = "/") -> None:
        """Send several prepared events to one client, as `push` would one after the other."""
        client = self.manager.client(sid, namespace)
        if client is not None:
            for messages in events:
                self.manager.send_to(client, messages)

    def join(self, sid: str, room: Hashable, namespace: str = "/") -> None:
        """Enter a room. Nothing happens if the client is gone: it may go at any time."""
        if self.manager.client(sid, namespace) is not None:
            self.manager.basic_enter_room(sid, namespace, room)

    def leave(self, sid: str, room: Hashable, namespace: str = "/") -> None:
        """Leave a room. Nothing happens if the client is not in it, or gone."""
        self.manager.basic_leave_room(sid, namespace, room)

    def waiting(self, sid: str, namespace: str = "/") -> int:
        """Bytes handed to the connection and not yet taken by the kernel, or by a poll; what was sent in this turn is
        among them. 0 if it is gone."""
        client = self.manager.client(sid, namespace)
        return client.connection.waiting() if client is not None and not client.connection.closed else 0

    async def drained(self, sid: str, namespace: str = "/") -> bool:
        """Wait until the kernel has taken everything (or, polling, until less than the high-water mark waits), and
        return True; at once if it is so. False if the connection is gone or goes meanwhile."""
        client = self.manager.client(sid, namespace)
        return client is not None and await client.connection.drained()

    def is_open(self, sid: str, namespace: str = "/") -> bool:
        """Whether what is sent to the client may still reach it. Handlers run for what came before the end, also when
        the connection has ended meanwhile."""
        client = self.manager.client(sid, namespace)
        return client is not None and not client.connection.closed

    def close(self, sid: str, reason: str, namespace: str = "/") -> None:
        """Close the client's connection, after what was sent to it. Stock clients connect anew by themselves, which
        they do not after `disconnect`. The `disconnect` handler is given the reason, which also counts in
        `Stats.closed`: keep to a few."""
        client = self.manager.client(sid, namespace)
        if client is not None:
            self.eio.outbox.flush()
            client.connection.close(of_user(reason))

    def connect_data(self, sid: str, namespace: str) -> dict[str, Any]:
        """What the answer to a CONNECT holds beside `sid`; for subclasses."""
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
        """As in python-socketio, but an emit without a room is a ValueError unless it says `to=EVERYONE`."""
        namespace = namespace or "/"
        room = room if to is None else to
        if room is None:
            if namespace not in self._broadcasting:
                raise ValueError("emit() needs a room; use to=EVERYONE for all clients of the namespace")
            room = EVERYONE
        await self.manager.emit(event, data, namespace, room=room, skip_sid=skip_sid, callback=callback)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Send the client away from the namespace; stock clients do not come back by themselves (see `close`)."""
        client = self.manager.client(sid, namespace or "/")
        if client is not None and client.state == Membership.CONNECTED:
            client.connection.send(packets.encode(packets.DISCONNECT, client.namespace))
            await self._dispatcher.leave(client, SERVER_DISCONNECT.text)

    async def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """The client's session, in `disconnect` handlers too. KeyError if the client is gone."""
        sessions = self._sessions(sid, namespace)
        return sessions.setdefault(namespace or "/", {})  # type: ignore[no-any-return]

    async def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """Replace the client's session. KeyError if the client is gone."""
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
        """`polling` or `websocket`. KeyError if the client is gone."""
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
        """`call()` asks for it, since elsewhere it would wait for ever in a handler."""
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
        """Run the event's handler. `not_handled` if there is none, WrongArguments if it takes others."""
        handler, args = handlers.find(self, event, namespace, args)
        if handler is None:
            return self.not_handled
        return await handlers.run(handler, args, optional=event in self.reserved_events)
