"""Tokens: JSON Web Tokens (RFC 7519) with HS256 and the audience `roomcast`, and the rights of their owner.

`sub`, `exp` and at least one scope are required; `nbf` is respected; there is no leeway. `iat` is only used for
revocation and for the limit on a token's lifetime, so that a clock that was set back locks nobody out. A token is
revoked by its `jti`, or together with all tokens of its `sub` issued until then; a token without `iat` counts as old.
A token with too long a lifetime is refused, because it could outlive its revocation.
"""

from __future__ import annotations

import base64
import hmac
import math
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import jwt

from app.domain.revocations import Revocation
from app.errors import AppError

AUDIENCE: Final = "roomcast"
ALGORITHM: Final = "HS256"
SCOPES: Final = ("read", "write", "send", "ingest", "deliver")
ALL_SESSIONS: Final = "*"
DAY: Final = 86_400.0
"""In seconds, as lifetimes are."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The owner of a token, its expiry (`exp`, epoch seconds) and rights."""

    sub: str
    exp: float
    name: str | None
    sessions: frozenset[str]
    scopes: frozenset[str]
    jti: str | None = None
    issued: float = 0.0
    """Epoch seconds (`iat`)."""

    def may(self, scope: str, session_id: str) -> bool:
        """Whether the token allows this now. An expired token allows nothing."""
        allowed = ALL_SESSIONS in self.sessions or session_id in self.sessions
        return allowed and scope in self.scopes and not self.expired

    @property
    def expired(self) -> bool:
        return self.exp <= time.time()


MAX_KNOWN: Final = 4_096
"""Size of the cache of verified tokens: a bot sends the same one with each message."""
MAX_TOKEN: Final = 16_384
"""Maximum length of a token, in characters."""


class Tokens:
    def __init__(self, secrets: str | Sequence[str], *, longest: float = math.inf) -> None:
        """The first secret signs; all of them verify. `longest`: the maximum lifetime of a token, in seconds."""
        self._secrets = [secrets.encode()] if isinstance(secrets, str) else [secret.encode() for secret in secrets]
        self._longest = longest
        self._known: dict[str, Principal] = {}
        self._revoked: dict[tuple[str, str], Revocation] = {}
        """By `kind` and `value`."""

    def revoke(self, revocations: Iterable[Revocation]) -> None:
        """Revoke these tokens, in addition to those revoked before."""
        now = time.time()
        self._revoked |= {(one.kind, one.value): one for one in revocations}
        self._revoked = {key: one for key, one in self._revoked.items() if one.until > now}
        self._known = {token: one for token, one in self._known.items() if not self.is_revoked(one)}

    def is_revoked(self, principal: Principal) -> bool:
        of_sub = self._revoked.get(("sub", principal.sub))
        if of_sub is not None and principal.issued <= of_sub.before:
            return True
        return principal.jti is not None and ("jti", principal.jti) in self._revoked

    def mint(
        self,
        sub: str,
        *,
        sessions: Collection[str],
        scopes: Collection[str],
        lifetime: float,
        name: str | None = None,
    ) -> str:
        """A new token that expires after `lifetime` seconds."""
        now = int(time.time())
        claims: dict[str, object] = {"sub": sub, "aud": AUDIENCE, "iat": now, "exp": now + int(lifetime)}
        claims["jti"] = secrets.token_urlsafe(12)
        claims |= {"sessions": list(sessions), "scopes": list(scopes)}
        if name is not None:
            claims["name"] = name
        return jwt.encode(claims, self._secrets[0], ALGORITHM)

    def verify(self, token: object) -> Principal:
        """The token's owner. Raises AppError `unauthorized`, without a reason, which could help an attacker."""
        if isinstance(token, str) and (known := self._known.get(token)) and not known.expired:
            return known
        try:
            principal = self._read(token)
        except (jwt.PyJWTError, _BadClaimError, ValueError, RecursionError, OverflowError) as error:
            raise AppError("unauthorized", "A valid token is required.") from error
        if self.is_revoked(principal):
            raise AppError("unauthorized", "A valid token is required.")
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[str(token)] = principal
        return principal

    def _read(self, token: object) -> Principal:
        if not isinstance(token, str) or len(token) > MAX_TOKEN:
            raise _BadClaimError("token")
        claims = self._decode(token)
        sub, exp, name = claims["sub"], claims["exp"], claims.get("name")
        if not isinstance(sub, str) or not 1 <= len(sub) <= 256:
            raise _BadClaimError("sub")
        if isinstance(exp, bool) or not isinstance(exp, int | float):
            raise _BadClaimError("exp")
        if name is not None and (not isinstance(name, str) or len(name) > 256):
            raise _BadClaimError("name")
        jti, issued = claims.get("jti"), claims.get("iat", 0)
        if jti is not None and not isinstance(jti, str):
            raise _BadClaimError("jti")
        if isinstance(issued, bool) or not isinstance(issued, int | float):
            raise _BadClaimError("iat")
        if exp - min(issued or math.inf, time.time()) > self._longest:
            raise _BadClaimError("exp")
        scopes = _strings(claims, "scopes")
        if not scopes:
            raise _BadClaimError("scopes")
        return Principal(sub, exp, name, _strings(claims, "sessions"), scopes, jti, issued)

    def _decode(self, token: str) -> dict[str, object]:
        claims: dict[str, object] = jwt.decode(
            token,
            self._signer(token),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            options={"require": ["sub", "exp", "aud"], "verify_iat": False},
        )
        return claims

    def _signer(self, token: str) -> bytes:
        """The secret that signed the token. Nothing is parsed before, so a forged token costs no more than this."""
        signed, _, signature = token.encode().rpartition(b".")
        for secret in self._secrets:
            digest = hmac.digest(secret, signed, "sha256")
            if hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"="), signature):
                return secret
        raise _BadClaimError("signature")


class _BadClaimError(Exception):
    pass


def _strings(claims: dict[str, object], key: str) -> frozenset[str]:
    value = claims.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _BadClaimError(key)
    return frozenset(value)
