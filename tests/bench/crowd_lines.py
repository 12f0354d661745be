"""A crowd that comes back: how long until everybody is live, and how often the log is read for all of them."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import urllib.request
from typing import Any

from tests.bench import servers, table
from tests.bench.ingest_lines import subscribers
from tests.bench.lines import NODE, US, Bench
from tests.bench.servers import BENCH, SECRET, Process

CLIENTS, BACK = 5_000, (20, 500)
MANY_CLIENTS, SESSIONS, SHORT_BACK = 10_000, 1_000, (20, 100)
RATE = 20
CONNECTIONS = {"MAX_CONNECTIONS": "19000", "MAX_UNAUTHENTICATED_PER_ADDRESS": "1000000"}


async def crowd(bench: Bench) -> None:
    """5,000 clients in one session with the server's memory cold, beside the same 5,000 on Node with nothing recovered;
    10,000 clients of 1,000 sessions."""
    clients, most = bench.size(CLIENTS, 200), bench.size(BACK[1], 150)
    line = table.line(bench, "crowd", clients=clients, least=BACK[0], most=most, rate=RATE)
    reads = table.line(bench, "crowd_reads", clients=clients)
    for number in range(1 if bench.quick else min(bench.rounds, 3)):
        bench.say(f"{line.title}: round {number + 1}")
        found, count = await _come_back(bench, clients, ["shop"], (BACK[0], most))
        async with servers.node_socketio(SECRET=SECRET) as node:
            peer = await subscribers(bench, "crowd", node, clients)
            await bench.load.ask(do="close", group="crowd")
        line.rounds.append({US: found["seconds"], NODE: peer["seconds"], "busy": max(found["busy"], peer["busy"])})
        reads.rounds.append({US: count, "busy": found["busy"]})
    clients, count = bench.size(MANY_CLIENTS, 200), bench.size(SESSIONS, 20)
    many = table.line(bench, "crowd_sessions", clients=clients, count=count)
    bench.say(many.title)
    found, total = await _come_back(bench, clients, [f"s{n}" for n in range(count)], SHORT_BACK)
    many.rounds.append({US: total / count, "busy": found["busy"]})
    many.note = f"All live after {found['seconds']:.1f} s."


async def _come_back(
    bench: Bench, clients: int, sessions: list[str], back: tuple[int, int]
) -> tuple[dict[str, Any], float]:
    """What the crowd has seen, and the reads of the log."""
    database, head = bench.database(), back[1] + 20
    plan = {"secret": SECRET, "sessions": sessions, "back": back, "rate": RATE, "head": head}
    plan |= {"more_seconds": bench.seconds(3.0, 0.5)}
    async with servers.application(bench.uri, database, **CONNECTIONS) as app:
        await _run(plan | {"port": app.port, "clients": 1, "fill": head})
    # The one client and its messages were of the server before: where each session stands now is asked of this one.
    async with servers.application(bench.uri, database, **CONNECTIONS) as app:
        found = await _run(plan | {"port": app.port, "clients": clients, "fill": 0})
        if not found["live"] or not found["whole"] or found["wrong"] or found["lost"] or found["refused"]:
            bench.problem(f"a crowd of {clients}: {found}")
        return found, await asyncio.to_thread(_log_reads, app)


async def _run(plan: dict[str, Any]) -> dict[str, Any]:
    command = (sys.executable, str(BENCH / "crowd.py"), json.dumps(plan))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    if process.returncode:
        raise servers.Broken("the crowd ended with an error")
    found: dict[str, Any] = json.loads(said)
    return found


def _log_reads(app: Process) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{app.port}/metrics") as answer:
        found = re.search(r"^roomcast_log_reads_total (\S+)", answer.read().decode(), re.M)
    assert found
    return float(found[1])
