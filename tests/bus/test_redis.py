"""The bus over a real Redis: two servers of one database, and what a bus may lose."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from app.application import FOLLOWER, METRICS, assemble
from app.auth import Tokens
from app.bus import redis as redis_bus
from app.bus.redis import connect
from app.errors import Unavailable
from app.services import follower
from app.settings import Settings
from app.storage.mongo import Store
from app.storage.mongo import connect as connect_store
from tests.bus.redis_server import BINARY, RedisServer
from tests.faults.mongods import free_port
from tests.support import SECRET, Client, Site, message, until

pytestmark = pytest.mark.skipif(BINARY is None, reason="redis-server is not installed, see scripts/need-servers")


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def stores(mongodb_uri: str, database: str, store: Store) -> AsyncIterator[list[Store]]:
    """Of two servers. Their transactions report nothing to the bus over the database."""
    made = [connect_store(mongodb_uri, database, 5, rings=False) for _ in range(2)]
    for one in made:
        await one.prepare(30)
    yield made
    for one in made:
        one.close()


@pytest.fixture
async def servers(
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    redis: RedisServer,
    stores: list[Store],
    run_app: Callable[[web.Application], Awaitable[Site]],
) -> list[tuple[web.Application, Site]]:
    """Two servers of one database. Queries without a reason are so rare that they help nobody in a test."""
    monkeypatch.setattr(follower, "SLOW_SWEEP_SECONDS", 1_000.0)
    made = []
    for one in stores:
        app = assemble(replace(settings, redis_url=redis.url), Tokens(SECRET), one)
        made.append((app, await run_app(app)))
        await app[FOLLOWER].watching.wait()
    return made


def missed(app: web.Application) -> float:
    return app[METRICS].registry.get_sample_value("roomcast_bus_missed_total") or 0.0


async def test_what_one_server_stores_the_other_pushes(
    servers: list[tuple[web.Application, Site]], connect_client: Any
) -> None:
    """In order and once, with small events from the message itself and large ones from the log, to those who follow the
    session and nobody else."""
    (_, here), (app, there) = servers
    client: Client = await connect_client(to=there)
    await client.subscribe("shop")
    await here.post("shop", message("perhaps before the subscription is confirmed"))
    await client.has(1)
    before = missed(app)
    for n in range(4):
        await here.post("shop", message(str(n)))
    await client.has(1, 2, 3, 4, 5)
    await here.post("shop", {"messages": [message("x" * 4_000) for _ in range(10)]})
    await here.post("other", message("of nobody here"))
    await client.has(*range(1, 16))
    assert missed(app) == before


async def test_what_came_before_the_subscription_is_confirmed(
    servers: list[tuple[web.Application, Site]], connect_client: Any
) -> None:
    """Commits from before Redis has confirmed that a session is followed are found by a query."""
    (_, here), (_, there) = servers
    clients: list[Client] = [await connect_client(to=there) for _ in range(5)]
    for n, client in enumerate(clients):
        subscribing = asyncio.create_task(client.subscribe(f"s{n}"))
        await here.post(f"s{n}", message("meanwhile"))
        await subscribing
        await here.post(f"s{n}", message("after"))
        await client.wait_for(lambda me: me.seqs()[-1:] == [2])


async def test_redis_is_restarted(
    servers: list[tuple[web.Application, Site]], connect_client: Any, redis: RedisServer
) -> None:
    """Without Redis events come within a second or two, and directly again when it is back; nobody is told that the
    database is away."""
    (_, here), (app, there) = servers
    client: Client = await connect_client(to=there)
    await client.subscribe("shop")
    await here.post("shop", message("1"))
    await client.has(1)
    await redis.stop()
    await here.post("shop", message("2"))
    await client.has(1, 2)
    await redis.start()
    await until(app[FOLLOWER].watching.is_set, "the bus to be connected again")
    await here.post("shop", message("3"))
    await client.has(1, 2, 3)
    assert not [data for event, data in client.events if event == "service"]


async def test_redis_does_not_answer(
    servers: list[tuple[web.Application, Site]],
    connect_client: Any,
    redis: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Redis that is silent is noticed, and posting goes on meanwhile."""
    monkeypatch.setattr(redis_bus, "SILENT_SECONDS", 1.5)
    (_, here), (app, there) = servers
    client: Client = await connect_client(to=there)
    await client.subscribe("shop")
    redis.freeze()
    assert (await here.post("shop", message("1"))).status == 200
    await client.has(1)
    await until(lambda: not app[FOLLOWER].watching.is_set(), "the silence to be noticed")
    redis.thaw()
    await until(app[FOLLOWER].watching.is_set, "the bus to be connected again")
    await here.post("shop", message("2"))
    await client.has(1, 2)


async def test_a_message_of_a_stranger_is_a_ring_at_most(
    servers: list[tuple[web.Application, Site]], connect_client: Any, redis: RedisServer, store: Store
) -> None:
    """What is not signed by a server of this database is never shown to anybody."""
    (_, here), (_, there) = servers
    client: Client = await connect_client(to=there)
    await client.subscribe("shop")
    await here.post("shop", message("1"))
    await client.has(1)
    channel = f"roomcast:{store.epoch}:session:shop"
    forged = connect(redis.url, store.epoch, "another secret")
    async with Redis.from_url(redis.url) as stranger:
        for raw in (b"", b"hello", b"1" + bytes(32) + b'{"seq":9}'):
            assert await stranger.publish(channel, raw) == 1
        await stranger.publish(f"roomcast:{store.epoch}:due", b"rubbish")
    await forged.close()
    await here.post("shop", message("2"))
    await client.has(1, 2)


async def test_what_cannot_be_used_is_named(redis: RedisServer, tmp_path: Path) -> None:
    """A Redis that is not there or is a cluster is refused at start, with the reason."""
    cluster = RedisServer(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    await cluster.start()
    for url, words in (
        (redis.url, None),
        ("redis://127.0.0.1:1", r"REDIS_URL: .*127\.0\.0\.1:1"),
        (cluster.url, "REDIS_URL: a Redis Cluster is not supported"),
    ):
        bus = connect(url, "e", "s")
        with pytest.raises(Unavailable, match=words) if words else contextlib.nullcontext():
            await bus.check()
        await bus.close()
    await cluster.stop()
