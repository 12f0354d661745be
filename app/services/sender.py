"""What the services need of what sends to clients. `app.engine.Server` is one; tests use a fake of a few lines."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Protocol


class Sender(Protocol):
    def publish(self, event: str, *args: Any, rooms: Iterable[Hashable], ephemeral: bool = False) -> None:
        """Send to everybody in any of the rooms, each once. Nothing is awaited; all of a turn goes out at its end."""

    def push(self, sid: str, event: str, *args: Any, ephemeral: bool = False) -> None:
        """Send to one connection."""

    def prepare(self, event: str, *args: Any) -> object:
        """Encode an event once, for `push_prepared`."""

    def push_prepared(self, sid: str, events: Sequence[Any]) -> None:
        """Send several prepared events to one connection, in order."""

    def join(self, sid: str, room: Hashable) -> None: ...

    def leave(self, sid: str, room: Hashable) -> None: ...

    def waiting(self, sid: str) -> int:
        """Bytes that wait for the connection."""

    async def drained(self, sid: str) -> bool:
        """Wait until little waits for the connection; False when it is gone."""

    def is_open(self, sid: str) -> bool:
        """Whether what is sent to the connection may still reach it."""

    def close(self, sid: str, reason: str) -> None:
        """Close the transport: stock clients come back by themselves."""
