"""Passes a client's packets to handlers, in order, and answers every acknowledgement request."""

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from socketio.exceptions import ConnectionRefusedError as Refused

from . import packets, reasons
from .connection import Connection
from .connections import Connections
from .handlers import WrongArguments
from .limits import Limits
from .packets import Packet, Partial, ProtocolError
from .rooms import Client, Membership, Rooms
from .stats import Stats

log = logging.getLogger(__name__)

UNKNOWN_EVENT = ("unknown_event", "Unknown event.")
INVALID = ("invalid", "Wrong number of arguments.")
INTERNAL = ("internal", "Something went wrong on the server.")
RATE_LIMITED = ("rate_limited", "Too many events.")

PACKET_BYTES = 8_192
"""A packet counts once, and once more for each such number of bytes, because its cost grows with its size."""


def _error(what: tuple[str, str]) -> dict[str, Any]:
    return {"ok": False, "error": {"code": what[0], "message": what[1]}}


class Dispatcher:
    """Handles incoming packets.

    `trigger(event, namespace, *args)` runs a handler; it returns `not_handled` if there is none and raises
    WrongArguments if there is one for others. `known(namespace)` says whether there is such a namespace.
    """

    def __init__(
        self,
        connections: Connections,
        rooms: Rooms,
        limits: Limits,
        stats: Stats,
        *,
        trigger: Callable[..., Awaitable[Any]],
        not_handled: object,
        known: Callable[[str], bool],
        connect_data: Callable[[str, str], dict[str, Any]],
    ) -> None:
        self._connections, self._rooms, self._limits, self._stats = connections, rooms, limits, stats
        self._trigger, self._not_handled = trigger, not_handled
        self._known, self._connect_data = known, connect_data

    def message(self, connection: Connection, data: str | bytes) -> None:
        """Handle one Engine.IO message at once. A malformed message closes the connection here, without queueing."""
        partial: Partial | None = connection.partial
        self._stats.bytes_received += len(data)
        if isinstance(data, bytes):
            if partial is None:
                raise ProtocolError("attachment out of place")
            packet = partial.add(data, self._limits)
            if packet is None:
                return
            connection.partial = None
        elif partial is not None:
            raise ProtocolError("attachment missing")
        else:
            packet = packets.decode(data, self._limits)
            if packet.kind in (packets.BINARY_EVENT, packets.BINARY_ACK):
                partial = Partial(packet)
                if packet.attachments:
                    connection.partial = partial
                    return
                packet = partial.whole()
        self._stats.packets_received += 1
        self._receive(connection, packet)

    def _receive(self, connection: Connection, packet: Packet) -> None:
        kind, cost = packet.kind, 1 + packet.size // PACKET_BYTES
        client: Client | None = connection.clients.get(packet.namespace)
        if kind in (packets.ACK, packets.BINARY_ACK):
            # Not queued: the handler that waits for it may be blocking the queue.
            callback = (
                client.callbacks.pop(packet.ident, None) if client and client.callbacks and packet.ident else None
            )
            if callback is not None:
                self._connections.tasks.start(self._call_back(callback, packet.data))
            elif not connection.allowance.take(cost):
                self._over_rate(connection, False)
            return
        limits = self._limits
        full = (
            len(connection.inbox) >= limits.max_waiting_events
            or connection.inbox.bytes + packet.size > limits.max_waiting_event_bytes
        )
        if not connection.allowance.take(cost) or full:
            event = kind in (packets.EVENT, packets.BINARY_EVENT)
            self._over_rate(connection, full and not event)
            if connection.closed:
                return
            if event:
                self._stats.rate_limited += 1
                if client is not None:
                    self._answer(client, packet.ident, _error(RATE_LIMITED))
                return
        if kind == packets.CONNECT:
            connection.inbox.put(packet.size, self._connect, connection, packet.namespace, packet.data)
        elif kind == packets.DISCONNECT:
            connection.inbox.put(0, self._disconnect, connection, packet.namespace)
        else:
            connection.inbox.put(packet.size, self._event, connection, packet)

    def _over_rate(self, connection: Connection, unanswerable: bool) -> None:
        """The rate limit was exceeded: answer that, or close the connection if it goes on or cannot be answered."""
        if unanswerable or connection.allowance.overdrawn:
            connection.close(reasons.RATE_LIMITED)

    async def _call_back(self, callback: Callable[..., Any], args: list[Any]) -> None:
        try:
            result = callback(*args)
            if inspect.isawaitable(result):
                await result
        except Exception:
            self._stats.handler_errors += 1
            log.exception("ack_callback_failed")

    # The packets of one client, in order

    async def _connect(self, connection: Connection, namespace: str, auth: dict[str, Any] | None) -> None:
        if connection.closed:
            return
        if not self._known(namespace):
            self._refuse(connection, namespace, {"message": "Invalid namespace"}, "namespace")
            return
        if namespace in connection.clients:
            connection.malformed("connected twice")
            return
        if len(connection.clients) >= self._limits.max_namespaces:
            self._refuse(connection, namespace, {"message": "Too many namespaces"}, "namespaces")
            return
        client = self._rooms.begin(connection, namespace)
        refused: dict[str, Any] | None = None
        try:
            accepted = await self._trigger("connect", namespace, client.sid, connection.handshake, auth)
            if accepted is False:
                refused = Refused().error_args
            else:
                answer = {"sid": client.sid, **self._connect_data(client.sid, namespace)}
                welcome = packets.encode(packets.CONNECT, namespace, None, answer)
        except (Refused, ConnectionRefusedError) as error:  # python-socketio's own, or Python's
            refused = Refused(*error.args).error_args
        except Exception:
            self._stats.handler_errors += 1
            log.exception("connect_handler_failed")
            refused = {"message": "internal"}
        if refused is not None:
            self._rooms.basic_disconnect(client.sid, namespace)
            self._refuse(connection, namespace, refused, "connect")
            return
        if not connection.closed:
            self._connections.admit(connection)
            connection.send(welcome)
        held, client.held = client.held, None
        self._rooms.let_in(client)
        for messages in held or ():
            connection.send(messages)

    def _refuse(self, connection: Connection, namespace: str, error: dict[str, Any], reason: str) -> None:
        self._stats.refuse(reason)
        try:
            messages = packets.encode(packets.CONNECT_ERROR, namespace, None, error)
        except (TypeError, ValueError):
            log.exception("refusal_data_not_json")
            messages = packets.encode(packets.CONNECT_ERROR, namespace, None, {"message": str(error.get("message"))})
        connection.send(messages)

    async def _event(self, connection: Connection, packet: Packet) -> None:
        client: Client | None = connection.clients.get(packet.namespace)
        if client is None or client.state != Membership.CONNECTED:
            return  # it was refused or disconnected meanwhile
        try:
            answer = await self._trigger(packet.data[0], packet.namespace, client.sid, *packet.data[1:])
            if answer is self._not_handled:
                answer = _error(UNKNOWN_EVENT)
        except WrongArguments:
            answer = _error(INVALID)
        except Exception:
            self._stats.handler_errors += 1
            log.exception("event_handler_failed", extra={"event_name": str(packet.data[0])[:80]})
            answer = _error(INTERNAL)
        self._answer(client, packet.ident, answer)

    def _answer(self, client: Client, ident: int | None, answer: Any) -> None:
        """Acknowledge in this turn, before anything sent later."""
        if ident is None or client.state != Membership.CONNECTED:
            return
        args = [] if answer is None else list(answer) if isinstance(answer, tuple) else [answer]
        try:
            messages = packets.encode(packets.ACK, client.namespace, ident, args)
        except (TypeError, ValueError):
            self._stats.handler_errors += 1
            log.exception("answer_not_json")
            messages = packets.encode(packets.ACK, client.namespace, ident, [_error(INTERNAL)])
        client.connection.send(messages)

    async def _disconnect(self, connection: Connection, namespace: str) -> None:
        client: Client | None = connection.clients.get(namespace)
        if client is not None:
            await self.leave(client, reasons.CLIENT_DISCONNECT.text)

    async def disconnected(self, connection: Connection, reason: str) -> None:
        connection.partial = None
        for client in list(connection.clients.values()):
            await self.leave(client, reason)

    async def leave(self, client: Client, reason: str) -> None:
        """Run the client's `disconnect` handler once, and remove the client whatever the handler does."""
        if client.state != Membership.CONNECTED:
            return
        self._rooms.withdraw(client)
        try:
            await self._trigger("disconnect", client.namespace, client.sid, reason)
        except Exception:
            self._stats.handler_errors += 1
            log.exception("disconnect_handler_failed")
        finally:
            self._rooms.basic_disconnect(client.sid, client.namespace)
            if not client.connection.clients:
                self._connections.expel(client.connection)
