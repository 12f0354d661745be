"""Who asks: the token of a request, the origin of a page, the address behind trusted proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from app import schemas
from app.auth import Principal, Tokens
from app.errors import AppError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def bearer(request: web.Request, tokens: Tokens) -> Principal:
    """The owner of the request's token (RFC 6750, in the header alone). Raises AppError `unauthorized`."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer":
        raise AppError("unauthorized", "A token is needed: Authorization: Bearer …")
    return tokens.verify(token.strip())


def session_of(request: web.Request, tokens: Tokens, scope: str) -> str:
    """The session that the path names, where the token has this scope for it.

    Raises AppError: `unauthorized`, `not_found` (what is forbidden looks as what is missing), `invalid`.
    """
    principal = bearer(request, tokens)
    session_id = request.match_info["session_id"]
    if not principal.may(scope, session_id):
        raise AppError("not_found", "Not found, or the token does not allow it.")
    schemas.check_session_id(session_id)
    return session_id


class Origins:
    """Which pages may use the server from a browser.

    Those of `ALLOWED_ORIGINS`; without any, the server's own: the page's host must be the host that the request was
    sent to. A server that listens on loopback alone accepts only hosts that mean this machine, so that a name which
    somebody points here (DNS rebinding) is no origin of ours.
    """

    def __init__(self, allowed: Iterable[str], host: str) -> None:
        self._allowed = frozenset(allowed)
        self._loopback_only = is_loopback(host)

    def allows(self, request: web.Request, origin: str) -> bool:
        origin = origin.lower()
        if self._allowed:
            return origin in self._allowed
        host = (request.headers.get("Host") or "").lower()
        if self._loopback_only and not is_loopback(_without_port(host)):
            return False
        return bool(host) and origin in (f"http://{host}", f"https://{host}")


def middleware(origins: Origins, engine_path: str) -> Middleware:
    """CORS (Fetch standard) for REST. The engine answers for its own path."""

    @web.middleware
    async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is None or request.path.startswith(engine_path):
            return await handler(request)
        good = origins.allows(request, origin)
        if good and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response: web.StreamResponse = web.Response(status=204)
            response.headers["Access-Control-Allow-Methods"] = "GET, POST"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            response.headers["Access-Control-Max-Age"] = "600"
        else:
            response = await handler(request)
        if good and not response.prepared:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Retry-After, X-Request-Id"
        response.headers.add("Vary", "Origin")
        return response

    return cors


class Addresses:
    """The client's address: the peer's, or what trusted proxies say of it (X-Forwarded-For, read from the right)."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)

    def of(self, request: web.Request) -> str:
        address = request.remote or ""
        forwarded = [one.strip() for one in request.headers.get("X-Forwarded-For", "").split(",") if one.strip()]
        while forwarded and self._trusts(address):
            address = forwarded.pop()
        return address

    def _trusts(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._trusted)


def is_loopback(host: str) -> bool:
    """Whether the host, a name or an address, is this machine and cannot be made another by a name server."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] or host if host.count(":") == 1 else host
