"""Catching up, at the size of a crowd: connections, edges and memory over a fake log and a fake sender."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.metrics import Metrics
from app.services import connection as connection_module
from app.services.background import Background
from app.services.batches import LIST_BYTES
from app.services.closing import EVENTS_GONE, EVENTS_MISSING
from app.services.follower import Follower
from tests.services.fakes import EPOCH, FakeBus
from tests.services.server import Server, opened
from tests.support import until


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.close()


async def test_a_crowd_becomes_live_while_events_go_on(server: Server) -> None:
    """2,000 clients with positions 20 to 500 back, and an event in each turn: all become live, have every event once
    and in order, and the log is read a few times for all of them."""
    server.log.add(1000)
    starts = {f"c{n}": 1000 - 20 - n % 481 for n in range(2000)}
    back = [asyncio.create_task(server.come_back(sid, seq)) for sid, seq in starts.items()]
    answers = asyncio.gather(*back)
    while not answers.done() or server.catching_up:
        server.commit()
        await asyncio.sleep(0)
        assert len(server.log.events["shop"]) < 5000, "it does not converge"
    assert all(answer["recovered"] for answer in answers.result())
    server.commit()
    await server.all_sent()
    last = len(server.log.events["shop"])
    for sid, seq in starts.items():
        assert server.seqs(sid) == list(range(seq + 1, last + 1)), sid
    assert server.log.reads <= 20
    assert not server.sender.closed


async def test_a_slow_database_keeps_nobody_from_becoming_live(server: Server) -> None:
    """However long reads take and however many events come meanwhile, no client reads events again that it was sent."""
    server.log.add(300)
    server.log.answers.clear()
    back = [asyncio.create_task(server.come_back(f"c{n}", 50 + n % 100)) for n in range(200)]
    for _ in range(50):
        await asyncio.sleep(0)
    server.log.answers.set()
    await asyncio.gather(*back)
    for _ in range(5):
        server.log.answers.clear()
        server.commit(40)
        await asyncio.sleep(0)
        server.log.answers.set()
        await asyncio.sleep(0)
    await server.all_live()
    for n in range(200):
        assert server.seqs(f"c{n}") == list(range(51 + n % 100, 501))
    assert server.log.reads <= 20


async def test_many_sessions_are_read_a_few_times_each(server: Server) -> None:
    """2,000 clients of 200 sessions: at most three reads for each session."""
    names = [f"s{n}" for n in range(200)]
    for name in names:
        server.log.add(150, name)
    await asyncio.gather(*(server.come_back(f"c{n}", 120 - n % 100, names[n % 200]) for n in range(2000)))
    await server.all_live()
    for n in range(2000):
        assert server.seqs(f"c{n}", names[n % 200]) == list(range(121 - n % 100, 151))
    assert server.log.reads <= 3 * len(names)


async def test_streams_of_chats_are_filtered_from_memory(server: Server) -> None:
    """A stream of some chats reads the log only below what is in memory, and gets its own chats alone."""
    server.log.add(250, chats=("a", "b", "c"))
    await server.come_back("whole", 0)
    await server.all_live()
    before = server.log.reads
    await asyncio.gather(*(server.come_back(f"c{n}", n, chat_id="b") for n in range(100)))
    await server.all_live()
    server.commit(10, chats=("a", "b", "c"))
    await server.all_sent()
    of_b = [one.seq for one in server.log.events["shop"] if one.chat_id == "b"]
    for n in range(100):
        assert server.seqs(f"c{n}") == [seq for seq in of_b if seq > n]
    assert server.log.reads == before


async def test_memory_is_bounded_and_newcomers_wait() -> None:
    """Events for clients that catch up are never evicted; the limit is kept by letting new clients wait."""
    server = Server(memory=200_000)
    server.log.add(2000)
    sids = [f"c{n}" for n in range(50)]
    await asyncio.gather(*(server.come_back(sid, n * 20) for n, sid in enumerate(sids)))
    for _ in range(100):
        server.commit(3)
        await asyncio.sleep(0)
    await server.all_live()
    server.commit()
    await server.all_sent()
    for n, sid in enumerate(sids):
        assert server.seqs(sid) == list(range(n * 20 + 1, 2302))
    assert server.memory.size <= 200_000
    await server.close()


async def test_a_slow_client_holds_nobody_up(server: Server) -> None:
    """A slow client reads the log separately, later; the others are live meanwhile."""
    server.log.add(3000, text="x" * 500)
    server.sender.slow["slow"] = asyncio.Event()
    await server.come_back("slow", 0)
    await asyncio.gather(*(server.come_back(f"c{n}", 2000) for n in range(20)))
    await until(lambda: server.catching_up == 1)
    assert server.seqs("slow") == []
    server.sender.slow["slow"].set()
    await server.all_live()
    assert server.seqs("slow") == list(range(1, 3001))


async def test_who_asks_again_and_again_waits(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that requests everything repeatedly has to wait, and another one is served meanwhile."""
    monkeypatch.setattr(connection_module, "FREE_EVENTS", 5000)
    monkeypatch.setattr(connection_module, "EVENTS_PER_SECOND", 1)
    server.log.add(4000)
    for start in (0, 1):
        await server.come_back("greedy", start)
        await server.all_live()
    had = len(server.seqs("greedy"))
    await server.come_back("greedy", 0)
    await server.come_back("other", 0)
    await until(lambda: len(server.seqs("other")) == 4000)
    assert len(server.seqs("greedy")) == had == 7999
    assert server.catching_up == 1


