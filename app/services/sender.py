"""The interface through which services send to clients. `app.engine.Server` implements it; tests use a small fake."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Protocol


class Sender(Protocol):
    def publish(self, event: str, *args: Any, rooms: Iterable[Hashable], ephemeral: bool = False) -> None:
        """Send to all members of the rooms, once each. Does not wait: everything is sent at the end of the turn."""

    def push(self, sid: str, event: str, *args: Any, ephemeral: bool = False) -> None:
        """Send to one connection."""

    def prepare(self, event: str, *args: Any) -> object:
        """Encode an event once, for `push_prepared`."""

    def push_prepared(self, sid: str, events: Sequence[Any]) -> None:
        """Send several prepared events to one connection, in order."""

    def join(self, sid: str, room: Hashable) -> None: ...

    def leave(self, sid: str, room: Hashable) -> None: ...

    def waiting(self, sid: str) -> int:
        """Unsent bytes of the connection."""

    async def drained(self, sid: str) -> bool:
        """Wait until the connection has few unsent bytes. False if it has ended."""

    def is_open(self, sid: str) -> bool:
        """Whether the connection can still be sent to."""

    def close(self, sid: str, reason: str) -> None:
        """Close the transport, after which stock clients reconnect by themselves."""
