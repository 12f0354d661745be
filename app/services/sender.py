"""What the services need of what sends to clients. `app.engine.Server` is one; tests use a fake of a few lines."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Protocol


class Sender(Protocol):
    def publish(self, event: str, *args: Any, rooms: Iterable[Hashable], ephemeral: bool = False) -> None:
        """Send to everybody in any of the rooms, each once. Nothing is awaited; all of a turn goes out at its end."""

    def push(self, sid: str, event: str, *args: Any, ephemeral: bool = False) -> None:
        """Send to one connection."""

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