async def test_a_repeated_request_begins_nothing_anew(server: Server) -> None:
    """A client whose answer is late asks four times: it gets each event once, and the same answer each time. After
    another request the same one begins anew."""
    server.log.add(300)
    answers = [await server.come_back("c", 100) for _ in range(4)]
    assert answers == [answers[0]] * 4
    await server.all_live()
    server.commit(5)
    await until(lambda: 305 in server.seqs("c"))
    assert await server.come_back("c", 100) == answers[0] | {"position": {"epoch": EPOCH, "seq": 305}}
    assert server.seqs("c") == list(range(101, 306))
    await server.come_back("c", 300)
    await server.come_back("c", 100)
    await until(lambda: server.seqs("c").count(305) >= 2)
    await server.all_live()
    assert server.seqs("c")[-205:] == list(range(101, 306))


async def test_lists_are_bounded_by_bytes(server: Server) -> None:
    """Long texts make lists of few events, live and caught up, so that no list is more than a healthy client takes."""
    server.log.add(50, text="x" * 20_000)
    await server.come_back("c", 0, batch=True)
    await server.all_live()
    server.commit(50, text="x" * 20_000)
    await until(lambda: len(server.seqs("c")) == 100)
    assert server.seqs("c") == list(range(1, 101))
    for name, data in server.sender.got["c"]:
        if name == "events":
            assert len(str(opened(data))) < LIST_BYTES + 25_000


async def test_caught_up_lists_keep_to_one_chat(server: Server) -> None:
    """A stream of several chats gets a list for each run of events of one chat, caught up as live."""
    server.log.add(40, chats=("a", "a", "b", "c"))
    await server.come_back("c", 0, chat_id="a", batch=True)
    await server.come_back("c", 0, chat_id="b", batch=True)
    await server.all_live()
    server.sender.got["c"].clear()
    await server.come_back("c", 0, chat_id="a")
    await server.all_live()
    lists = [opened(data) for name, data in server.sender.got["c"] if name == "events"]
    assert server.seqs("c") == [one.seq for one in server.log.events["shop"] if one.chat_id in "ab"]
    for one in lists:
        assert len({entry["data"]["chatId"] for entry in one}) == 1


async def test_what_the_log_has_lost_is_told(server: Server) -> None:
    """A client that needs expired events is told so on its request, or is closed if they expire while it reads."""
    server.log.add(500)
    del server.log.events["shop"][:100]
    assert (await server.come_back("early", 50))["recovered"] is False
    assert (await server.come_back("late", 100))["recovered"] is True
    del server.log.events["shop"][:250]
    await server.come_back("third", 420)
    await until(lambda: server.sender.closed.get("late") == EVENTS_GONE or server.seqs("late")[-1:] == [500])
    await server.all_live()
    assert server.seqs("third") == list(range(421, 501))
    assert server.seqs("early") == []


async def test_a_database_that_is_away_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that catch up when the database goes away get the rest when it is back, in order and once."""
    monkeypatch.setattr("app.services.catchup.RETRY_SECONDS", 0.001)
    server.log.add(450)
    await server.come_back("watching", 450)
    for n in range(30):
        await server.come_back(f"c{n}", n)
    server.log.away = True
    for _ in range(20):
        await asyncio.sleep(0.001)
    server.log.away = False
    await server.all_live()
    for n in range(30):
        assert server.seqs(f"c{n}") == list(range(n + 1, 451))


async def test_a_lost_session_closes_its_own_connections(server: Server) -> None:
    """Closing a session only touches the connections of that session."""
    for n in range(300):
        await server.connect(f"c{n}")
        await server.subscriptions.subscribe(server.connections.get(f"c{n}"), f"s{n % 100}", None, None)
    edge = server.edges.get("s7")
    assert edge is not None
    edge.lose()
    assert server.sender.closed == {f"c{n}": EVENTS_MISSING for n in (7, 107, 207)}


async def test_a_session_that_was_given_up_is_told_no_position(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions are told a session in each turn; one that is given up in between is not among them."""
    monkeypatch.setattr("app.services.subscriptions.POSITION_SECONDS", 0.001)
    for name in ("s0", "s1"):
        await server.come_back(name, 0, session_id=name)
    await server.all_live()
    publish, other = server.sender.publish, server.edges.get("s1")
    assert other is not None

    def losing(event: str, *args: Any, **options: Any) -> None:
        publish(event, *args, **options)
        if not other.closed:
            other.lose()

    monkeypatch.setattr(server.sender, "publish", losing)
    telling = asyncio.create_task(server.subscriptions.tell_positions())
    await until(lambda: len(server.sender.got["s0"]) > 2)
    telling.cancel()
    assert {event for event, _ in server.sender.got["s0"]} == {"position"}
    assert server.sender.got["s1"] == []


