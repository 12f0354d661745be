"""Socket.IO's connection state recovery, by the unmodified socket.io-client; and batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from aiohttp import web

from app.application import CONNECTIONS, EDGES, ENGINE, FOLLOWER, PUBLICATIONS, RECOVERY
from app.services import connections, follower, recovery, subscriptions
from app.services.catchup import CatchUp
from app.services.edge import Edge
from app.storage.mongo import Store
from tests.proxy import Proxy, Wire
from tests.stock import Stock, stock_client
from tests.support import PATIENCE, Client, Site, failing_once, message, mint, until


@pytest.fixture
async def stock() -> AsyncIterator[Stock]:
    async with stock_client() as client:
        yield client


async def cut(app: web.Application, stock: Stock, times: int) -> None:
    """Break the client's connection from below, as a network does, and wait until it has noticed."""
    for sid in app[CONNECTIONS].sids:
        app[ENGINE].close(sid, "cut by the test")
    await stock.wait_for(lambda me: len(me.all("disconnect")) >= times)


def edge_of(app: web.Application, session_id: str) -> Edge:
    edge = app[EDGES].get(session_id)
    assert edge is not None
    return edge


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids="+".join)
@pytest.mark.parametrize("package", ["socket.io-client", "socket.io-client-4.6"])
async def test_recovers_by_itself(app: web.Application, site: Site, package: str, transports: list[str]) -> None:
    """A stock client, the newest or the oldest that knows of it, comes back recovered over any transport, with its
    subscriptions and all that it missed, before anything new."""
    async with stock_client(package) as stock:
        await stock.open(site, recovery=True, transports=transports)
        await _recovers(app, site, stock)


async def _recovers(app: web.Application, site: Site, stock: Stock) -> None:
    await stock.ask("subscribe", sessionId="one")
    await stock.ask("subscribe", sessionId="two", chatId="b")
    await site.post("one", message("1"))
    await site.post("two", {"messages": [message("1", "a"), message("2", "b")]})
    await stock.has(1, session="one")
    await stock.has(2, session="two")
    await cut(app, stock, 1)
    await site.post("one", {"messages": [message(str(n)) for n in range(150)]})
    await site.post("two", {"messages": [message("3", "b"), message("4", "a"), message("5", "b")]})
    assert await stock.connects(2)
    await site.post("one", message("live"))
    await stock.has(*range(1, 153), session="one")
    await stock.has(2, 3, 5, session="two")


@pytest.mark.parametrize("package", ["socket.io-client", "socket.io-client-4.6"])
async def test_a_lost_poll_is_no_leaving(site: Site, package: str) -> None:
    """The client's poll breaks, which the server is not told. The client posts the close packet `1` and comes back: it
    is recovered, with what it missed."""
    proxy = Proxy("127.0.0.1", int(site.url.rpartition(":")[2]))
    polls: set[Wire] = set()
    closed = asyncio.Event()

    def look(wire: Wire, data: bytes) -> None:
        if data.startswith(b"GET /socket.io/") and b"sid=" in data:
            polls.add(wire)
        elif data.endswith(b"\r\n\r\n1") or data == b"1":
            closed.set()

    proxy.on_up, proxy.on_down = look, lambda wire, _data: polls.discard(wire)  # it has been answered
    await proxy.start()
    async with stock_client(package) as stock:
        await stock.open(Site(f"http://127.0.0.1:{proxy.port}", site.http), recovery=True, transports=["polling"])
        await stock.ask("subscribe", sessionId="shop")
        await site.post("shop", message("before"))
        await stock.has(1)
        await until(lambda: polls)
        for wire in polls:
            wire.abandon()
        async with asyncio.timeout(PATIENCE):
            await closed.wait()
        await site.post("shop", message("missed"))
        assert await stock.connects(2)
        await site.post("shop", message("live"))
        await stock.has(1, 2, 3)
    await proxy.stop()


