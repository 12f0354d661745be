"""The lines about the way from the webhook to the sockets, the whole application against what one would write."""

from __future__ import annotations

import statistics
from contextlib import AsyncExitStack
from typing import Any

from tests.bench import servers, table
from tests.bench.lines import NODE, REFERENCE, US, Bench, alternating, percentile
from tests.bench.servers import SECRET, Process

SESSION = "shop"
SUBSCRIBERS = 1_000
BODY_MESSAGES = 500
SENDERS = 64
RATE = 20.0


async def subscribers(
    bench: Bench, group: str, server: Process, count: int, session: str = SESSION, **plan: Any
) -> Any:
    """Clients that are signed in and have subscribed to a session."""
    return await bench.load.ask(
        do="open",
        group=group,
        port=server.port,
        count=count,
        secret=SECRET,
        sessions=[session],
        subscribe=[{"sessionId": session}],
        **plan,
    )


async def check_all_arrived(bench: Bench, group: str, expected: int, what: str) -> None:
    totals = await bench.load.ask(do="totals", group=group)
    if totals["witness"] != expected or totals["least"] != totals["most"] or totals["lost"]:
        bench.problem(
            f"{what}: {totals['witness']} of {expected} events arrived, "
            f"{totals['least']} to {totals['most']} bytes, {totals['lost']} connections lost"
        )


async def large_bodies(bench: Bench) -> None:
    """500 messages a body to 1,000 subscribers, against Socket.IO on Node that only emits such events."""
    clients = bench.size(SUBSCRIBERS, 200)
    line = table.line(bench, "webhook_burst", messages=BODY_MESSAGES, clients=clients)
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(servers.application(bench.uri, bench.database()))
        node = await stack.enter_async_context(servers.node_socketio())
        await subscribers(bench, US, app, clients)
        await bench.load.ask(do="open", group=NODE, port=node.port, count=clients, rooms=1)
        for group in (US, NODE):
            await bench.load.ask(do="count_only", group=group)
        size, messages, seconds = 800, 0.0, bench.seconds(2.5, 0.5)
        for number in range(bench.rounds):
            bench.say(f"{line.title}: round {number + 1} of {bench.rounds}")
            round_: dict[str, Any] = {"busy": 0.0}
            for name in alternating(number, [US, NODE]):
                if name == US:
                    found = await bench.load.ask(
                        do="flood", port=app.port, secret=SECRET, session=SESSION, senders=2, seconds=seconds,
                        messages=BODY_MESSAGES, group=US, nap=True,
                    )  # fmt: skip
                    size = round(found["bytes_per_event"]) or size
                    messages = found["requests"] * BODY_MESSAGES / found["seconds"]
                    await check_all_arrived(bench, US, found["all"] * BODY_MESSAGES, line.title)
                    busy = found["busy_in_window"]
                else:
                    node.tell(emit={"burst": 500, "rooms": 1, "bytes": size - 4})
                    await bench.load.ask(do="window", group=NODE, seconds=0.3)
                    found = await bench.load.ask(do="window", group=NODE, seconds=seconds)
                    await node.ask(stop=True)
                    await bench.load.ask(do="totals", group=NODE)
                    busy = found["busy"]
                round_[name] = found["deliveries"] / found["seconds"]
                round_["busy"] = max(round_["busy"], busy)
            line.rounds.append(round_)
        line.more["event_bytes"], line.more["messages_per_second"] = size, messages
        for group in (US, NODE):
            await bench.load.ask(do="close", group=group)


async def latency(bench: Bench) -> None:
    """Until the last of 1,000 subscribers has a message, and requests a second; against the Node reference."""
    clients = bench.size(SUBSCRIBERS, 200)
    delay = table.line(bench, "latency", clients=clients, rate=RATE)
    seconds = bench.seconds(12.0, 3.0)
    async with AsyncExitStack() as stack:
        peers = await _both(bench, stack, clients)
        pooled: dict[str, list[float]] = {name: [] for name in peers}
        for number in range(bench.rounds):
            bench.say(f"{delay.title}: round {number + 1} of {bench.rounds}")
            round_: dict[str, Any] = {"busy": 0.0}
            for name in alternating(number, list(peers)):
                found = await bench.load.ask(
                    do="latency", group=name, port=peers[name].port, secret=SECRET, session=SESSION,
                    rate=RATE, seconds=seconds,
                )  # fmt: skip
                if found["lost"]:
                    bench.problem(f"{name}: {found['lost']} connections lost")
                pooled[name] += found["delays"]
                round_[name] = 1000 * percentile(found["delays"], 0.99)
                round_["busy"] = max(round_["busy"], found["busy"])
            delay.rounds.append(round_)
        delay.more["all_rounds_ms"] = {
            name: {
                "median": 1000 * statistics.median(found),
                "p90": 1000 * percentile(found, 0.9),
                "p99": 1000 * percentile(found, 0.99),
                "most": 1000 * max(found),
                "messages": len(found),
            }
            for name, found in pooled.items()
        }
        for name in peers:
            await bench.load.ask(do="close", group=name)


async def requests(bench: Bench) -> None:
    clients = 10
    line = table.line(bench, "ingest", senders=SENDERS, clients=clients)
    async with AsyncExitStack() as stack:
        peers = await _both(bench, stack, clients)
        for number in range(bench.rounds):
            bench.say(f"{line.title}: round {number + 1} of {bench.rounds}")
            round_: dict[str, Any] = {"busy": 0.0}
            for name in alternating(number, list(peers)):
                found = await bench.load.ask(
                    do="flood", port=peers[name].port, secret=SECRET, session=SESSION, senders=SENDERS,
                    seconds=bench.seconds(3.0, 0.7), group=name, warm_up=1.0 if number == 0 else 0.5,
                )  # fmt: skip
                await check_all_arrived(bench, name, found["all"], f"{line.title}, {name}")
                round_[name] = found["requests"] / found["seconds"]
                round_["busy"] = max(round_["busy"], found["busy_in_window"])
            line.rounds.append(round_)
        for name in peers:
            await bench.load.ask(do="close", group=name)


async def updates(bench: Bench) -> None:
    """Edits a second beside messages a second, of the same server in the same minutes."""
    line = table.line(bench, "updates", senders=SENDERS)
    async with servers.application(bench.uri, bench.database()) as server:
        for number in range(bench.rounds):
            bench.say(f"{line.title}: round {number + 1} of {bench.rounds}")
            round_: dict[str, Any] = {"busy": 0.0}
            for name in alternating(number, [US, table.MESSAGES]):
                found = await bench.load.ask(
                    do="flood", port=server.port, secret=SECRET, session=SESSION, senders=SENDERS,
                    seconds=bench.seconds(3.0, 0.7), warm_up=1.0 if number == 0 else 0.5, updates=name == US,
                )  # fmt: skip
                round_[name] = found["requests"] / found["seconds"]
                round_["busy"] = max(round_["busy"], found["busy_in_window"])
            line.rounds.append(round_)


async def _both(bench: Bench, stack: AsyncExitStack, clients: int) -> dict[str, Process]:
    """The application and the reference, each on a database of its own in the same mongod, with subscribers."""
    peers = {
        US: await stack.enter_async_context(servers.application(bench.uri, bench.database())),
        REFERENCE: await stack.enter_async_context(servers.node_ingest(bench.uri, bench.database())),
    }
    for name, server in peers.items():
        await subscribers(bench, name, server, clients)
    return peers
