"""The Socket.IO server under python-socketio's API: strict packets, events in order, an answer to every question.

This is the one file that touches what `socketio.AsyncServer` 5.18 does not document: it overrides
`_engineio_server_class`, `_handle_eio_connect`, `_handle_eio_message`, `_handle_eio_disconnect` and `_trigger_event`
(which the Admin UI wraps in its turn); tests/engine/test_library_pins.py says when those change.

The Admin UI (`instrument`) works, with these restrictions: events sent with `publish` and `push` are not listed, its
traffic counters stay at 0, and it may emit to everybody, though only in its own namespace.
"""

import inspect
import logging
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import socketio
from aiohttp import web
from socketio.exceptions import ConnectionRefusedError as Refused

from . import frames, packets
from .connection import Connection, Handshake
from .limits import Limits
from .packets import Packet, Partial, ProtocolError
from .rooms import EVERYONE, Client, Membership, Rooms
from .server import EngineServer
from .stats import Stats

log = logging.getLogger(__name__)

_OPTIONS = {"logger", "engineio_logger", "namespaces"}

UNKNOWN_EVENT = ("unknown_event", "There is no such event.")
INVALID = ("invalid", "Wrong number of arguments.")
INTERNAL = ("internal", "Something went wrong on the server.")
RATE_LIMITED = ("rate_limited", "Too many events.")


class _WrongArguments(Exception):
    """The handler does not take as many arguments as the client has sent."""


