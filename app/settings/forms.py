"""Validators for settings. Each returns the effective value, or raises ValueError that says what is expected."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from app.hosts import Network, Origin, read_host, read_origin

SECRET_BYTES: Final = 32
"""A shorter AUTH_SECRET is weaker than HS256 itself (RFC 7518, 3.2)."""

_MEDIA_ORIGIN: Final = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?")
"""A host in a Content-Security-Policy, which cannot express IPv6 addresses (CSP Level 3, 2.3.1)."""
_DATABASE_NAME: Final = re.compile(r'[^/\\. "$*<>:|?\0]{1,63}')
_OWN_DATABASES: Final = ("admin", "config", "local")
"""Reserved by MongoDB."""
_NOT_OF_PAGES: Final = ("ws", "wss", "ftp", "ftps", "mongodb", "data", "blob", "about", "javascript", "mailto")


def one_of(*allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"Must be {', '.join(allowed[:-1])} or {allowed[-1]}.")
        return text

    return check


def file_path(text: str) -> Path:
    return Path(text)


def address_or_name(text: str) -> str:
    """An address without brackets, or a host name; no port."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        host = read_host(text)
        if host is None or host.port is not None or ":" in text:
            raise ValueError("Must be an IP address or a host name, without a port.") from None
    return text


def mongodb_uri(text: str) -> str:
    if not text.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("Must begin with mongodb:// or mongodb+srv://.")
    return text


def redis_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("redis", "rediss", "redis+sentinel"):
        raise ValueError("Must begin with redis://, rediss:// or redis+sentinel://.")
    if parts.scheme == "redis+sentinel" and not parts.path.strip("/"):
        raise ValueError("Must name the service: redis+sentinel://host:26379/service.")
    return text


def database_name(text: str) -> str:
    if not _DATABASE_NAME.fullmatch(text) or text in _OWN_DATABASES:
        raise ValueError('Must be a name without any of /\\. "$*<>:|? and not admin, config or local.')
    return text


def signing_secrets(texts: Sequence[str]) -> list[str] | None:
    secrets = [one.strip() for one in texts if one.strip()]
    if any(len(secret.encode()) < SECRET_BYTES for secret in secrets):
        raise ValueError(f"Each secret must have {SECRET_BYTES} bytes or more (RFC 7518, 3.2).")
    return secrets or None


def public_urls(texts: Sequence[str]) -> tuple[str, ...]:
    origins = _origins(texts)
    if not all(one is not None and one.scheme in ("http", "https") for one in origins):
        raise ValueError("Each must be like https://chat.example.com or http://10.0.0.5:8080, without a path.")
    return tuple(map(str, origins))


def page_origins(texts: Sequence[str]) -> tuple[str, ...]:
    """Origins as browsers and apps send them. A page's scheme is never that of a WebSocket or of mail."""
    origins = _origins(texts)
    if not all(one is not None and one.scheme not in _NOT_OF_PAGES for one in origins):
        raise ValueError(
            "Each must be an origin as browsers send it, like https://example.com, "
            "http://localhost:5173, capacitor://localhost, file:// or null; no path, no wildcard."
        )
    return tuple(map(str, origins))


def media_origins(texts: Sequence[str]) -> tuple[str, ...]:
    origins = tuple(origin.strip().rstrip("/").lower() for origin in texts)
    if not all(map(_MEDIA_ORIGIN.fullmatch, origins)):
        raise ValueError("Each must be like https://media.example.com, with a name or an IPv4 address as host.")
    return origins


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """IPv4-mapped IPv6 networks become IPv4 networks, because clients' addresses do, too."""
    try:
        return tuple(_unmapped(ipaddress.ip_network(text.strip(), strict=False)) for text in texts)
    except ValueError:
        raise ValueError("Each must be an IP address or network, such as 10.0.0.0/8.") from None


def _origins(texts: Sequence[str]) -> list[Origin | None]:
    return [read_origin(_without_slash(one)) for one in texts]


def _without_slash(url: str) -> str:
    url = url.strip()
    return "file://" if url == "file:///" else url if url.endswith("://") else url.removesuffix("/")


def _unmapped(network: Network) -> Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))