async def test_recovers_before_the_first_event_and_again_and_again(
    app: web.Application, site: Site, stock: Stock
) -> None:
    """Recovery works before anything was received, and any number of times in a row."""
    await stock.open(site, recovery=True)
    await stock.ask("subscribe", sessionId="shop")
    for round_number in range(1, 5):
        await cut(app, stock, round_number)
        if round_number % 2 == 0:
            await site.post("shop", {"messages": [message("a"), message("b")]})
        assert await stock.connects(round_number + 1)
    await site.post("shop", message("live"))
    await stock.has(1, 2, 3, 4, 5)


async def test_resubscribed_with_a_position_is_what_counts(app: web.Application, site: Site, stock: Stock) -> None:
    """A restarted stream is recovered from its start, whatever the client saw of it before."""
    await stock.open(site, recovery=True)
    answer = await stock.ask("subscribe", sessionId="shop")
    await site.post("shop", {"messages": [message("1"), message("2"), message("3")]})
    await stock.has(1, 2, 3)
    await stock.ask("subscribe", sessionId="shop", position=answer["position"] | {"seq": 1})
    await stock.has(1, 2, 3, 2, 3)
    await cut(app, stock, 1)
    await site.post("shop", message("4"))
    assert await stock.connects(2)
    await stock.has(1, 2, 3, 2, 3, 4)


async def test_cut_while_catching_up(app: web.Application, site: Site, stock: Stock) -> None:
    """A client cut while catching up continues exactly where it was."""
    for first in range(0, 3000, 500):
        await site.post("shop", {"messages": [message(f"{n} " + "x" * 2000) for n in range(first, first + 500)]})
    await stock.open(site, recovery=True)
    start = await stock.ask("subscribe", sessionId="shop")
    await stock.ask("subscribe", sessionId="shop", position=start["position"] | {"seq": 0})
    for cuts, part in enumerate((400, 1300, 2200), 1):
        await stock.wait_for(lambda me, part=part: len(me.seqs()) >= part)
        await cut(app, stock, cuts)
        assert await stock.connects(cuts + 1)
    await site.post("shop", message("live"))
    await stock.has(*range(1, 3002))


async def test_other_rights_recover_nothing(app: web.Application, site: Site, stock: Stock) -> None:
    """A pid belongs to its sub: somebody else's connection with it is new, and gets nothing of it."""
    await stock.open(site, mint("shop", sub="ann"), recovery=True)
    await stock.ask("subscribe", sessionId="shop")
    pid = app[RECOVERY].pids[0]
    async with stock_client() as thief:
        auth: dict[str, Any] = {"token": mint("shop", sub="eve"), "recovery": True, "pid": pid}
        thief.tell("open", site.url, auth, {"transports": ["websocket"]})
        assert not await thief.connects(1)
        await site.post("shop", message("secret"))
        await stock.has(1)
        await thief.ask("unsubscribe", sessionId="shop")
        assert thief.events() == []
    assert pid in app[RECOVERY].pids


async def test_nobody_else_recovers_who_has_gone(app: web.Application, site: Site, stock: Stock) -> None:
    """The pid of a client that has just disconnected is useless to others, and still works for its owner."""
    await stock.open(site, mint("shop", sub="ann"), recovery=True, reconnectionDelay=2000, reconnectionDelayMax=2000)
    await stock.ask("subscribe", sessionId="shop")
    (pid,) = app[RECOVERY].pids
    await cut(app, stock, 1)
    await until(lambda: pid in app[RECOVERY].kept)
    await site.post("shop", message("secret"))
    async with stock_client() as thief:
        auth: dict[str, Any] = {"token": mint("shop", sub="eve"), "recovery": True, "pid": pid}
        thief.tell("open", site.url, auth, {"transports": ["websocket"]})
        assert not await thief.connects(1)
        await thief.ask("unsubscribe", sessionId="shop")
        assert thief.events() == []
    assert await stock.connects(2)
    await stock.has(1)


