"""The `service` event (contract.md, Socket.IO), with a mongod that freezes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from aiohttp import web

from app.application import FOLLOWER
from app.bus import change_stream
from app.services import follower, subscriptions
from app.storage.mongo import Store
from tests.faults.mongods import Driver, Mongod, Single
from tests.support import PATIENCE, Client, Site, message, mint, until


@pytest.fixture
async def mongod(tmp_path: Path) -> AsyncIterator[Mongod]:
    """A mongod that can be frozen without affecting other tests."""
    single = Single(tmp_path / "database")
    try:
        yield (await single.start()).mongod
    finally:
        await single.stop()


@pytest.fixture
async def mongodb_uri(mongod: Mongod) -> str:
    return f"mongodb://127.0.0.1:{mongod.port}/?replicaSet=rs0"


@pytest.fixture
def database_timeout() -> float:
    return 2.0


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frequent `position` events, and time limits for a database on the same machine."""
    monkeypatch.setattr(subscriptions, "POSITION_SECONDS", 0.05)
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr(change_stream, "AWAIT_MS", 100)
    monkeypatch.setattr(change_stream, "ANSWER_SECONDS", 1.0)


def told(client: Client) -> list[bool]:
    return [data["available"] for event, data in client.events if event == "service"]


async def test_told_that_the_database_is_away_and_back(site: Site, mongod: Mongod, connect_client: Any) -> None:
    """Whoever is subscribed to anything is told within some seconds, however they want their events, and told again
    when it is back; whoever is not is told nothing. The beginning and the end are logged, alike."""
    whole: Client = await connect_client()
    chat: Client = await connect_client()
    batches: Client = await connect_client()
    polling: Client = await connect_client(transport="polling")
    idle: Client = await connect_client()
    await whole.subscribe("shop")
    await chat.subscribe("shop", "a")
    await batches.ask("subscribe", sessionId="other", batch=True)
    await polling.subscribe("shop")
    await polling.subscribe("other", "a")
    subscribed = (whole, chat, batches, polling)
    with structlog.testing.capture_logs() as logged:
        mongod.freeze()
        for client in subscribed:
            await client.wait_for(told)
        assert {told(client)[0] for client in subscribed} == {False}
        mongod.thaw()
        for client in subscribed:
            await client.wait_for(lambda me: told(me)[-1])
    outage = [entry for entry in logged if entry["event"].startswith("database_")]
    assert [entry["event"] for entry in outage] == ["database_unavailable", "database_available_again"] * (
        len(outage) // 2
    )
    assert {entry["log_level"] for entry in outage} == {"warning"}
    assert outage[-1]["seconds"] > 0
    await site.post("shop", message("after", "a"))
    for client in (whole, chat, polling):
        await client.has(1)
    await asyncio.gather(*(client.fence() for client in (*subscribed, idle)))
    for client in subscribed:
        *before, last = told(client)
        assert not any(before)
        assert last
    assert idle.events == []


async def test_while_the_database_is_away(site: Site, mongod: Mongod, connect_client: Any) -> None:
    """New subscribers are told as well, and `position` events continue, as always without events."""
    first: Client = await connect_client()
    await first.subscribe("shop")
    mongod.freeze()
    await first.wait_for(told)
    late: Client = await connect_client()
    await late.subscribe("shop")
    await late.wait_for(told)
    assert told(late)[0] is False
    await first.wait_for(lambda me: len(told(me)) == 2)
    mongod.thaw()
    for client in (first, late):
        await client.wait_for(lambda me: told(me)[-1])
    away = [index for index, (event, data) in enumerate(first.events) if data == {"available": False}]
    assert {event for event, _ in first.events[away[0] : away[-1]]} <= {"service", "position", "session"}


async def test_told_while_it_catches_up(
    site: Site, store: Store, mongod: Mongod, connect_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is catching up when the database goes is told so as well, and gets the rest when it is back."""
    client: Client = await connect_client()
    start = await client.subscribe("shop")
    await site.post("shop", {"messages": [message("1"), message("2")]})
    await client.has(1, 2)
    read, frozen = store.read_events, asyncio.Event()

    async def when_frozen(*args: Any) -> Any:
        await frozen.wait()
        return await read(*args)

    monkeypatch.setattr(store, "read_events", when_frozen)
    await client.subscribe("shop", position=start["position"])
    mongod.freeze()
    frozen.set()
    await client.wait_for(told)
    assert told(client) == [False]
    mongod.thaw()
    await client.has(1, 2, 1, 2)
    await client.wait_for(lambda me: told(me)[-1])
    await site.post("shop", message("3"))
    await client.has(1, 2, 1, 2, 3)


async def test_a_broken_stream_alone_tells_nobody(
    app: web.Application, site: Site, mongod: Mongod, database: str, connect_client: Any
) -> None:
    """A change stream whose cursor is killed, and one that ends with an error, are nobody's concern: the database is
    there, and what is stored is pushed."""
    client: Client = await connect_client()
    await client.subscribe("shop")
    watching = app[FOLLOWER].watching
    await watching.wait()
    async with mongod.driver() as driver, asyncio.timeout(PATIENCE):
        while not (found := await _cursors(driver, database)):
            await asyncio.sleep(0.01)  # between two of its reads there may be none
        killed = found[0]["cursor"]["cursorId"]
        await driver[database].command({"killCursors": "bus", "cursors": [killed]})
        while not any(one["cursor"]["cursorId"] != killed for one in await _cursors(driver, database)):
            await asyncio.sleep(0.01)
        while watching.is_set():
            for one in await _cursors(driver, database):
                if "opid" in one:  # it is being waited on
                    await driver.admin.command("killOp", op=one["opid"])
    await until(watching.is_set, "the stream to be open again")
    await site.post("shop", message("after"))
    await client.has(1)
    await client.fence()
    assert told(client) == []


async def _cursors(driver: Driver, database: str) -> list[dict[str, Any]]:
    """The change streams of the test's server."""
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": True, "idleCursors": True}},
        {"$match": {"appName": "roomcast", "ns": f"{database}.bus", "cursor.tailable": True}},
    ]
    return [one async for one in await driver.admin.aggregate(pipeline)]


async def test_signals_need_no_database(site: Site, mongod: Mongod, connect_client: Any) -> None:
    """While the database is away, typing, viewing and the account's state still reach the clients of the server, and
    the state is stored when it is back."""
    ann: Client = await connect_client(mint(scopes=("read", "send")))
    await ann.subscribe("shop", "a")
    await ann.wait_for(lambda me: any(event == "session" for event, _ in me.events))
    mongod.freeze()
    await ann.ask("view", sessionId="shop", chatId="a")
    signals = [
        {"type": "typing", "chatId": "a", "sender": {"id": "a"}, "action": "typing"},
        {"type": "connection", "state": "connecting"},
    ]
    answer = await site.post("shop", {"signals": signals})
    assert answer.status == 200, answer
    await ann.wait_for(lambda me: {"typing", "viewers"} <= {event for event, _ in me.events})
    await ann.wait_for(lambda me: [data for event, data in me.events if event == "session"][-1]["connection"])
    mongod.thaw()

    async def states() -> list[str]:
        answer = await site.get("/api/v1/sessions")
        return [one["connection"]["state"] for one in answer.body["data"]] if answer.status == 200 else []

    async with asyncio.timeout(PATIENCE):
        while await states() != ["connecting"]:
            await asyncio.sleep(0.05)
