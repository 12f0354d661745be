"""Taking rights back: revoked tokens, expired ones, and what a token allows."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import jwt
import pytest
from aiohttp import web
from socketio.exceptions import ConnectionError as Refused

from app.application import CONNECTIONS, METRICS, assemble
from app.auth import AUDIENCE, Revocations, Tokens
from app.errors import AppError
from app.services.connections import Connections
from app.settings import Settings
from app.storage.mongo import Store
from tests.support import SECRET, TOKENS, Client, Site, message, mint, until


async def test_a_revoked_token_ends_at_once(
    site: Site, store: Store, connect_client: Any, app: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoking a person closes their connections and refuses their tokens; others go on, and so does a new token."""
    old, other = mint("shop", sub="ann"), mint("shop", sub="bob")
    ann: Client = await connect_client(old)
    bob: Client = await connect_client(other)
    await ann.subscribe("shop")
    await bob.subscribe("shop")
    await store.revoke("sub", "ann", time.time() + 1)
    await ann.wait_for(lambda me: not me.connected)
    assert (await site.request("GET", "/api/v1/sessions", token=old)).status == 401
    assert (await site.request("GET", "/api/v1/sessions", token=other)).status == 200
    await site.post("shop", message("1"))
    await bob.has(1)
    assert ann.seqs() == []


async def test_revoked_while_it_connects(
    app: web.Application, site: Site, store: Store, monkeypatch: pytest.MonkeyPatch, connect_client: Any
) -> None:
    """A token that is revoked while its connection is being let in does not stay connected."""
    connect = Connections.connect

    async def revoking(self: Connections, *args: Any, **options: Any) -> None:
        await store.revoke("sub", "ann", time.time() + 1)
        await until(lambda: TOKENS.is_revoked(principal))
        await connect(self, *args, **options)

    token = mint("shop", sub="ann")
    principal = TOKENS.verify(token)
    monkeypatch.setattr(Connections, "connect", revoking)
    with pytest.raises(Refused):
        await connect_client(token)
    assert app[CONNECTIONS].sids == []


def test_a_person_is_let_in_again_by_a_new_token() -> None:
    """A revocation of a person ends what was issued until then; one of a token ends that token alone."""
    tokens = Tokens(SECRET)
    first = tokens.verify(tokens.mint("ann", sessions=["*"], scopes=["read"], lifetime=60))
    second = tokens.mint("ann", sessions=["*"], scopes=["read"], lifetime=60)
    assert first.jti
    tokens.revoke(Revocations({"ann": first.issued - 1}, [first.jti]))
    assert tokens.is_revoked(first)
    assert tokens.verify(second).sub == "ann"
    tokens.revoke(Revocations({"ann": first.issued}))
    with pytest.raises(AppError, match="unauthorized"):
        tokens.verify(second)


def test_secrets_change_without_signing_anybody_out() -> None:
    """The first secret signs, and all verify."""
    old, new = Tokens("a" * 32), Tokens(["b" * 32, "a" * 32])
    assert new.verify(old.mint("ann", sessions=["*"], scopes=["read"], lifetime=60)).sub == "ann"
    assert new.verify(new.mint("bob", sessions=["*"], scopes=["read"], lifetime=60)).sub == "bob"
    with pytest.raises(AppError):
        old.verify(new.mint("bob", sessions=["*"], scopes=["read"], lifetime=60))


@pytest.mark.parametrize(
    "claims", [{"scopes": []}, {}, {"scopes": ["read"], "jti": 7}, {"scopes": ["read"], "iat": "x"}]
)
def test_tokens_that_allow_nothing_are_refused(claims: dict[str, Any]) -> None:
    """A token without any scope is refused, and so is one with claims of the wrong kind."""
    whole = {"sub": "ann", "aud": AUDIENCE, "exp": time.time() + 60, "sessions": ["*"], **claims}
    with pytest.raises(AppError, match="unauthorized"):
        Tokens(SECRET).verify(jwt.encode(whole, SECRET, "HS256"))


async def test_to_mark_is_not_to_read(site: Site, connect_client: Any) -> None:
    """Who may write and not read marks a chat and is told nothing of what was said in it."""
    await site.post("shop", message("secret words", "alice@s.whatsapp.net"))
    client: Client = await connect_client(mint("shop", scopes=("write",)))
    answer = await client.call("mark_read", {"sessionId": "shop", "chatId": "alice@s.whatsapp.net", "seq": 1})
    assert answer["ok"]
    assert (answer["data"]["chat"]["unreadCount"], answer["data"]["chat"]["readSeq"]) == (0, 1)
    assert "secret" not in str(answer)


async def test_an_expired_token_does_nothing_more(site: Site, connect_client: Any) -> None:
    """From the second in which it ends a token allows no command, before the connection is closed for it."""
    await site.post("shop", message("1", "a"))
    client: Client = await connect_client(mint("shop", lifetime=2))
    end = time.time() + 10
    codes = []
    while time.time() < end and client.connected:
        answer = await client.call("mark_read", {"sessionId": "shop", "chatId": "a", "seq": 0})
        codes.append("ok" if answer["ok"] else answer["error"]["code"])
        if codes[-1] != "ok":
            break
        await asyncio.sleep(0.1)
    assert codes[0] == "ok"
    assert codes[-1] == "forbidden"


async def test_one_person_has_a_limited_number_of_connections(
    settings: Settings, store: Store, run_app: Any, connect_client: Any
) -> None:
    """One token does not fill the server: its owner is refused with a reason, others are let in."""
    app = assemble(dataclasses.replace(settings, max_connections_per_sub=2), TOKENS, store)
    site: Site = await run_app(app)
    for _ in range(2):
        await connect_client(mint(sub="ann"), to=site)
    with pytest.raises(Refused):
        await connect_client(mint(sub="ann"), to=site)
    figures = app[METRICS].registry
    assert figures.get_sample_value("roomcast_refused_total", {"reason": "too_many_connections"}) == 1
    await connect_client(mint(sub="bob"), to=site)
