"""Who asks: the token of a request, and what it allows."""

from __future__ import annotations

from aiohttp import web

from app import schemas
from app.auth import Principal, Tokens
from app.errors import AppError


def bearer(request: web.Request, tokens: Tokens) -> Principal:
    """The owner of the request's token (RFC 6750, in the header alone). Raises AppError `unauthorized`."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer":
        raise AppError("unauthorized", "A token is needed: Authorization: Bearer …")
    return tokens.verify(token.strip())


def session_of(request: web.Request, tokens: Tokens, scope: str) -> str:
    """The session that the path names, where the token has this scope for it.

    Raises AppError: `unauthorized`, `not_found` (forbidden resources answer 404, like missing ones), `invalid`.
    """
    principal = bearer(request, tokens)
    session_id = request.match_info["session_id"]
    if not principal.may(scope, session_id):
        raise AppError("not_found", "Not found, or the token does not allow it.")
    schemas.check_session_id(session_id)
    return session_id
