"""Revoked tokens, expired tokens, and the rights of tokens."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from pymongo import MongoClient
from socketio.exceptions import ConnectionError as Refused

from app.application import CONNECTIONS, METRICS, assemble
from app.auth import AUDIENCE, DAY, Tokens
from app.domain.revocations import Revocation
from app.errors import AppError
from app.services.connections import Connections
from app.settings import Settings
from app.storage.mongo import Store, connect
from tests.support import SECRET, TOKENS, Client, Site, message, mint, until


def of_sub(sub: str, seconds: float = 3600) -> Revocation:
    """A revocation of all the person's tokens issued up to the next second, kept for `seconds`."""
    return Revocation("sub", sub, time.time() + 1, time.time() + seconds)


async def test_a_revoked_token_ends_at_once(
    site: Site, store: Store, connect_client: Any, app: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoking a person closes their connections and refuses their tokens; others go on, and so does a new token."""
    old, other = mint("shop", sub="ann"), mint("shop", sub="bob")
    ann: Client = await connect_client(old)
    bob: Client = await connect_client(other)
    await ann.subscribe("shop")
    await bob.subscribe("shop")
    await store.revoke(of_sub("ann"))
    await ann.wait_for(lambda me: not me.connected)
    assert (await site.request("GET", "/api/v1/sessions", token=old)).status == 401
    assert (await site.request("GET", "/api/v1/sessions", token=other)).status == 200
    await site.post("shop", message("1"))
    await bob.has(1)
    assert ann.seqs() == []


async def test_revoked_while_it_connects(
    app: web.Application, site: Site, store: Store, monkeypatch: pytest.MonkeyPatch, connect_client: Any
) -> None:
    """A connection whose token is revoked while it connects is refused."""
    connect = Connections.connect

    async def revoking(self: Connections, *args: Any, **options: Any) -> None:
        await store.revoke(of_sub("ann"))
        while (await site.request("GET", "/api/v1/sessions", token=token)).status != 401:
            await asyncio.sleep(0.05)
        await connect(self, *args, **options)

    token = mint("shop", sub="ann")
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
    until = time.time() + 60
    tokens.revoke(
        [Revocation("sub", "ann", first.issued - 1, until), Revocation("jti", first.jti, first.issued, until)]
    )
    assert tokens.is_revoked(first)
    assert tokens.verify(second).sub == "ann"
    tokens.revoke([Revocation("sub", "ann", first.issued, until)])
    with pytest.raises(AppError, match="unauthorized"):
        tokens.verify(second)


@pytest.fixture
async def two_stores(mongodb_uri: str, database: str) -> AsyncIterator[list[Store]]:
    """The stores of two servers on one database, closed after the applications."""
    stores = [connect(mongodb_uri, database, 5) for _ in range(2)]
    for store in stores:
        await store.prepare(30)
    yield stores
    for store in stores:
        store.close()


async def test_each_server_reads_a_revocation_once(
    settings: Settings, two_stores: list[Store], connect_client: Any, run_app: Any, monkeypatch: Any
) -> None:
    """Two servers on one database apply a revocation of either kind made on either of them, and each reads it once."""
    read: dict[Store, list[str]] = {}
    revocations = Store.revocations

    async def reading(self: Store, number: int) -> tuple[int, list[Revocation]]:
        last, found = await revocations(self, number)
        read.setdefault(self, []).extend(one.value for one in found)
        return last, found

    monkeypatch.setattr(Store, "revocations", reading)
    stores = two_stores
    await asyncio.gather(*(stores[n % 2].revoke(of_sub(f"old{n}")) for n in range(8)))
    sites = [await run_app(assemble(settings, Tokens(SECRET), store)) for store in stores]
    clients: list[Client] = [await connect_client(mint(sub="ann"), to=site) for site in sites]
    one = mint(sub="bob")
    bob: Client = await connect_client(one, to=sites[1])
    other: Client = await connect_client(mint(sub="bob"), to=sites[1])
    await stores[0].revoke(of_sub("ann"))
    for client in clients:
        await client.gone()
    await stores[1].revoke(Revocation("jti", Tokens(SECRET).verify(one).jti or "", 0, time.time() + 60))
    await bob.gone()
    await until(lambda: all(len(found) == 10 for found in read.values()))
    assert (await sites[0].request("GET", "/api/v1/sessions", token=one)).status == 401
    assert [len(set(read[store])) for store in stores] == [10, 10]
    assert other.connected


async def test_a_revocation_is_kept_as_long_as_a_token_could_live(
    store: Store, database: str, mongodb_uri: str
) -> None:
    """The database is told to remove each when no token that it ends can be good any more; the longest stays."""
    long = of_sub("ann")
    await store.revoke(of_sub("bob"))
    await store.revoke(long)
    await store.revoke(of_sub("ann", seconds=10))
    number, found = await store.revocations(1)
    assert number == 3
    assert [(one.value, round(one.until)) for one in found] == [("ann", round(long.until))]
    assert await store.revocations(number) == (number, [])
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        collection = client[database]["revocations"]
        indexes = collection.index_information().values()
        assert [one["key"] for one in indexes if one.get("expireAfterSeconds") == 0] == [[("until", 1)]]
        assert collection.count_documents({"until": {"$type": "date"}}) == 2


def test_a_revocation_ends_with_the_tokens_that_it_ended() -> None:
    """What is kept of revocations does not grow for good."""
    tokens = Tokens(SECRET)
    principal = tokens.verify(tokens.mint("ann", sessions=["*"], scopes=["read"], lifetime=60))
    tokens.revoke([of_sub("ann", seconds=-1)])
    assert not tokens.is_revoked(principal)
    tokens.revoke([of_sub("ann")])
    assert tokens.is_revoked(principal)


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"exp": 9 * DAY}, True),
        ({"exp": 11 * DAY}, False),
        ({"exp": 9 * DAY, "iat": 0}, True),
        ({"exp": 2 * DAY, "iat": -7 * DAY}, True),
        ({"exp": 2 * DAY, "iat": -9 * DAY}, False),
        ({"exp": 11 * DAY, "iat": 5 * DAY}, False),
    ],
)
def test_tokens_that_outlive_their_revocation_are_refused(claims: dict[str, float], good: bool) -> None:
    """The lifetime of a token is limited, from its time of issue and from now."""
    times = {name: time.time() + seconds for name, seconds in claims.items()}
    whole = {"sub": "ann", "aud": AUDIENCE, "sessions": ["*"], "scopes": ["read"], **times}
    tokens = Tokens(SECRET, longest=10 * DAY)
    if good:
        assert tokens.verify(jwt.encode(whole, SECRET, "HS256")).sub == "ann"
    else:
        with pytest.raises(AppError, match="unauthorized"):
            tokens.verify(jwt.encode(whole, SECRET, "HS256"))


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
    """With `write` but without `read`, a chat can be marked, but its content is not returned."""
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
