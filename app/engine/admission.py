"""Admission: limits for all connections, for those of one address, and for unauthenticated ones."""

import functools
import ipaddress
from collections import Counter

from .limits import Limits
from .refusals import ADDRESS_FULL, ENTERING_FULL, FULL, Refusal
from .stats import Stats


@functools.lru_cache(maxsize=4_096)
def whose(address: str) -> str:
    """The key an address is counted under: its /64 network for IPv6; IPv4-mapped addresses count as IPv4."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
    return str(ip)


class Admission:
    """Counts connections. Each call must be undone with its opposite."""

    def __init__(self, limits: Limits, stats: Stats) -> None:
        self._limits, self._stats = limits, stats
        self._all: Counter[str] = Counter()
        self._entering: Counter[str] = Counter()  # not yet accepted by a connect handler

    def refusal(self, address: str) -> Refusal | None:
        """Why another connection of this address must be refused, or None."""
        limits, who = self._limits, whose(address)
        if 0 < limits.max_connections <= self._stats.connections:
            return FULL
        if 0 < limits.max_per_address <= self._all[who]:
            return ADDRESS_FULL
        if 0 < limits.max_unauthenticated_per_address <= self._entering[who]:
            return ENTERING_FULL
        return None

    def opened(self, address: str) -> None:
        self._all[whose(address)] += 1

    def closed(self, address: str) -> None:
        _less(self._all, whose(address))

    def outside(self, address: str) -> None:
        """A connection is waiting for a connect handler."""
        self._stats.unauthenticated += 1
        self._entering[whose(address)] += 1

    def inside(self, address: str) -> None:
        """It is no longer waiting."""
        self._stats.unauthenticated -= 1
        _less(self._entering, whose(address))


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
