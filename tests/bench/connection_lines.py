"""The lines about connections: what one costs to make, to keep and to move between rooms; the whole application."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import AsyncExitStack
from typing import Any

from tests.bench import servers, table
from tests.bench.ingest_lines import SESSION, subscribers
from tests.bench.lines import NODE, US, Bench, alternating
from tests.bench.servers import SECRET, Process

IDLE = 5_000
NEW = 2_000
OTHER_ROOMS = (100, 10_000)
MOVERS, MOVES = 200, 17
"""Clients that leave and join, and how often each: together no more packets than it may send at once."""
ROOMS_OF_ONE = 36
"""Rooms that one client may subscribe to at once, likewise."""
DEFLATE_TEXT = 55
"""Letters of a message whose event has about 770 bytes."""


async def memory(bench: Bench) -> None:
    """What the process grew by, for each of 5,000 connections that are signed in, subscribed and idle."""
    count = bench.size(IDLE, 500)
    for deflate in (False, True):
        line = table.line(
            bench,
            "memory",
            "memory_deflate" if deflate else None,
            count=count,
            offered="offered" if deflate else "not offered",
        )
        for number in range(1 if bench.quick else min(bench.rounds, 3)):
            bench.say(f"{line.title}: round {number + 1}")
            round_: dict[str, Any] = {"busy": 0.0}
            async with servers.application(bench.uri, bench.database()) as app:
                round_[US] = await _grown_by(bench, app, count, deflate)
            environ = {"DEFLATE": "1"} if deflate else {}
            async with servers.node_socketio(SECRET=SECRET, **environ) as node:
                round_[NODE] = await _grown_by(bench, node, count, deflate)
            line.rounds.append(round_)


async def _grown_by(bench: Bench, server: Process, count: int, deflate: bool) -> float:
    """kB for each connection."""
    await subscribers(bench, "few", server, 100, deflate=deflate)
    await bench.load.ask(do="close", group="few")
    await asyncio.sleep(1)
    before = server.rss()
    await subscribers(bench, "idle", server, count, deflate=deflate)
    await asyncio.sleep(bench.seconds(3.0, 1.0))
    after = server.rss()
    await bench.load.ask(do="close", group="idle")
    return (after - before) / count / 1000


async def arrivals(bench: Bench) -> None:
    """New connections a second."""
    count = bench.size(NEW, 300)
    line = table.line(bench, "connections", count=count)
    async with AsyncExitStack() as stack:
        peers = {
            US: await stack.enter_async_context(servers.application(bench.uri, bench.database())),
            NODE: await stack.enter_async_context(servers.node_socketio(SECRET=SECRET)),
        }
        for number in range(bench.rounds):
            bench.say(f"{line.title}: round {number + 1} of {bench.rounds}")
            round_: dict[str, Any] = {"busy": 0.0, "cpu": {}}
            for name in alternating(number, list(peers)):
                cpu = peers[name].cpu()
                found = await subscribers(bench, "new", peers[name], count)
                cpu = peers[name].cpu() - cpu
                await bench.load.ask(do="close", group="new")
                await asyncio.sleep(bench.seconds(1.0, 0.3))  # it forgets them
                round_[name] = count / found["seconds"]
                round_["cpu"][name] = count / cpu
                round_["busy"] = max(round_["busy"], found["busy"])
            line.rounds.append(round_)


async def heartbeats(bench: Bench) -> None:
    """CPU of idle connections; both at the same time, since it is the time on the core that is counted."""
    count = bench.size(IDLE, 500)
    seconds = bench.seconds(56.0, 11.0)
    interval = bench.seconds(25.0, 5.0)
    line = table.line(bench, "heartbeats", count=count, seconds=seconds, interval=interval)
    async with AsyncExitStack() as stack:
        peers = {
            US: await stack.enter_async_context(
                servers.application(bench.uri, bench.database(), PING_INTERVAL=f"{interval:g}")
            ),
            NODE: await stack.enter_async_context(servers.node_socketio(SECRET=SECRET, PING_INTERVAL=f"{interval:g}")),
        }
        for name, server in peers.items():
            await subscribers(bench, name, server, count)
        await bench.load.ask(do="idle", seconds=interval + 1)
        for number in range(1 if bench.quick else min(bench.rounds, 3)):
            bench.say(f"{line.title}: round {number + 1}")
            before = {name: server.cpu() for name, server in peers.items()}
            found = await bench.load.ask(do="idle", seconds=seconds)
            if found["lost"]:
                bench.problem(f"{line.title}: {found['lost']} connections lost")
            spent = {name: server.cpu() - before[name] for name, server in peers.items()}
            line.rounds.append({**spent, "busy": found["busy"]})
        for name in peers:
            await bench.load.ask(do="close", group=name)


async def moves(bench: Bench) -> None:
    """Leave and join where others are in 10,000 rooms, and in 100: the server's CPU for a pair."""
    few, many = OTHER_ROOMS
    many = bench.size(many, 1_000)
    line = table.line(bench, "moves", few=few, many=many)
    alone = table.line(bench, "moves_engine", few=few, many=many)
    times = bench.size(20_000, 2_000)
    async with servers.engine_server() as engine:
        await bench.load.ask(do="open", group="rooms", port=engine.port, count=101, rooms=1)
        for number in range(bench.rounds):
            costs = {}
            for others in alternating(number, [few, many]):
                answer = await engine.ask(churn={"others": others, "times": times})
                costs[others] = answer["seconds"]
            alone.rounds.append({US: costs[many] / costs[few], "busy": 0.0, "pair_us": 1e6 * costs[few]})
        alone.more["pair_us"] = statistics.median(one.pop("pair_us") for one in alone.rounds)
        await bench.load.ask(do="close", group="rooms")
    found: dict[tuple[str, int], list[float]] = {}
    for name in (US, NODE):
        async with AsyncExitStack() as stack:
            sized: dict[int, Process] = {}
            for others in (few, many):
                manager = (
                    servers.application(bench.uri, bench.database())
                    if name == US
                    else servers.node_socketio(SECRET=SECRET)
                )
                sized[others] = await stack.enter_async_context(manager)
                await _fill(bench, sized[others], others)
            for number in range(bench.rounds):
                bench.say(f"{line.title}, {name}: round {number + 1} of {bench.rounds}")
                for others in alternating(number, list(sized)):
                    found.setdefault((name, others), []).append(await _pair(bench, sized[others]))
            for others in (few, many):
                await bench.load.ask(do="close", group=f"rooms {others}")
    for number in range(bench.rounds):
        line.rounds.append(
            {name: found[name, many][number] / found[name, few][number] for name in (US, NODE)} | {"busy": 0.0}
        )
    line.more["pair_us"] = {
        f"{name}, {others} rooms": 1e6 * statistics.median(values) for (name, others), values in found.items()
    }


