"""Decides which pages may use the server from a browser.

- The origins of `PUBLIC_URL` and `ALLOWED_ORIGINS` are allowed.
- Unless `ALLOWED_ORIGINS` is set, so are pages of the server itself: their host and port are those of the Host header.
- A server that listens only on loopback accepts no other Host as its own, because any name can be made to resolve to
  this machine (DNS rebinding). Behind a proxy, `PUBLIC_URL` gives its name.

The scheme of the server's own pages is not compared with the request's, because a proxy in front may use TLS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from app.hosts import is_loopback, origin_on, read_host, read_origin
from app.logs import Limited

MALFORMED: Final = "origin_malformed"
NOT_LISTED: Final = "origin_not_listed"
NOT_OWN: Final = "origin_not_own"
HOST_NOT_LOOPBACK: Final = "origin_host_not_loopback"

HINTS: Final = {
    MALFORMED: "The Origin header is not an origin.",
    NOT_LISTED: "Add the origin to ALLOWED_ORIGINS, or to PUBLIC_URL if it is this server's.",
    NOT_OWN: "Set PUBLIC_URL to the server's public address, or add the origin to ALLOWED_ORIGINS.",
    HOST_NOT_LOOPBACK: "HOST is loopback. Behind a proxy, set PUBLIC_URL to the server's public address.",
}
"""Reason for refusing an origin -> what to do."""

_FIELD_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1000}")


class Origins:
    def __init__(
        self, allowed: Iterable[str], public: Iterable[str], host: str, count: Callable[[str], object]
    ) -> None:
        """`host` is the address the server listens on; `count` is called with the reason of each refusal."""
        listed = [read_origin(origin) for origin in allowed]
        self._only_listed = bool(listed)
        self._allowed = frozenset(filter(None, [*listed, *map(read_origin, public)]))
        self._loopback_only = is_loopback(host)
        self._count = count
        self._log = Limited(structlog.get_logger(__name__).warning)

    def allows(self, request: web.Request, origin: str) -> bool:
        """Whether this page may use the server. A refusal is counted and logged."""
        reason = self._refusal(request.headers.get("Host"), origin)
        if reason is None:
            return True
        self._count(reason)
        host = request.headers.get("Host", "")
        self._log("origin_refused", reason, origin=origin, host=host, hint=HINTS[reason])
        return False

    def _refusal(self, host: str | None, text: str) -> str | None:
        origin = read_origin(text)
        if origin is None:
            return MALFORMED
        if origin in self._allowed:
            return None
        if self._only_listed:
            return NOT_LISTED
        if self._loopback_only and ((own := read_host(host or "")) is None or not is_loopback(own.name)):
            return HOST_NOT_LOOPBACK
        return None if origin.scheme in ("http", "https") and origin == origin_on(origin.scheme, host) else NOT_OWN


def middleware(origins: Origins, engine_path: str) -> Middleware:
    """CORS (Fetch Standard) for REST. The engine answers for its own path.

    Credentials are allowed because load balancers may use cookies for sticky sessions; the server itself reads none.
    """

    @web.middleware
    async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is None or request.path.startswith(engine_path):
            return await handler(request)
        allowed = origins.allows(request, origin)
        if allowed and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            asked = request.headers.get("Access-Control-Request-Headers", "")
            response: web.StreamResponse = web.Response(status=204)
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT"
            response.headers["Access-Control-Allow-Headers"] = (
                asked if _FIELD_NAMES.fullmatch(asked) else "Authorization, Content-Type"
            )
            response.headers["Access-Control-Max-Age"] = "600"
        else:
            response = await handler(request)
        if allowed and not response.prepared:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
            response.headers["Access-Control-Expose-Headers"] = "Retry-After, X-Request-Id"
        if not response.prepared:
            response.headers.add("Vary", "Origin, Access-Control-Request-Headers")
        return response

    return cors