async def gone_from_two_sessions(app: web.Application, site: Site, stock: Stock) -> dict[str, Any]:
    """A client that has gone after one message in each of two sessions, and missed one of each. What it comes back
    with, but for the token; it does not come back by itself."""
    slow = {"reconnectionDelay": 10_000, "reconnectionDelayMax": 10_000}
    await stock.open(site, mint("one", "two", sub="ann"), recovery=True, **slow)
    for session in ("one", "two"):
        await stock.ask("subscribe", sessionId=session)
        await site.post(session, message("1"))
    await stock.has(1, session="two")
    (pid,) = app[RECOVERY].pids
    await cut(app, stock, 1)
    await until(lambda: pid in app[RECOVERY].kept)
    for session in ("one", "two"):
        await site.post(session, message("2"))
    return {"recovery": True, "pid": pid, "offset": stock.events()[-1][2]}


async def test_one_right_gone_recovers_nothing(app: web.Application, site: Site, stock: Stock) -> None:
    """Who comes back with the right to one of two sessions gets nothing of either before subscribing again."""
    auth = await gone_from_two_sessions(app, site, stock)
    async with stock_client() as again:
        again.tell("open", site.url, auth | {"token": mint("one", sub="ann")}, {"transports": ["websocket"]})
        await again.connects(1)
        await site.post("one", message("3"))
        await again.ask("unsubscribe", sessionId="two")
        assert again.events() == []
        await again.ask("subscribe", sessionId="one")
        await site.post("one", message("4"))
        await again.has(4)


async def test_the_same_rights_recover_all(app: web.Application, site: Site, stock: Stock) -> None:
    """The same with all the rights: it is given what was missed of both, without subscribing."""
    auth = await gone_from_two_sessions(app, site, stock)
    async with stock_client() as again:
        again.tell("open", site.url, auth | {"token": mint("one", "two", sub="ann")}, {"transports": ["websocket"]})
        await again.connects(1)
        await again.has(2, session="one")
        await again.has(2, session="two")


async def test_not_asked_for_means_no_offset(app: web.Application, site: Site, stock: Stock) -> None:
    """A client that does not ask for recovery gets events with one argument, and no pid."""
    await stock.open(site)
    await stock.ask("subscribe", sessionId="shop")
    await site.post("shop", message("1"))
    await stock.has(1)
    assert len(stock.events("new_message")) == 1
    assert {len(event) for event in stock.events()} == {2}
    assert not app[RECOVERY].pids
    await cut(app, stock, 1)
    assert not await stock.connects(2)
    assert not app[RECOVERY].kept


async def test_too_late_for_recovery(app: web.Application, site: Site, stock: Stock) -> None:
    """After RECOVERY_SECONDS nothing comes back: the client is told, and gets nothing before it subscribes again."""
    app[RECOVERY].seconds = 0
    await stock.open(site, recovery=True)
    await stock.ask("subscribe", sessionId="shop")
    await cut(app, stock, 1)
    assert not await stock.connects(2)
    await site.post("shop", message("1"))
    await stock.ask("subscribe", sessionId="shop")
    await site.post("shop", message("2"))
    await stock.has(2)


async def test_no_more_than_may_be_recovered(app: web.Application, site: Site, stock: Stock) -> None:
    """A client that missed RECOVERY_MAX_EVENTS gets all of them; one that missed more is told, and gets none."""
    app[EDGES].max_missed = 5
    await stock.open(site, recovery=True, reconnectionDelay=500, reconnectionDelayMax=500)
    await stock.ask("subscribe", sessionId="shop")
    await cut(app, stock, 1)
    await site.post("shop", {"messages": [message(str(n)) for n in range(1, 6)]})
    assert await stock.connects(2)
    await stock.has(1, 2, 3, 4, 5)
    await cut(app, stock, 2)
    await site.post("shop", {"messages": [message(str(n)) for n in range(6, 12)]})
    assert not await stock.connects(3)
    await stock.ask("subscribe", sessionId="shop")
    await site.post("shop", message("12"))
    await stock.has(1, 2, 3, 4, 5, 12)


