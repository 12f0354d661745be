"""Limits of HTTP connections, and their number per address."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from app.hosts import network_of
from app.logs import Limited

log = structlog.get_logger(__name__)


class Limits:
    """The limits, and the number of connections of each address."""

    def __init__(
        self,
        head_timeout: float,
        stall_timeout: float = 5.0,
        per_address: int | None = None,
        is_proxy: Callable[[str], bool] = lambda address: False,
    ) -> None:
        """`per_address`: None for no limit. `is_proxy`: whether an address is that of a trusted proxy."""
        self.head_timeout, self.stall_timeout = head_timeout, stall_timeout
        self._per_address, self._is_proxy = per_address, is_proxy
        self._of: Counter[str] = Counter()
        self.log = Limited(log.info)

    def opened(self, transport: asyncio.BaseTransport) -> str | None:
        """Count a new connection, until `closed`. Returns the key it is counted for, or None if it exceeds the
        limit."""
        address = str((transport.get_extra_info("peername") or [""])[0])
        who = network_of(address)
        if self._per_address is not None and self._of[who] >= self._per_address and not self._is_proxy(address):
            self.log("connection_reset", "connections_per_address", address=address)
            return None
        self._of[who] += 1
        return who

    def closed(self, who: str) -> None:
        self._of[who] -= 1
        if not self._of[who]:
            del self._of[who]