async def _fill(bench: Bench, server: Process, rooms: int) -> None:
    """Clients that are in so many rooms, of chats."""
    chats = [{"sessionId": SESSION, "chatId": f"other-{{}}-{number}"} for number in range(ROOMS_OF_ONE)]
    left, client = rooms, 0
    group = f"rooms {rooms}"
    while left > 0:
        mine = [{**chat, "chatId": chat["chatId"].format(client)} for chat in chats[: min(left, ROOMS_OF_ONE)]]
        await bench.load.ask(
            do="open", group=group, add=True, port=server.port, count=1, secret=SECRET, sessions=[SESSION],
            subscribe=mine, agents=1,
        )  # fmt: skip
        left -= len(mine)
        client += 1


async def _pair(bench: Bench, server: Process) -> float:
    """Seconds of the server's CPU for one unsubscribe and subscribe."""
    await bench.load.ask(
        do="open", group="movers", port=server.port, count=MOVERS, secret=SECRET, sessions=[SESSION],
        subscribe=[{"sessionId": SESSION, "chatId": "mine"}],
    )  # fmt: skip
    before = server.cpu()
    found = await bench.load.ask(do="ask", group="movers", first="unsubscribe", second="subscribe", times=MOVES)
    spent = server.cpu() - before
    await bench.load.ask(do="close", group="movers")
    await asyncio.sleep(0.3)
    return float(spent / found["pairs"])


async def deflate(bench: Bench) -> None:
    """Bytes and CPU of events to 1,000 recipients, compressed and not, by the same server."""
    clients = bench.size(1_000, 200)
    messages = bench.size(100, 20)
    small = table.line(bench, "deflate_bytes")
    cheap = table.line(bench, "deflate_cpu", clients=clients)
    async with servers.application(bench.uri, bench.database()) as app:
        groups = {"plain": False, "deflated": True}
        for session, offered in groups.items():
            await subscribers(bench, session, app, clients, session, deflate=offered)
            await bench.load.ask(do="count_only", group=session)
            await bench.load.ask(
                do="post", port=app.port, secret=SECRET, session=session, count=5, text_bytes=DEFLATE_TEXT
            )
            await bench.load.ask(do="totals", group=session)
        for number in range(max(5, bench.rounds) if not bench.quick else 1):
            bench.say(f"{cheap.title}: round {number + 1}")
            cost: dict[str, float] = {}
            size: dict[str, float] = {}
            for session in alternating(number, list(groups)):
                before = app.cpu()
                await bench.load.ask(
                    do="post", port=app.port, secret=SECRET, session=session, count=messages, text_bytes=DEFLATE_TEXT
                )
                totals = await bench.load.ask(do="totals", group=session)
                cost[session] = (app.cpu() - before) / messages
                size[session] = totals["least"] / messages
                if totals["witness"] != messages or totals["least"] != totals["most"]:
                    bench.problem(f"{session}: {totals['witness']} of {messages} events arrived")
            small.rounds.append({US: size["deflated"] / size["plain"], "busy": 0.0, "bytes": size})
            cheap.rounds.append(
                {US: cost["deflated"] / cost["plain"], "busy": 0.0, "ms": {k: 1000 * v for k, v in cost.items()}}
            )
        for session in groups:
            await bench.load.ask(do="close", group=session)
    small.more["bytes"] = {key: statistics.median(one["bytes"][key] for one in small.rounds) for key in groups}
    cheap.more["ms"] = {key: statistics.median(one["ms"][key] for one in cheap.rounds) for key in groups}
    for one in (*small.rounds, *cheap.rounds):
        one.pop("bytes", None)
        one.pop("ms", None)
