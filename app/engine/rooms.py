"""A socketio manager on plain dicts, in which each client knows its own rooms.

python-socketio's manager walks through every room of a namespace whenever a client leaves. Here the cost of entering,
leaving and disconnecting depends only on the client's own rooms. A room name can be any hashable value. A list or set
where one name is expected means several names; a tuple is one name.

This overrides every method of `socketio.AsyncManager` 5.18 that touches rooms and can be called through `Server`, few
of which are documented; tests/engine/test_library_pins.py checks for others.
"""

import enum
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from socketio import AsyncManager

from . import packets
from .connection import Connection
from .messages import Message
from .outbox import Outbox, Room, Target

log = logging.getLogger(__name__)


class _Everyone(enum.Enum):
    EVERYONE = "everyone"


EVERYONE = _Everyone.EVERYONE
"""`to=EVERYONE` means all clients of the namespace. An emit without a room is an error."""


class Membership(enum.IntEnum):
    CONNECTING = 0
    CONNECTED = 1
    LEAVING = 2


class Client:
    """One connection in one namespace."""

    __slots__ = ("_last_id", "callbacks", "connection", "held", "namespace", "rooms", "sid", "state")

    def __init__(self, sid: str, namespace: str, connection: Connection) -> None:
        self.sid, self.namespace, self.connection = sid, namespace, connection
        self.state = Membership.CONNECTING
        self.rooms: list[Hashable] = []
        self.callbacks: dict[int, Callable[..., Any]] | None = None
        self.held: list[Sequence[Message]] | None = None  # sent to this client before it was accepted
        self._last_id = 0

    def expect(self, callback: Callable[..., Any], limit: int) -> int:
        """The id of an event that this client should acknowledge."""
        if self.callbacks is None:
            self.callbacks = {}
        elif len(self.callbacks) >= limit:
            del self.callbacks[next(iter(self.callbacks))]
        self._last_id += 1
        self.callbacks[self._last_id] = callback
        return self._last_id


