"""Tokens: JSON Web Tokens (RFC 7519), HS256, audience `roomcast`, and what their owner may do.

`sub` and `exp` are required, `nbf` is obeyed, there is no leeway. `iat` is not looked at: a clock that was put back
must not lock out those who signed in before.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import jwt

from app.errors import AppError

AUDIENCE: Final = "roomcast"
ALGORITHM: Final = "HS256"
SCOPES: Final = ("read", "write", "ingest")
ALL_SESSIONS: Final = "*"
MAX_KNOWN: Final = 4_096
"""Tokens that are remembered as good: a bot shows the same one with each message."""
MAX_TOKEN: Final = 16_384
"""Characters of a token that we look at."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who signed in, until when (`exp`, epoch seconds), and what they may do."""

    sub: str
    exp: float
    name: str | None
    sessions: frozenset[str]
    scopes: frozenset[str]

    def may(self, scope: str, session_id: str) -> bool:
        return scope in self.scopes and (ALL_SESSIONS in self.sessions or session_id in self.sessions)

    @property
    def expired(self) -> bool:
        return self.exp <= time.time()


class Tokens:
    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._known: dict[str, Principal] = {}

    def mint(
        self,
        sub: str,
        *,
        sessions: Collection[str],
        scopes: Collection[str],
        lifetime: float,
        name: str | None = None,
    ) -> str:
        """A new token that is good for `lifetime` seconds from now."""
        now = int(time.time())
        claims = {"sub": sub, "aud": AUDIENCE, "iat": now, "exp": now + int(lifetime)}
        claims |= {"sessions": list(sessions), "scopes": list(scopes)}
        if name is not None:
            claims["name"] = name
        return jwt.encode(claims, self._secret, ALGORITHM)

    def verify(self, token: object) -> Principal:
        """Who the token belongs to. Raises AppError `unauthorized`, without the reason, which would help to guess."""
        if isinstance(token, str) and (known := self._known.get(token)) and not known.expired:
            return known
        try:
            principal = self._read(token)
        except (jwt.PyJWTError, _BadClaimError, ValueError, RecursionError, OverflowError) as error:
            raise AppError("unauthorized", "A valid token is needed.") from error
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[str(token)] = principal
        return principal

    def _read(self, token: object) -> Principal:
        if not isinstance(token, str) or len(token) > MAX_TOKEN:
            raise _BadClaimError("token")
        claims = jwt.decode(
            token,
            self._secret,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            options={"require": ["sub", "exp", "aud"], "verify_iat": False},
        )
        sub, exp, name = claims["sub"], claims["exp"], claims.get("name")
        if not isinstance(sub, str) or not 1 <= len(sub) <= 256:
            raise _BadClaimError("sub")
        if isinstance(exp, bool) or not isinstance(exp, int | float):
            raise _BadClaimError("exp")
        if name is not None and (not isinstance(name, str) or len(name) > 256):
            raise _BadClaimError("name")
        return Principal(sub, exp, name, _strings(claims, "sessions"), _strings(claims, "scopes"))


class _BadClaimError(Exception):
    pass


def _strings(claims: dict[str, object], key: str) -> frozenset[str]:
    value = claims.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _BadClaimError(key)
    return frozenset(value)
