"""One connection: its owner and its streams."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from app.auth import Principal
from app.services.stream import Stream

FREE_EVENTS: Final = 20_000
"""Missed events that a connection may request before it has to wait."""
EVENTS_PER_SECOND: Final = 1_000
"""How fast the number of requested events decreases again."""


@dataclass(eq=False, slots=True)
class Connection:
    sid: str
    principal: Principal
    pid: str | None = None
    """Its private id, if it requested recovery."""
    generation: int = 0
    """Incremented whenever one of its streams starts or restarts."""
    streams: dict[str, Stream] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    """The task that catches up its streams that are not live."""
    gone: bool = False
    """The connection has ended. Nothing may be started for it any more."""
    _owes: float = 0.0
    _since: float = 0.0

    def subscriptions(self) -> int:
        return sum((stream.whole is not None) + len(stream.chats) for stream in self.streams.values())

    def joined(self) -> dict[Stream, int]:
        """Its live streams, and the publication since which each is live."""
        return {stream: stream.joined for stream in self.streams.values() if stream.live}

    def is_served(self) -> bool:
        """Whether each of its streams is live or catching up. Anything else is a bug, which nobody else would notice:
        the client would just get no events."""
        catching_up = self.task is not None and not self.task.done()
        return catching_up or all(stream.live and not stream.edge.closed for stream in self.streams.values())

    async def charge(self, events: int) -> None:
        """Count a request for `events` missed events; first wait if the connection has requested too many."""
        now = asyncio.get_running_loop().time()
        self._owes = max(0.0, self._owes - (now - self._since) * EVENTS_PER_SECOND)
        self._since = now
        owed, self._owes = self._owes, self._owes + events
        if owed > FREE_EVENTS:
            await asyncio.sleep((owed - FREE_EVENTS) / EVENTS_PER_SECOND)
