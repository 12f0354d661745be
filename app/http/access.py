"""Authorization of requests: the token, its rights, and its request rate.

A valid token is never refused because of invalid ones from the same address.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from app import schemas
from app.auth import Principal, Tokens
from app.errors import AppError
from app.hosts import network_of
from app.http.addresses import Addresses
from app.rates import Rates

REQUEST_BURST_SECONDS: Final = 2
UNAUTHORIZED_BURST_SECONDS: Final = 10


class Access:
    def __init__(self, tokens: Tokens, addresses: Addresses, request_rate: float, unauthorized_rate: float) -> None:
        """`request_rate`: requests per second of one token; `unauthorized_rate`: requests per second without a valid
        token from one address (or IPv6 /64 network)."""
        self._tokens, self._addresses = tokens, addresses
        self._of_token = Rates(request_rate, request_rate * REQUEST_BURST_SECONDS, "Too many requests with this token.")
        self._unauthorized = Rates(
            unauthorized_rate,
            unauthorized_rate * UNAUTHORIZED_BURST_SECONDS,
            "Too many requests without a valid token from this address.",
        )

    def bearer(self, request: web.Request) -> Principal:
        """The owner of the request's token (RFC 6750, in the header only). Raises AppError `unauthorized`,
        `rate_limited`."""
        try:
            kind, _, token = request.headers.get("Authorization", "").partition(" ")
            if kind.lower() != "bearer":
                raise AppError("unauthorized", "A token is required: Authorization: Bearer …")
            token = token.strip()
            principal = self._tokens.verify(token)
        except AppError:
            self._unauthorized.take(network_of(self._addresses.of(request)))
            raise
        self._of_token.take(token)
        return principal

    def session_of(self, request: web.Request, scope: str) -> str:
        """The session in the path, if the token has this scope for it.

        Raises AppError: `unauthorized`, `rate_limited`, `invalid`, `not_found` (forbidden resources answer 404, like
        missing ones).
        """
        self.owner_of(request, scope)
        return request.match_info["session_id"]

    def owner_of(self, request: web.Request, scope: str) -> Principal:
        """The token's owner, if the token has this scope for the session in the path. Raises as above."""
        principal = self.bearer(request)
        session_id = request.match_info["session_id"]
        if not principal.may(scope, session_id):
            raise AppError("not_found", "Not found, or the token does not allow it.")
        schemas.check_session_id(session_id)
        return principal

    def unauthorized(self, request: web.Request, detail: str) -> AppError:
        """The error for a request with other wrong credentials than a token. It counts like an invalid token: raises
        AppError `rate_limited` if there are too many."""
        self._unauthorized.take(network_of(self._addresses.of(request)))
        return AppError("unauthorized", detail)
