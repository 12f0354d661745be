"""A client's address: the peer's, or the one reported by trusted proxies.

Each proxy appends the address of its peer to `X-Forwarded-For`, or adds another line. All lines together form one
list, which is read from the right: while an address is in `TRUSTED_PROXIES`, the next one is trusted. Everything to
the left of the first untrusted address may be forged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import structlog
from aiohttp import web

from app.hosts import Address, Network, read_address

log = structlog.get_logger(__name__)

MOST_HOPS: Final = 32
"""Maximum number of proxies in a row."""
MOST_PEERS: Final = 16
"""Maximum number of untrusted proxies reported in the log, each once."""
FORWARDING: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto", "Via")
"""Headers added by proxies."""


class Addresses:
    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)
        self._named: set[str] = set()

    def of(self, request: web.Request) -> str:
        """The client's address in its shortest form; IPv4-mapped IPv6 addresses become IPv4."""
        address = read_address(request.remote or "")
        if address is None:
            return request.remote or ""
        if not self._trusts(address):
            if "X-Forwarded-For" in request.headers:
                self._warn(str(address))
            return str(address)
        hops = ",".join(request.headers.getall("X-Forwarded-For", ())).rsplit(",", MOST_HOPS)[-MOST_HOPS:]
        for hop in reversed(hops):
            if not hop.strip():
                continue
            said = read_address(hop)
            if said is None:
                break
            address = said
            if not self._trusts(address):
                break
        return str(address)

    def is_proxy(self, address: str) -> bool:
        """Whether it is the address of a trusted proxy."""
        found = read_address(address)
        return found is not None and self._trusts(found)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _warn(self, peer: str) -> None:
        if peer not in self._named and len(self._named) < MOST_PEERS:
            self._named.add(peer)
            log.warning(
                "proxy_not_trusted",
                proxy=peer,
                hint="This address sends X-Forwarded-For but is not in TRUSTED_PROXIES. If it is a reverse proxy, all "
                "its clients count as one for the limits on addresses: add it to TRUSTED_PROXIES.",
            )
