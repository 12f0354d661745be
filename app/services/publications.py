"""Sends each event to the rooms of this process, under a publication number.

Recovery (`app.services.recovery`) derives from a publication number how far a client had come in all its sessions.
"""

from __future__ import annotations

import secrets
from typing import Final

from app.domain import rooms
from app.metrics import Metrics
from app.services.batches import Batches
from app.services.memory import Entry
from app.services.sender import Sender


class Publications:
    def __init__(self, sender: Sender, metrics: Metrics, *, batch_events: int, batch_seconds: float) -> None:
        self.process: Final = secrets.token_urlsafe(6)
        """A random name for this process in offsets."""
        self.number = 0
        """The number of the last publication of this process."""
        self.batches = Batches(sender, self.offset, max_events=batch_events, seconds=batch_seconds)
        self._sender, self._metrics = sender, metrics

    def send(self, session_id: str, entry: Entry) -> None:
        """Send the event to the live streams of its session and chat."""
        # A client that sees this event's number must have the events collected in other sessions: recovery relies on
        # it.
        self.batches.flush_others(session_id)
        self.number += 1
        entry.number = self.number
        for kind, more in (("", ()), ("r", (self.offset(self.number),))):
            to = [rooms.session(session_id, kind), *(rooms.chat(session_id, one, kind) for one in entry.chat_ids)]
            self._sender.publish(entry.event, entry.data, *more, rooms=to)
        self.batches.add(session_id, entry)
        self._metrics.events_published.inc()

    def offset(self, number: int) -> str:
        """The publication's offset in Socket.IO's connection state recovery."""
        return f"{self.process}.{number}"
