"""Tokens: which are accepted, and what they allow."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest

from app.auth import Tokens
from app.errors import AppError
from tests.support import SECRET, TOKENS

OTHER_KEY = "another-secret-that-is-long-enough-too"


def claims(**changes: Any) -> dict[str, Any]:
    whole = {"sub": "ann", "aud": "roomcast", "exp": int(time.time()) + 60, "sessions": ["shop"], "scopes": ["read"]}
    return {key: value for key, value in (whole | changes).items() if value is not ...}


def sign(**changes: Any) -> str:
    return jwt.encode(claims(**changes), SECRET, "HS256")


def unsigned(header: Any, body: Any) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, body)]
    return ".".join([*parts, ""])


def test_what_was_minted_is_believed() -> None:
    """A token that we created gives its owner and rights."""
    token = TOKENS.mint("ann", sessions=["shop"], scopes=["read", "ingest"], lifetime=60, name="Ann")
    principal = TOKENS.verify(token)
    assert (principal.sub, principal.name, principal.expired) == ("ann", "Ann", False)
    assert 50 < principal.exp - time.time() <= 60
    assert principal.may("read", "shop")
    assert principal.may("ingest", "shop")
    assert not principal.may("write", "shop")
    assert not principal.may("read", "other")
    assert not principal.may("read", "*")


def test_star_is_every_session() -> None:
    """`*` allows all sessions, within the scopes."""
    principal = TOKENS.verify(TOKENS.mint("ann", sessions=["*"], scopes=["read"], lifetime=60))
    assert principal.may("read", "any")
    assert not principal.may("write", "any")


def test_a_token_that_names_nothing_allows_nothing() -> None:
    """Without sessions a token is valid but allows nothing; unknown claims allow nothing more."""
    for changes in ({"sessions": ...}, {"scopes": ["READ", "admin", "*"]}, {"sessions": ["sho"]}):
        assert not TOKENS.verify(sign(**changes)).may("read", "shop")


GOOD = claims()
BAD = {
    "no token": None,
    "empty": "",
    "bytes": sign().encode(),
    "number": 1,
    "object": {"$ne": 1},
    "not a token": "not.a.token",
    "lone surrogate": "\ud83d.a.b",
    "other secret": jwt.encode(GOOD, OTHER_KEY, "HS256"),
    "other algorithm": jwt.encode(GOOD, SECRET * 2, "HS512"),
    "same secret, HS384": jwt.encode(GOOD, SECRET * 2, "HS384"),
    "unsigned": jwt.encode(GOOD, None, "none"),
    "unsigned None": unsigned({"alg": "None", "typ": "JWT"}, GOOD),
    "no algorithm": unsigned({"typ": "JWT"}, GOOD),
    "signature cut": sign()[:-4],
    "signature gone": sign().rpartition(".")[0] + ".",
    "body changed": ".".join(
        [sign().split(".")[0], unsigned({}, claims(sub="bob")).split(".")[1], sign().split(".")[2]],
    ),
    "expired": sign(exp=int(time.time()) - 1),
    "expired now": sign(exp=int(time.time())),
    "not yet valid": sign(nbf=int(time.time()) + 60),
    "other audience": sign(aud="elsewhere"),
    "no audience": sign(aud=...),
    "no sub": sign(sub=...),
    "no exp": sign(exp=...),
    "empty sub": sign(sub=""),
    "long sub": sign(sub="x" * 257),
    "exp of text": sign(exp=str(int(time.time()) + 60)),
    "exp is true": sign(exp=True),
    "exp is null": sign(exp=None),
    "sessions of text": sign(sessions="shop"),
    "sessions of numbers": sign(sessions=[1]),
    "scopes of an object": sign(scopes={"read": True}),
    "name of a list": sign(name=["Ann"]),
    "too long": sign(more="x" * 20_000),
    "too deep": f"{'W3' * 4000}.e30.e30",
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD)
def test_no_other_token_is_believed(token: Any) -> None:
    """Any other token is refused with the same message, which does not help to guess."""
    with pytest.raises(AppError) as error:
        TOKENS.verify(token)
    assert error.value.code == "unauthorized"
    assert error.value.detail == "A valid token is required."


def test_exp_beyond_numbers() -> None:
    """An exp that is no number, or endless, is refused and does not raise something else."""
    for exp in (float("inf"), float("nan"), -float("inf")):
        with pytest.raises(AppError, match="unauthorized"):
            TOKENS.verify(jwt.encode(claims(exp=exp), SECRET, "HS256"))


def test_clock_that_was_put_back() -> None:
    """Tokens from before the clock was set back are still accepted."""
    assert TOKENS.verify(sign(iat=int(time.time()) + 3600)).sub == "ann"


def test_expiry_is_to_the_second() -> None:
    """There is no leeway, and a fraction counts."""
    principal = TOKENS.verify(sign(exp=time.time() + 30.5))
    assert not principal.expired
    assert principal.exp % 1 != 0


def test_another_secret_is_another_world() -> None:
    """A token signed with another secret is refused."""
    theirs = Tokens(OTHER_KEY).mint("ann", sessions=["*"], scopes=["read"], lifetime=60)
    with pytest.raises(AppError, match="unauthorized"):
        TOKENS.verify(theirs)
