"""Counters and gauges as plain numbers, for any metrics library."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stats:
    """Counters since the start, and current numbers. Read-only for users."""

    connections: int = 0
    """Current connections."""
    websockets: int = 0
    """Current connections that use a WebSocket; the others poll."""
    unauthenticated: int = 0
    """Current connections that no connect handler has accepted."""
    congested: int = 0
    """Current connections with more than `Limits.high_water` unsent bytes."""
    opened: dict[str, int] = field(default_factory=lambda: {"polling": 0, "websocket": 0})
    """Connections since the start, by their first transport."""
    upgraded: int = 0
    """Upgrades from polling to a WebSocket."""
    refused: dict[str, int] = field(default_factory=dict)
    """Refused handshakes and CONNECTs, by reason."""
    closed: dict[str, int] = field(default_factory=dict)
    """Closed connections, by reason."""
    packets_received: int = 0
    """Received Socket.IO packets."""
    bytes_received: int = 0
    """Their text and attachments in bytes, decompressed and unmasked."""
    events_sent: int = 0
    """Deliveries: an event to a thousand connections counts as a thousand."""
    bytes_sent: int = 0
    """Bytes of deliveries and acknowledgements, framed and compressed."""
    ephemeral_dropped: int = 0
    """Ephemeral events not delivered because of unsent bytes."""
    congestions: int = 0
    """How often connections became congested."""
    rate_limited: int = 0
    """Client events refused by the rate limit."""
    malformed: int = 0
    """Connections closed because of invalid data."""
    handler_errors: int = 0
    """Exceptions in handlers."""
    failures: int = 0
    """Exceptions and stray cancellations in the engine's timers and tasks, which continued."""

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


class Throttle:
    """Allows one call per second for each key, with a bounded number of keys."""

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
