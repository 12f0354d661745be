"""The lines about the engine alone: events to rooms, as fast as a server sends them."""

from __future__ import annotations

from contextlib import AsyncExitStack

from tests.bench import servers, table
from tests.bench.lines import NODE, US, Bench, Line, Round, Target, alternating
from tests.bench.servers import Process

EVENT_BYTES = 370
CLIENTS = 1_000
ROOMS_CLIENTS, ROOMS = 10_000, 1_000
BURST_TO_ROOMS = 5_000
TARGETS = {1: 1.8, 10: 9.0, 50: 40.0}


async def emitted(
    bench: Bench, load: Process, server: Process, group: str, burst: int, rooms: int, clients: int, seconds: float = 1.5
) -> dict[str, float]:
    """Measure a server that sends without a pause, and check that everything has arrived."""
    server.tell(emit={"burst": burst, "rooms": rooms, "bytes": EVENT_BYTES})
    await load.ask(do="window", group=group, seconds=bench.seconds(0.4, 0.2))
    cpu = server.cpu()
    window = await load.ask(do="window", group=group, seconds=bench.seconds(seconds, 0.4))
    cpu = server.cpu() - cpu
    sent = (await server.ask(stop=True))["sent"]
    totals = await load.ask(do="totals", group=group)
    expected = sent * window["bytes_per_event"] * clients / rooms  # each room has as many clients
    if totals["lost"] or totals["all"] != expected or (rooms == 1 and totals["least"] != totals["most"]):
        bench.problem(
            f"{server.name}: {totals['all'] - expected:.0f} bytes of {expected:.0f} too few or many, "
            f"{totals['lost']} connections lost"
        )
    return {
        "rate": window["deliveries"] / window["seconds"],
        "per_cpu": window["deliveries"] / cpu,
        "server": cpu / window["seconds"],
        "busy": window["busy"],
    }


def as_round(found: dict[str, dict[str, float]]) -> Round:
    """A round of the line, from each server's window."""
    return {
        **{name: one["rate"] for name, one in found.items()},
        "busy": max(one["busy"] for one in found.values()),
        "cpu": {name: one["per_cpu"] for name, one in found.items()},
    }


async def one_room(bench: Bench) -> None:
    """1,000 sockets in one room; one event per turn of the loop, and bursts."""
    clients = bench.size(CLIENTS, 200)
    async with AsyncExitStack() as stack:
        peers: dict[str, Process] = {}
        starts = {US: servers.engine_server, NODE: servers.node_socketio, "Node ws": servers.node_ws}
        bun = servers.find_bun()
        if bun:
            starts["Bun socket.io"] = lambda: servers.bun_socketio(bun)
        else:
            bench.say("Bun is left out: npm has no binary for this machine")
        starts["python-socketio"] = servers.python_socketio
        for name, start in starts.items():
            peers[name] = await stack.enter_async_context(start())
            bare = name == "Node ws"
            await bench.load.ask(
                do="open", group=name, port=peers[name].port, count=clients, bare=bare, rooms=0 if bare else 1
            )
            await bench.load.ask(do="count_only", group=name)
        for burst, target in TARGETS.items():
            words = "1 event per turn of the loop" if burst == 1 else f"bursts of {burst} per turn"
            line = table.line(
                bench,
                "burst",
                f"burst_{burst}",
                Target(f"{target:g} × Node socket.io", at_least=target),
                clients=clients,
                size=EVENT_BYTES,
                words=words,
            )
            for number in range(bench.rounds):
                bench.say(f"{line.title}: round {number + 1} of {bench.rounds}")
                # python-socketio takes no other time for a burst: once is enough to see it.
                chosen = [name for name in peers if burst == 1 or name != "python-socketio"]
                found = {
                    name: await emitted(bench, bench.load, peers[name], name, burst, 1, clients)
                    for name in alternating(number, chosen)
                }
                line.rounds.append(as_round(found))
        for name in peers:
            await bench.load.ask(do="close", group=name)


async def many_rooms(bench: Bench) -> None:
    """10,000 sockets in 1,000 rooms, events to rooms at random."""
    clients, rooms = bench.size(ROOMS_CLIENTS, 1_000), bench.size(ROOMS, 100)
    burst = bench.size(BURST_TO_ROOMS, 500)
    line = table.line(bench, "rooms", clients=clients, rooms=rooms, size=EVENT_BYTES, burst=burst, each=burst // rooms)
    async with AsyncExitStack() as stack:
        peers = {
            US: await stack.enter_async_context(servers.engine_server()),
            NODE: await stack.enter_async_context(servers.node_socketio()),
        }
        # Both sets of sockets are more than a process may commonly open: another generator, which waits meanwhile.
        loads = {US: bench.load, NODE: await stack.enter_async_context(servers.load_generator())}
        for name, server in peers.items():
            await loads[name].ask(do="open", group=name, port=server.port, count=clients, rooms=rooms)
            await loads[name].ask(do="count_only", group=name)
        turns = sorted({1, 100, 1_000, burst}) if not bench.quick else [burst]
        others: dict[int, list[Round]] = {turn: [] for turn in turns if turn != burst}
        for number in range(bench.rounds):
            bench.say(f"{line.title}: round {number + 1} of {bench.rounds}")
            for turn in turns:
                if turn != burst and number > 1:  # additional figures, for which two rounds are enough
                    continue
                found = {
                    name: await emitted(bench, loads[name], peers[name], name, turn, rooms, clients, 3.0)
                    for name in alternating(number, list(peers))
                }
                (line.rounds if turn == burst else others[turn]).append(as_round(found))
        for name in peers:
            await loads[name].ask(do="close", group=name)
    line.more["other_bursts"] = {
        str(turn): Line("", "", "", None, rounds).render()["ratios"] for turn, rounds in others.items()
    }
