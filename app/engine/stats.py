"""Counters and gauges, plain numbers for whatever metrics library the user has."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stats:
    """What happened since the start, and how many are here now. Read it whenever; never write to it."""

    connections: int = 0
    """Now."""
    websockets: int = 0
    """Of them on a websocket, now; the others poll."""
    unauthenticated: int = 0
    """Of them not let in by a connect handler, now."""
    congested: int = 0
    """Of them with more than `Limits.high_water` bytes waiting, now."""
    opened: dict[str, int] = field(default_factory=lambda: {"polling": 0, "websocket": 0})
    """Connections so far, by the transport they began with."""
    upgraded: int = 0
    """Connections that went from polling to a websocket."""
    refused: dict[str, int] = field(default_factory=dict)
    """Handshakes and CONNECTs refused, by reason."""
    closed: dict[str, int] = field(default_factory=dict)
    """Connections that ended, by reason."""
    packets_received: int = 0
    """Socket.IO packets."""
    bytes_received: int = 0
    """Their text and attachments, inflated and unmasked."""
    events_sent: int = 0
    """Deliveries: an event to a thousand connections counts a thousand."""
    bytes_sent: int = 0
    """Of deliveries and acknowledgements, framed and compressed."""
    ephemeral_dropped: int = 0
    """Deliveries of ephemeral events left out because bytes waited."""
    congestions: int = 0
    """Times that a connection became congested."""
    rate_limited: int = 0
    """Client events refused by the rate limit."""
    malformed: int = 0
    """Connections closed because of invalid data."""
    handler_errors: int = 0
    """Exceptions in handlers."""
    failures: int = 0
    """Exceptions and stray cancellations in the engine's own timers and tasks, which went on."""

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


class Throttle:
    """Says yes at most once a second for each key; remembers a bounded number of keys."""

    def __init__(self, interval: float = 1.0, keys: int = 4_096) -> None:
        self._interval, self._keys = interval, keys
        self._last: dict[str, float] = {}

    def __call__(self, key: str) -> bool:
        now = time.monotonic()
        last = self._last.get(key)
        if last is not None and now - last < self._interval:
            return False
        if len(self._last) >= self._keys:
            self._last = {k: t for k, t in self._last.items() if now - t < self._interval}
            if len(self._last) >= self._keys:
                return False
        self._last[key] = now
        return True