class Rooms(AsyncManager):  # type: ignore[misc]
    """Clients by namespace and id, rooms by namespace and name."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: dict[str, dict[str, Client]] = {}
        # rooms[namespace][None]: all accepted clients, as in the parent class.
        self.rooms: dict[str, dict[Hashable, Room]]

    @property
    def _outbox(self) -> Outbox:
        return self.server.eio.outbox  # type: ignore[no-any-return]

    def client(self, sid: Hashable, namespace: str) -> Client | None:
        clients = self.clients.get(namespace)
        return clients.get(sid) if clients and isinstance(sid, str) else None

    # lookup

    def find(self, namespace: str, names: Iterable[Hashable]) -> tuple[Room, ...]:
        """The non-empty rooms with these names, once each."""
        rooms = self.rooms.get(namespace)
        if rooms is None:
            return ()
        found = tuple([rooms[name] for name in names if name in rooms])
        return found if len(found) < 2 else tuple(dict.fromkeys(found))

    def get_namespaces(self) -> Iterable[str]:
        return list(self.clients)

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        for client in self._members(namespace, room):
            yield client.sid, client.connection.sid

    def _members(self, namespace: str, room: Any) -> list[Client]:
        sids: dict[str, None] = {}
        for name in room if isinstance(room, list | set | frozenset) else (room,):
            client = self.client(name, namespace)
            if client is not None:
                if client.state == Membership.CONNECTED:
                    sids[client.sid] = None
            else:
                sids.update(dict.fromkeys(self.rooms.get(namespace, {}).get(None if name is EVERYONE else name, ())))
        return [self.clients[namespace][sid] for sid in sids]

    def get_rooms(self, sid: str, namespace: str) -> list[Hashable]:
        client = self.client(sid, namespace)
        return [sid, *client.rooms] if client is not None else []

    def is_connected(self, sid: str, namespace: str) -> bool:
        client = self.client(sid, namespace)
        return client is not None and client.state == Membership.CONNECTED and not client.connection.closed

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        connection = self.server.eio.sockets.get(eio_sid)
        client = connection.clients.get(namespace) if connection is not None else None
        return client.sid if client is not None else None

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        client = self.client(sid, namespace)
        return client.connection.sid if client is not None else None

    # connecting and disconnecting

    def begin(self, connection: Connection, namespace: str) -> Client:
        """Add a client that its connect handler has not accepted yet. It can be assigned rooms, but is not in them
        yet."""
        client = Client(self.server.eio.generate_id(), namespace, connection)
        connection.clients[namespace] = client
        self.clients.setdefault(namespace, {})[client.sid] = client
        return client

    def let_in(self, client: Client) -> None:
        """The client is accepted, and can be sent to from now on."""
        client.state = Membership.CONNECTED
        for name in (None, *client.rooms):
            self._room(client.namespace, name)[client.sid] = client.connection

    def withdraw(self, client: Client) -> None:
        """Stop sending to the client. Its `disconnect` handler can still query its rooms."""
        client.state = Membership.LEAVING
        for name in (None, *client.rooms):
            self._drop(client, name)

    def basic_disconnect(self, sid: str, namespace: str, **_kwargs: Any) -> None:
        client = self.client(sid, namespace)
        if client is None:
            return
        if client.state == Membership.CONNECTED:
            self.withdraw(client)
        for name in list(client.rooms):
            self.basic_leave_room(sid, namespace, name)
        client.callbacks = client.held = None
        clients = self.clients[namespace]
        del clients[sid]
        if not clients:
            del self.clients[namespace]
        client.connection.clients.pop(namespace, None)

    def basic_enter_room(self, sid: str, namespace: str, room: Hashable, eio_sid: str | None = None) -> None:
        client = self.client(sid, namespace)
        if client is None:
            raise ValueError("sid is not connected to requested namespace")
        if room is None or room == sid:
            return
        if client.state != Membership.CONNECTED:
            if client.state == Membership.CONNECTING and room not in client.rooms:
                client.rooms.append(room)
            return
        entered = self._room(namespace, room)
        if sid not in entered:
            entered[sid] = client.connection
            client.rooms.append(room)

    def basic_leave_room(self, sid: str, namespace: str, room: Hashable) -> None:
        client = self.client(sid, namespace)
        if client is None or room is None:
            return
        if client.state == Membership.CONNECTED:
            if self._drop(client, room):
                client.rooms.remove(room)
        elif room in client.rooms:
            client.rooms.remove(room)

    def basic_close_room(self, room: Hashable, namespace: str) -> None:
        for sid in list(self.rooms.get(namespace, {}).get(room, ())):
            self.basic_leave_room(sid, namespace, room)

    def _room(self, namespace: str, name: Hashable) -> Room:
        """The room to enter, after flushing what is pending for its present members."""
        rooms = self.rooms.setdefault(namespace, {})
        room = rooms.get(name)
        if room is None:
            room = rooms[name] = Room()
        elif room.pending:
            self._outbox.flush()
        return room

    def _drop(self, client: Client, name: Hashable) -> bool:
        room = self.rooms.get(client.namespace, {}).get(name)
        if room is None or client.sid not in room:
            return False
        if room.pending:
            self._outbox.flush()
        del room[client.sid]
        if not room:
            rooms = self.rooms[client.namespace]
            del rooms[name]
            if not rooms:
                del self.rooms[client.namespace]
        return True

    # sending

    def send_to(self, client: Client, messages: Sequence[Message]) -> None:
        """Send to this client only. Kept until it is accepted, dropped after it has left."""
        if client.state == Membership.CONNECTED:
            client.connection.send(messages)
        elif client.state == Membership.CONNECTING:
            if client.held is None:
                client.held = []
            client.held.append(messages)

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: Any = None,
        skip_sid: Any = None,
        callback: Callable[..., Any] | None = None,
        to: Any = None,
        **_kwargs: Any,
    ) -> None:
        room = room if to is None else to
        args = list(data) if isinstance(data, tuple) else [] if data is None else [data]
        skip = set(skip_sid if isinstance(skip_sid, list | tuple) else (skip_sid,)) - {None}
        alone = self.client(room, namespace) if isinstance(room, str) else None
        if callback is None:
            messages = packets.encode(packets.EVENT, namespace, None, [event, *args])
            if alone is not None:
                if alone.sid not in skip:
                    self.send_to(alone, messages)
                return
            if not skip and not isinstance(room, list | set | frozenset):
                target: Target = self.find(namespace, (None if room is EVERYONE else room,))
                if target:
                    self._outbox.send(target, messages)
                return
            for client in self._members(namespace, room):
                if client.sid not in skip:
                    client.connection.send(messages)
            return
        for client in [alone] if alone is not None else self._members(namespace, room):
            if client.sid not in skip:
                ident = client.expect(callback, self.server.eio.limits.max_callbacks)
                self.send_to(client, packets.encode(packets.EVENT, namespace, ident, [event, *args]))