def _error(what: tuple[str, str]) -> dict[str, Any]:
    return {"ok": False, "error": {"code": what[0], "message": what[1]}}


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
    `Limits.high_water` bytes wait for a connection: all that was published before has been handed to it, and the
    callback may make it leave its rooms. It must not block, and it must be a plain function.
    """

    manager: Rooms
    eio: EngineServer
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
            raise TypeError(f"not an option of this server: {', '.join(sorted(unknown))}")
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
        self.eio.report_congested = self._report_congested
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

    def close(self, sid: str, reason: str, namespace: str = "/") -> None:
        """Close the client's connection, after what was sent to it. Stock clients connect anew by themselves, which
        they do not after `disconnect`. The `disconnect` handler is given the reason, which also counts in
        `Stats.closed`: keep to a few."""
        client = self.manager.client(sid, namespace)
        if client is not None:
            self.eio.outbox.flush()
            client.connection.close(reason, frames.GOING_AWAY)

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
                raise ValueError("an emit needs a room; to=EVERYONE sends to all clients of the namespace")
            room = EVERYONE
        await self.manager.emit(event, data, namespace, room=room, skip_sid=skip_sid, callback=callback)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Send the client away from the namespace; stock clients do not come back by themselves (see `close`)."""
        client = self.manager.client(sid, namespace or "/")
        if client is not None and client.state == Membership.CONNECTED:
            client.connection.send(packets.encode(packets.DISCONNECT, client.namespace))
            await self._leave(client, self.reason.SERVER_DISCONNECT)

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

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

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
                except Exception:
                    self.stats.handler_errors += 1
                    log.exception("on_congested failed")

    def _handle_eio_message(self, connection: Connection, data: str | bytes) -> None:
        """One Engine.IO message, at once. What is malformed ends the connection here, not in the queue."""
        partial: Partial | None = connection.partial
        self.stats.bytes_received += len(data)
        if isinstance(data, bytes):
            if partial is None:
                raise ProtocolError("attachment out of place")
            packet = partial.add(data, self.limits)
            if packet is None:
                return
            connection.partial = None
        elif partial is not None:
            raise ProtocolError("attachment missing")
        else:
            packet = packets.decode(data, self.limits)
            if packet.kind in (packets.BINARY_EVENT, packets.BINARY_ACK):
                partial = Partial(packet)
                if packet.attachments:
                    connection.partial = partial
                    return
                packet = partial.whole()
        self.stats.packets_received += 1
        self._receive(connection, packet)

    def _receive(self, connection: Connection, packet: Packet) -> None:
        kind = packet.kind
        client = connection.clients.get(packet.namespace)
        if kind in (packets.ACK, packets.BINARY_ACK):
            # Not queued: the handler that waits for it may be the one that holds the queue up.
            callback = (
                client.callbacks.pop(packet.ident, None) if client and client.callbacks and packet.ident else None
            )
            if callback is not None:
                self.eio.start_task(self._call_back(callback, packet.data))
            elif not self._may(connection):
                self._over_rate(connection)
            return
        limits = self.limits
        if (
            not self._may(connection)
            or connection.queued >= limits.max_waiting_events
            or connection.waiting_bytes + packet.size > limits.max_waiting_event_bytes
        ):
            self._over_rate(connection)
            if connection.closed:
                return
            if kind in (packets.EVENT, packets.BINARY_EVENT):
                self.stats.rate_limited += 1
                if client is not None:
                    self._answer(client, packet.ident, _error(RATE_LIMITED))
                return
        if kind == packets.CONNECT:
            connection.enqueue(packet.size, self._connect, connection, packet.namespace, packet.data)
        elif kind == packets.DISCONNECT:
            connection.enqueue(0, self._disconnect, connection, packet.namespace)
        else:
            connection.enqueue(packet.size, self._event, connection, packet)

    def _may(self, connection: Connection) -> bool:
        """Take one packet off the client's allowance."""
        now = self.eio.now()
        limits = self.limits
        tokens = min(limits.event_burst, connection.tokens + (now - connection.refilled) * limits.event_rate) - 1
        connection.tokens, connection.refilled = tokens, now
        return tokens >= 0

    def _over_rate(self, connection: Connection) -> None:
        """It was too much; when that goes on, close."""
        if connection.tokens < -self.limits.event_burst:
            connection.close("rate limited", frames.POLICY)

    async def _call_back(self, callback: Callable[..., Any], args: list[Any]) -> None:
        try:
            result = callback(*args)
            if inspect.isawaitable(result):
                await result
        except Exception:
            self.stats.handler_errors += 1
            log.exception("an acknowledgement's callback failed")

    # One client's packets, in order

    async def _connect(self, connection: Connection, namespace: str, auth: dict[str, Any] | None) -> None:
        if connection.closed:
            return
        known = namespace in self.handlers or namespace in self.namespace_handlers or namespace in self.namespaces
        if not known and "*" not in self.handlers and "*" not in self.namespace_handlers and self.namespaces != "*":
            self._refuse(connection, namespace, {"message": "Invalid namespace"}, "namespace")
            return
        if namespace in connection.clients:
            connection.malformed("connected twice")
            return
        if len(connection.clients) >= self.limits.max_namespaces:
            self._refuse(connection, namespace, {"message": "Too many namespaces"}, "namespaces")
            return
        client = self.manager.begin(connection, namespace)
        refused: dict[str, Any] | None = None
        try:
            accepted = await self._trigger_event("connect", namespace, client.sid, connection.handshake, auth)
            if accepted is False:
                refused = Refused().error_args
        except (Refused, ConnectionRefusedError) as error:  # python-socketio's own, or Python's
            refused = Refused(*error.args).error_args
        except Exception:
            self.stats.handler_errors += 1
            log.exception("a connect handler failed")
            refused = {"message": "internal"}
        if refused is not None:
            self.manager.basic_disconnect(client.sid, namespace)
            self._refuse(connection, namespace, refused, "connect")
            return
        if not connection.closed:
            self.eio.admit(connection)
            answer = {"sid": client.sid, **self.connect_data(client.sid, namespace)}
            connection.send(packets.encode(packets.CONNECT, namespace, None, answer))
        held, client.held = client.held, None
        self.manager.let_in(client)
        for messages in held or ():
            connection.send(messages)

    def _refuse(self, connection: Connection, namespace: str, error: dict[str, Any], reason: str) -> None:
        self.stats.refuse(reason)
        connection.send(packets.encode(packets.CONNECT_ERROR, namespace, None, error))

    async def _event(self, connection: Connection, packet: Packet) -> None:
        client = connection.clients.get(packet.namespace)
        if client is None or client.state != Membership.CONNECTED:
            return  # it was refused, or sent away while this was on its way
        try:
            answer = await self._trigger_event(packet.data[0], packet.namespace, client.sid, *packet.data[1:])
            if answer is self.not_handled:
                answer = _error(UNKNOWN_EVENT)
        except _WrongArguments:
            answer = _error(INVALID)
        except Exception:
            self.stats.handler_errors += 1
            log.exception("the handler of %r failed", packet.data[0])
            answer = _error(INTERNAL)
        self._answer(client, packet.ident, answer)

    def _answer(self, client: Client, ident: int | None, answer: Any) -> None:
        """Acknowledge, in this turn and before anything that is sent after it."""
        if ident is None or client.state != Membership.CONNECTED:
            return
        args = [] if answer is None else list(answer) if isinstance(answer, tuple) else [answer]
        try:
            messages = packets.encode(packets.ACK, client.namespace, ident, args)
        except (TypeError, ValueError):
            self.stats.handler_errors += 1
            log.exception("an answer is not JSON")
            messages = packets.encode(packets.ACK, client.namespace, ident, [_error(INTERNAL)])
        client.connection.send(messages)

    async def _disconnect(self, connection: Connection, namespace: str) -> None:
        client = connection.clients.get(namespace)
        if client is not None:
            await self._leave(client, self.reason.CLIENT_DISCONNECT)

    async def _handle_eio_disconnect(self, connection: Connection, reason: str) -> None:
        connection.partial = None
        for client in list(connection.clients.values()):
            await self._leave(client, reason)

    async def _leave(self, client: Client, reason: str) -> None:
        """Run the client's `disconnect` handler, once, and forget it whatever the handler does."""
        if client.state != Membership.CONNECTED:
            return
        client.state = Membership.LEAVING
        try:
            await self._trigger_event("disconnect", client.namespace, client.sid, reason)
        except Exception:
            self.stats.handler_errors += 1
            log.exception("a disconnect handler failed")
        finally:
            self.manager.basic_disconnect(client.sid, client.namespace)
            if not client.connection.clients:
                self.eio.expel(client.connection)

    # Finding handlers

    async def _trigger_event(self, event: str, namespace: str, *args: Any) -> Any:
        """Run the event's handler. `not_handled` if there is none, _WrongArguments if it takes others."""
        handler, args = self._handler(event, namespace, args)
        if handler is None:
            return self.not_handled
        try:
            result = handler(*args)
        except TypeError:
            if event == "disconnect" and not _takes(handler, args) and _takes(handler, args[:-1]):
                result = handler(*args[:-1])  # without the reason, as python-socketio allows
            elif not _takes(handler, args):
                raise _WrongArguments from None
            else:
                raise
        return await result if inspect.isawaitable(result) else result

    def _handler(self, event: str, namespace: str, args: tuple[Any, ...]) -> tuple[Callable[..., Any] | None, Any]:
        """The handler and its arguments: the namespace's own or its catch-all, then those of the namespace `*`."""
        for key, prefix in ((namespace, ()), ("*", (namespace,))):
            handlers = self.handlers.get(key)
            if handlers:
                if event in handlers and event != "*":
                    return handlers[event], (*prefix, *args)
                if event not in self.reserved_events and "*" in handlers:
                    return handlers["*"], (event, *prefix, *args)
        for key, prefix in ((namespace, ()), ("*", (namespace,))):
            instance = self.namespace_handlers.get(key)
            if instance is not None:
                if type(instance).trigger_event is not socketio.AsyncNamespace.trigger_event:
                    return instance.trigger_event, (event, *prefix, *args)
                return getattr(instance, "on_" + event, None), (*prefix, *args)
        return None, args


def _takes(handler: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    try:
        inspect.signature(handler).bind(*args)
    except TypeError:
        return False
    except ValueError:  # a builtin, of which that is not known
        return True
    return True
