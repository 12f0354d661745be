"""The reasons for refusing requests in one table, as seen by clients, counters and the log.

The answer is JSON, `{"code", "message", "reason"}`, with the codes of Engine.IO: 0 transport unknown, 1 session id
unknown, 2 bad handshake method, 3 bad request, 4 forbidden, 5 unsupported protocol version.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from .stats import Stats, Throttle

log = logging.getLogger(__name__)

LOG_SECONDS = 10.0
RETRY = ("Retry-After", "5")


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str
    """The reason in the answer, in `Stats.refused` and in the log."""
    code: int
    message: str
    status: int = 400
    """The HTTP status."""
    hint: str | None = None
    """What an operator may have to do. Refusals without a hint are not logged."""
    closes: bool = False
    """Whether the HTTP connection is closed, because the request has not been read."""
    header: tuple[str, str] | None = None
    body: str | None = None
    """Used instead of the JSON, where the tests of Socket.IO's clients expect the exact answer of its own server."""


TRANSPORT_UNKNOWN = Refusal("transport_unknown", 0, "Transport unknown")
SESSION_UNKNOWN = Refusal("session_unknown", 1, "Session ID unknown", body='{"code":1,"message":"Session ID unknown"}')
SESSION_ELSEWHERE = Refusal(
    "session_elsewhere",
    1,
    "Session ID unknown: it is from another server, or from before a restart",
    hint="Normal after a restart. Otherwise the proxy must send polling clients back to the same server.",
)
BAD_METHOD = Refusal("bad_method", 2, "Bad handshake method")
BAD_REQUEST = Refusal("bad_request", 3, "Bad request")
ENCODED = Refusal("encoded", 3, "Unsupported content encoding: send the body uncompressed", 415, closes=True)
TOO_LARGE = Refusal("too_large", 3, "Payload too large", 413, closes=True, body="")
TIMEOUT = Refusal("timeout", 3, "Request timeout", 408, closes=True)
NO_UPGRADE = Refusal(
    "upgrade_headers_missing",
    3,
    "Bad request: a WebSocket needs the headers Connection and Upgrade",
    hint="A proxy must forward the headers Connection and Upgrade, and use HTTP/1.1 to the server.",
)
WEBSOCKET_VERSION = Refusal(
    "websocket_version", 3, "Unsupported WebSocket version", 426, header=("Sec-WebSocket-Version", "13")
)
ORIGIN = Refusal("origin", 4, "Origin not allowed", 403)
FULL = Refusal(
    "connections",
    4,
    "The server has reached its connection limit",
    503,
    hint="Add servers, or raise the connection limit.",
    header=RETRY,
)
ADDRESS_FULL = Refusal(
    "connections_per_address",
    4,
    "Too many connections from this address",
    429,
    hint="Raise the limit if many clients share an address. Behind a proxy, the server must know the proxy's address.",
    header=RETRY,
)
ENTERING_FULL = Refusal(
    "unauthenticated_per_address",
    4,
    "Too many unauthenticated connections from this address",
    429,
    hint="Clients connect without a token, or verifying tokens takes too long.",
    header=RETRY,
)
STOPPING = Refusal("stopping", 4, "The server is stopping", 503, header=RETRY)
VERSION = Refusal(
    "protocol_version",
    5,
    "Unsupported protocol version: this server speaks Engine.IO 4",
    hint="The client is too old. Use socket.io-client 3 or later, or another client with Engine.IO 4.",
)


class Refused(Exception):
    """Raised to refuse a request."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Refusals:
    """Answers refused requests, and counts and logs them (at most once in ten seconds for each reason)."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._may_log = Throttle(LOG_SECONDS)

    def answer(self, refusal: Refusal, address: str, headers: Mapping[str, str]) -> web.Response:
        self._stats.refuse(refusal.reason)
        if refusal.hint is not None and self._may_log(refusal.reason):
            log.warning("client_refused", extra={"reason": refusal.reason, "address": address, "hint": refusal.hint})
        body = refusal.body
        if body is None:
            body = json.dumps({"code": refusal.code, "message": refusal.message, "reason": refusal.reason})
        response = web.Response(text=body, status=refusal.status, headers=headers, content_type="application/json")
        if refusal.header is not None:
            name, value = refusal.header
            response.headers[name] = value
        if refusal.closes:
            response.force_close()
        return response