async def test_who_goes_on_purpose_is_not_kept(app: web.Application, site: Site, stock: Stock) -> None:
    """A client that closes its socket itself does not mean to come back, and nothing is kept of it."""
    await stock.open(site, recovery=True)
    await stock.ask("subscribe", sessionId="shop")
    stock.tell("close")
    await until(lambda: not app[CONNECTIONS].sids)
    assert not app[RECOVERY].kept
    assert not list(app[EDGES])


async def test_no_more_are_kept_than_may_be(
    app: web.Application, site: Site, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many go, what is kept of them is bounded; the oldest is told that it cannot be recovered."""
    monkeypatch.setattr(recovery, "MAX_KEPT", 1)
    slow = {"reconnectionDelay": 1000, "reconnectionDelayMax": 1000}
    async with stock_client() as older:
        for client in (older, stock):
            await client.open(site, recovery=True, **slow)
            await client.ask("subscribe", sessionId="shop")
        pids = app[RECOVERY].pids
        await cut(app, stock, 1)
        await until(lambda: app[RECOVERY].kept == pids[1:])
        assert await stock.connects(2)
        assert not await older.connects(2)


async def test_batches_hold_everything_in_order(site: Site, stock: Stock, connect_client: Any) -> None:
    """Who asks for batches gets lists of events, the same events, in the same order, live and caught up."""
    plain: Client = await connect_client()
    await plain.subscribe("shop")
    await stock.open(site, recovery=True)
    await stock.ask("subscribe", sessionId="shop", chatId="a", batch=True)
    answer = await stock.ask("subscribe", sessionId="shop", chatId="b")
    await asyncio.gather(*(site.post("shop", message(str(n), "abc"[n % 3])) for n in range(60)))
    await plain.wait_for(lambda me: len(me.seqs()) == 60)
    wanted = [event for event in plain.durable() if event["chatId"] in "ab"]
    await stock.wait_for(lambda me: len(me.seqs()) >= 40)
    got = [{"event": one["event"], **one["data"]} for _, batch, _ in stock.events("events") for one in batch]
    assert got == wanted
    assert not stock.events("new_message")
    await stock.ask("subscribe", sessionId="shop", position=answer["position"] | {"seq": 0})
    await stock.wait_for(lambda me: len(me.seqs()) >= 100)
    assert stock.seqs()[40:] == list(range(1, 61))
    assert len(stock.events("events")[-1][1]) > 1


async def put_back(store: Store, seq: int) -> None:
    """Restore the database to an earlier state."""
    for collection in (store.events, store.messages):
        await collection.delete_many({"sessionId": "shop", "seq": {"$gt": seq}})
    await store.sessions.update_one({"_id": "shop"}, {"$set": {"seq": seq}})


async def test_a_database_that_was_put_back_recovers_nothing(
    app: web.Application, site: Site, store: Store, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client with events that are gone is told so, and gets the events with the same numbers once."""
    monkeypatch.setattr(follower, "HOLE_SECONDS", 0.01)
    await stock.open(site, recovery=True)
    await stock.ask("subscribe", sessionId="shop")
    await site.post("shop", {"messages": [message("1"), message("2"), message("3")]})
    await stock.has(1, 2, 3)
    await put_back(store, 1)
    await app[FOLLOWER].sweep()
    assert not await stock.connects(2)
    assert (await stock.ask("subscribe", sessionId="shop"))["position"]["seq"] == 1
    await site.post("shop", {"messages": [message("other 2"), message("other 3"), message("4")]})
    await stock.has(1, 2, 3, 2, 3, 4)


async def test_a_commit_that_is_shown_late_is_waited_for(
    app: web.Application, site: Site, store: Store, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new primary that shows an old state for a moment costs nobody the connection."""
    await stock.open(site, recovery=True)
    await stock.ask("subscribe", sessionId="shop")
    await site.post("shop", {"messages": [message("1"), message("2"), message("3")]})
    await stock.has(1, 2, 3)
    await store.sessions.update_one({"_id": "shop"}, {"$set": {"seq": 1}})
    ask, answers = store.seqs, []

    async def late(session_ids: Any) -> dict[str, int]:
        answers.append((await ask(session_ids))["shop"])
        await store.sessions.update_one({"_id": "shop"}, {"$set": {"seq": 3}})
        return {"shop": answers[-1]}

    monkeypatch.setattr(store, "seqs", late)
    await app[FOLLOWER].sweep()
    assert answers == [1, 3]
    await site.post("shop", message("4"))
    await stock.has(1, 2, 3, 4)
    assert not stock.all("disconnect")


@pytest.mark.parametrize("recovery", [True, False])
async def test_congested_while_joining(
    app: web.Application, site: Site, stock: Stock, monkeypatch: pytest.MonkeyPatch, recovery: bool
) -> None:
    """A connection that becomes congested in the turn in which it joins a room gets everything once all the same."""
    await stock.open(site, recovery=recovery)
    join = app[ENGINE].join
    joined: list[object] = []

    def congesting(sid: str, room: Any) -> None:
        join(sid, room)
        joined.append(room)
        if len(joined) in (2, 3, 5):
            asyncio.get_running_loop().call_soon(app[CONNECTIONS].congested, sid)

    monkeypatch.setattr(app[ENGINE], "join", congesting)
    await stock.ask("subscribe", sessionId="one")
    for chat in ("a", "b"):
        await stock.ask("subscribe", sessionId="two", chatId=chat)
        await site.post("one", message(chat))
        await site.post("two", {"messages": [message("1", "a"), message("2", "b")]})
    assert len(joined) > 5
    await stock.has(1, 2, session="one")
    await stock.has(1, 3, 4, session="two")
    if recovery:
        await cut(app, stock, 1)
        await site.post("two", {"messages": [message("3", "a"), message("4", "b")]})
        assert await stock.connects(2)
        await stock.has(1, 3, 4, 5, 6, session="two")


async def test_congested_while_joining_the_second_of_two(
    app: web.Application, site: Site, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who becomes congested when one stream is live and the next about to be is live in none of them: else an event of
    the one would say, when it is recovered, that it had what of the other was still to come."""
    await stock.open(site, recovery=True)
    for session in ("one", "two"):
        await stock.ask("subscribe", sessionId=session)
    await cut(app, stock, 1)
    engine, slow = app[ENGINE], asyncio.Event()
    join, drained = engine.join, engine.drained
    joined: list[object] = []

    def congesting(sid: str, room: Any) -> None:
        join(sid, room)
        joined.append(room)
        if len(joined) == 2:
            asyncio.get_running_loop().call_soon(app[CONNECTIONS].congested, sid)

    async def draining(sid: str) -> bool:
        if len(joined) >= 2:
            await slow.wait()
        return await drained(sid)

    monkeypatch.setattr(engine, "join", congesting)
    monkeypatch.setattr(engine, "drained", draining)
    assert await stock.connects(2)
    await until(lambda: len(joined) >= 2)
    for session in ("one", "two"):
        await site.post(session, message("1"))
    await stock.ask("unsubscribe", sessionId="other")
    await cut(app, stock, 2)
    slow.set()
    assert await stock.connects(3)
    await stock.has(1, session="one")
    await stock.has(1, session="two")


async def test_a_failure_while_catching_up(
    app: web.Application, site: Site, store: Store, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong while a client is given what it missed: it comes back and gets it."""
    await site.post("shop", {"messages": [message("1"), message("2")]})
    await stock.open(site, recovery=True)
    position = (await stock.ask("subscribe", sessionId="other"))["position"]
    failures = failing_once(monkeypatch, store, "read_events", RuntimeError("of any kind"))
    stock.tell("emit", 0, "subscribe", {"sessionId": "shop", "position": position})
    assert await stock.connects(2)
    await site.post("shop", message("3"))
    await stock.has(1, 2, 3, session="shop")
    assert not failures


async def test_a_stream_that_is_left_behind_is_found(
    app: web.Application, site: Site, stock: Stock, connect_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should it ever happen that nobody serves a connection, it is closed within seconds, comes back and has all."""
    await stock.open(site, recovery=True)
    await stock.ask("subscribe", sessionId="shop")
    with monkeypatch.context() as patch:
        patch.setattr(CatchUp, "run", AsyncMock())
        for sid in app[CONNECTIONS].sids:
            app[CONNECTIONS].congested(sid)
        await asyncio.sleep(0)
    await site.post("shop", {"messages": [message("1"), message("2")]})
    assert await stock.connects(2)
    await stock.has(1, 2)


async def test_recovers_what_was_gathered_when_another_session_went_on(
    app: web.Application, site: Site, stock: Stock
) -> None:
    """What is gathered for a client that is cut is not taken for sent because another session went on meanwhile."""
    app[PUBLICATIONS].batches.seconds = 3600.0  # nothing that is gathered goes by itself
    await stock.open(site, recovery=True)
    await stock.ask("subscribe", sessionId="one")
    await stock.ask("subscribe", sessionId="two", batch=True)
    await site.post("two", {"messages": [message("1"), message("2")]})
    await site.post("one", message("1"))
    await stock.has(1, session="one")
    await site.post("two", message("3"))
    await cut(app, stock, 1)
    assert await stock.connects(2)
    await site.post("one", message("2"))
    await stock.has(1, 2, session="one")
    await stock.has(1, 2, 3, session="two")


async def test_a_failure_while_recovering(
    app: web.Application, site: Site, store: Store, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong while a client is recovered: it is let in and told, not refused, which would be for good."""
    await stock.open(site, recovery=True)
    await stock.ask("subscribe", sessionId="shop")
    await cut(app, stock, 1)
    with monkeypatch.context() as patch:
        patch.setattr(store, "seq", Mock(side_effect=RuntimeError("of any kind")))
        assert not await stock.connects(2)
    assert not stock.all("refused")
    assert (await stock.ask("subscribe", sessionId="shop"))["position"]["seq"] == 0
    await site.post("shop", message("1"))
    await stock.has(1)


async def test_given_up_while_another_session_is_asked_for(
    app: web.Application, site: Site, store: Store, stock: Stock, connect_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is recovered onto events that are given up while it waits for those of its other sessions."""
    await stock.open(site, recovery=True, reconnectionDelay=500, reconnectionDelayMax=500)
    for session in ("one", "two"):
        await stock.ask("subscribe", sessionId=session)
        await site.post(session, message("1"))
    await stock.has(1, session="two")
    await cut(app, stock, 1)
    other: Client = await connect_client()
    seq, asked = store.seq, []

    async def giving_up(session_id: str) -> int:
        asked.append(session_id)
        if asked == ["one", "two"]:
            edge_of(app, "one").lose()
            await other.subscribe("one")  # somebody else begins it anew
        return await seq(session_id)

    monkeypatch.setattr(store, "seq", giving_up)
    await stock.connects(2)
    assert not await stock.connects(3), "it comes back once more, and is told"
    for session in ("one", "two"):
        await stock.ask("subscribe", sessionId=session)
        await site.post(session, message("2"))
    await stock.has(1, 2, session="one")
    await stock.has(1, 2, session="two")
    await other.has(2)


async def test_what_was_not_acknowledged_is_not_recovered(
    app: web.Application, site: Site, store: Store, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscription under way when the connection ends does not come back: nobody was told that it was made."""
    await stock.open(site, recovery=True, reconnectionDelay=500, reconnectionDelayMax=500)
    await stock.ask("subscribe", sessionId="one")
    seq, asked, go_on = store.seq, asyncio.Event(), asyncio.Event()

    async def waiting(session_id: str) -> int:
        if session_id == "two":
            asked.set()
            await go_on.wait()
        return await seq(session_id)

    monkeypatch.setattr(store, "seq", waiting)
    stock.tell("emit", 0, "subscribe", {"sessionId": "two"})
    await asked.wait()
    await cut(app, stock, 1)
    go_on.set()
    await until(lambda: app[RECOVERY].kept)
    for session in ("one", "two"):
        await site.post(session, message("1"))
    assert await stock.connects(2)
    for session in ("two", "one"):
        await site.post(session, message("2"))
    await stock.has(1, 2, session="one")
    await stock.ask("unsubscribe", sessionId="other")
    assert stock.seqs("two") == []


async def test_a_quiet_client_is_recovered(
    app: web.Application, run_app: Any, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has had nothing for long, while others had much, is recovered exactly: in a quiet session or a quiet chat."""
    monkeypatch.setattr(subscriptions, "POSITION_SECONDS", 0.02)
    monkeypatch.setattr(connections, "EXPIRY_SECONDS", 0.02)
    app[RECOVERY].remember_seconds = 0.05
    site: Site = await run_app(app)
    await stock.open(site, recovery=True)
    await stock.ask("subscribe", sessionId="quiet")
    await stock.ask("subscribe", sessionId="busy", chatId="quiet")
    await site.post("quiet", message("1"))
    await site.post("busy", message("1", "quiet"))
    await stock.has(1, session="quiet")
    await stock.has(1, session="busy")
    async with stock_client() as other:
        await other.open(site)
        await other.ask("subscribe", sessionId="third")
        for session in ("busy", "third"):
            await site.post(session, {"messages": [message(str(n), "loud") for n in range(50)]})
    edge, last = edge_of(app, "busy"), int(stock.events("new_message")[-1][2].split(".")[1])
    await until(lambda: edge.seq_at(last) is None)
    await cut(app, stock, 1)
    await site.post("quiet", message("2"))
    await site.post("busy", {"messages": [message("2", "loud"), message("3", "quiet")]})
    assert await stock.connects(2)
    await stock.has(1, 2, session="quiet")
    await stock.has(1, 53, session="busy")
    assert {len(event) for event in stock.events("position")} == {2}, "what is not stored moves no offset"


async def test_a_late_comer_with_the_same_pid(app: web.Application, site: Site, stock: Stock) -> None:
    """A try to come back that arrives after the next one takes nothing from the client, and gives it nothing twice."""
    slow = {"reconnectionDelay": 10_000, "reconnectionDelayMax": 10_000}
    await stock.open(site, recovery=True, **slow)
    await stock.ask("subscribe", sessionId="shop")
    await site.post("shop", message("1"))
    await stock.has(1)
    (pid,) = app[RECOVERY].pids
    auth: dict[str, Any] = {"token": mint(), "recovery": True, "pid": pid, "offset": stock.events()[-1][2]}
    await cut(app, stock, 1)
    async with stock_client() as second, stock_client() as late, stock_client() as third:
        second.tell("open", site.url, auth, {"transports": ["websocket"]} | slow)
        await second.connects(1)
        await site.post("shop", message("2"))
        await second.has(2)
        late.tell("open", site.url, auth, {"transports": ["websocket"]} | slow)
        await late.has(2)
        offset = second.events()[-1][2]
        third.tell("open", site.url, auth | {"offset": offset}, {"transports": ["websocket"]})
        await third.connects(1)
        await site.post("shop", message("3"))
        await third.has(3)