@pytest.mark.parametrize("seed", [random.randrange(2**32) for _ in range(5)])
async def test_whatever_the_order(seed: int) -> None:
    """Clients connect and fall behind, servers write, memory is short: each client gets every event once and in
    order."""
    chance = random.Random(seed)
    print("seed", seed)
    server = Server(memory=chance.choice([100_000, 2**22]))
    server.log.add(chance.randrange(1, 700), chats=("a", "b", "c"))
    since: dict[str, tuple[int, str | None]] = {}
    for step in range(300):
        what = chance.randrange(6)
        if what == 0:
            sid, head = f"c{step}", len(server.log.events["shop"])
            since[sid] = (chance.randrange(max(0, head - 600), head + 1), chance.choice([None, None, "a", "b"]))
            server.log.answers.set()
            await server.come_back(sid, since[sid][0], chat_id=since[sid][1], batch=chance.random() < 0.3)
        elif what == 1 and since:
            server.connections.congested(chance.choice(list(since)))
        elif what == 2:  # another server writes
            server.log.add(chance.randrange(1, 5), chats=("a", "b", "c"))
            server.edges.advance("shop", len(server.log.events["shop"]))
        elif what == 3 and chance.random() < 0.2:
            server.log.answers.clear()
        else:
            server.commit(chance.randrange(1, 8), chats=("a", "b", "c"))
        await asyncio.sleep(0)
    server.log.answers.set()
    server.edges.advance("shop", len(server.log.events["shop"]))
    log = server.log.events["shop"]
    wanted = {
        sid: [one.seq for one in log if one.seq > seq and chat in (None, one.chat_id)]
        for sid, (seq, chat) in since.items()
    }
    for sid, seqs in wanted.items():
        await until(lambda sid=sid, seqs=seqs: len(server.seqs(sid)) >= len(seqs))  # type: ignore[misc]
        assert server.seqs(sid) == seqs, (sid, since[sid])
    assert not server.sender.closed
    await server.close()


# what goes on for ever


async def test_what_ends_a_background_task_is_seen_and_it_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error, a stray cancellation, or a return: it is counted and reported, and the task is restarted."""
    monkeypatch.setattr("app.services.background.PAUSE_SECONDS", 0.001)
    metrics, runs = Metrics(), 0
    background, steady = Background(metrics), asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RuntimeError("of any kind")
        if runs == 2:
            raise asyncio.CancelledError
        if runs == 3:
            return
        steady.set()
        await asyncio.Event().wait()

    background.start("work", work)
    await steady.wait()
    assert metrics.registry.get_sample_value("roomcast_background_failures_total", {"task": "work"}) == 3
    assert background.failing() == ["work"]
    monkeypatch.setattr("app.services.background.STEADY_SECONDS", -1.0)
    assert background.failing() == []
    await background.close()


async def test_everybody_subscribed_is_told_that_the_database_is_away(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live or catching up, whoever has a subscription is told; who has none is not; that it is back is told once."""
    monkeypatch.setattr("app.services.follower.SWEEP_SECONDS", 0.001)
    bus = FakeBus(server.log)
    follower = Follower(bus, bus, server.edges, server.sender, server.metrics)
    server.log.add(300)
    server.sender.slow["behind"] = asyncio.Event()
    await server.come_back("live", 300)
    await server.come_back("behind", 0)
    await server.connect("idle")
    await until(lambda: server.catching_up == 1)
    running = asyncio.create_task(follower.run())
    await bus.heard.wait()
    bus.away()
    for sid in ("live", "behind"):
        await until(lambda sid=sid: ("service", {"available": False}) in server.sender.got[sid])  # type: ignore[misc]
    bus.back()
    for sid in ("live", "behind"):
        await until(lambda sid=sid: ("service", {"available": True}) in server.sender.got[sid])  # type: ignore[misc]
        assert server.sender.got[sid].count(("service", {"available": True})) == 1
    assert server.sender.got["idle"] == []
    running.cancel()
    server.sender.slow["behind"].set()


async def test_what_the_bus_loses_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit of another server that the bus does not report is still pushed, and counted."""
    monkeypatch.setattr("app.services.follower.SLOW_SWEEP_SECONDS", 0.0)
    bus = FakeBus(server.log)
    follower = Follower(bus, bus, server.edges, server.sender, server.metrics)
    await server.come_back("c", 0)
    running = asyncio.create_task(follower.run())
    await bus.heard.wait()
    server.log.add(3)
    bus.beats.set()
    await until(lambda: server.seqs("c") == [1, 2, 3])
    assert server.metrics.registry.get_sample_value("roomcast_bus_missed_total") == 1
    assert server.metrics.registry.get_sample_value("roomcast_bus_connected") == 1
    running.cancel()
