"""Hosts, origins and addresses, compared by meaning instead of spelling.

Names are case-insensitive, a missing port is the scheme's default, IPv6 addresses may have any spelling, and
IPv4-mapped IPv6 addresses (RFC 4291, 2.5.5.2) count as IPv4.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Final, NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
_LONGEST: Final = 300


class Host(NamedTuple):
    """A name in lower case or an address in its shortest form without brackets, and a port if one was given."""

    name: str
    port: int | None


class Origin(NamedTuple):
    """What a browser sends as `Origin` (RFC 6454). For `null`, only the scheme is set."""

    scheme: str
    name: str = ""
    port: int | None = None

    def __str__(self) -> str:
        if self.scheme == "null":
            return "null"
        name = f"[{self.name}]" if ":" in self.name else self.name
        shown = "" if self.port in (None, _DEFAULT_PORTS.get(self.scheme)) else f":{self.port}"
        return f"{self.scheme}://{name}{shown}"


@functools.lru_cache(maxsize=4_096)
def read_address(text: str) -> Address | None:
    """An IP address, with or without brackets or port (`10.0.0.1:80`, `[::1]:80`). None if it is not an address."""
    text = text.strip()
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not (port[0] == ":" and _is_port(port[1:]))):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(port):
            return None
    return _address(text)


def read_host(text: str) -> Host | None:
    """The value of a Host header. None if it is not valid."""
    if len(text) > _LONGEST:
        return None
    name, port = text.strip().lower(), None
    if name.startswith("["):
        name, bracket, rest = name[1:].partition("]")
        address = _address(name)
        if not bracket or not isinstance(_address(name, mapped=False), ipaddress.IPv6Address):
            return None
        name = str(address)
        if rest and not rest.startswith(":"):
            return None
        rest = rest[1:]
    else:
        name, _, rest = name.partition(":")
        if not _NAME.fullmatch(name):
            return None
        # A name whose last label is a number must be an IPv4 address (URL Standard, 3.5).
        if name.rstrip(".").rpartition(".")[2].isdigit() and _address(name) is None:
            return None
    if rest:
        if not _is_port(rest):
            return None
        port = int(rest)
    return Host(name, port)


def read_origin(text: str) -> Origin | None:
    """An origin with its port (by default the scheme's). None if it is not an origin that clients send."""
    text = text.strip().lower()
    if text == "null":
        return Origin("null")
    scheme, separator, rest = text.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        return None
    if scheme == "file":
        return Origin("file") if rest == "" else None
    host = read_host(rest)
    if host is None:
        return None
    return Origin(scheme, host.name, host.port or _DEFAULT_PORTS.get(scheme))


def origin_on(scheme: str, host: str | None) -> Origin | None:
    """The origin of a page served with this scheme and Host header."""
    found = read_host(host) if host else None
    return found and Origin(scheme, found.name, found.port or _DEFAULT_PORTS.get(scheme))


@functools.lru_cache(maxsize=4_096)
def network_of(address: str) -> str:
    """The key for limits per address: the address, or its /64 network for IPv6."""
    ip = read_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
    return address if ip is None else str(ip)


def is_loopback(name: str) -> bool:
    """Whether the host (a name or an address) is always this machine, whatever a name server says."""
    name = name.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name.strip("[]"))
    return address is not None and address.is_loopback


def _address(text: str, *, mapped: bool = True) -> Address | None:
    """`mapped`: return IPv4-mapped IPv6 addresses as IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        if mapped and address.ipv4_mapped is not None:
            return address.ipv4_mapped
    return address


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535
