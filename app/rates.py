"""Rates of requests and events per token, address or connection: token buckets in bounded memory."""

from __future__ import annotations

import time
from typing import Final

from app.errors import RateLimited

MAX_KEYS: Final = 10_000


class Rates:
    def __init__(self, rate: float, burst: float, detail: str) -> None:
        """`rate` per second, `burst` at once. `detail` is the message for refused requests."""
        self._rate, self._burst, self._detail = rate, burst, detail
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> None:
        """Count one request. Raises RateLimited. If there are too many keys, the oldest one is forgotten."""
        now = time.monotonic()
        left, since = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        if left < 1:
            self._buckets[key] = left, now
            raise RateLimited(self._detail, (1 - left) / self._rate)
        if len(self._buckets) >= MAX_KEYS:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = left - 1, now
