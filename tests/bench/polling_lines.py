"""Push compared with polling every 5 seconds."""

from __future__ import annotations

import statistics
from typing import Any

from tests.bench import servers, table
from tests.bench.ingest_lines import SESSION, subscribers
from tests.bench.lines import US, Bench, percentile
from tests.bench.servers import SECRET, Process

CLIENTS = 1_000
PERIOD = 5.0
MESSAGE_EVERY = 3.0
HOUR = 3_600
HEARTBEAT_BYTES, HEARTBEAT_SECONDS = 3 + 7, 25
POSITION_BYTES, POSITION_SECONDS = 88, 36


async def polling(bench: Bench) -> None:
    clients = bench.size(CLIENTS, 200)
    seconds = bench.seconds(30.0, 6.0)
    line = table.line(
        bench, "polling", clients=clients, period=PERIOD, every=MESSAGE_EVERY, seconds=seconds, factor=HOUR / seconds
    )
    async with servers.application(bench.uri, bench.database(), PING_INTERVAL="25") as app:
        bench.say(f"{line.title}: polling")
        polled = await _measure(bench, app, seconds, clients, pollers=clients, period=PERIOD)
        bench.say(f"{line.title}: push")
        await subscribers(bench, US, app, clients)
        pushed = await _measure(bench, app, seconds, clients, group=US)
        await bench.load.ask(do="close", group=US)
    line.rounds.append({US: pushed["cpu_an_hour"], "polling": polled["cpu_an_hour"], "busy": polled["busy"]})
    line.more["push"], line.more["polling"] = pushed, polled


async def _measure(bench: Bench, app: Process, seconds: float, clients: int, **how: Any) -> dict[str, float]:
    """Per client and hour, except for the CPU, which is for all clients."""
    before = app.cpu()
    found = await bench.load.ask(
        do="trickle", port=app.port, secret=SECRET, session=SESSION, every=MESSAGE_EVERY, seconds=seconds, **how
    )
    spent = app.cpu() - before
    # Clients that polled just before do not see the messages of the last seconds; these are not counted.
    scale = HOUR / seconds
    if found["requests"]:
        silent = found["bytes_of_empty"] * HOUR / PERIOD
        of_messages = found["bytes"] - found["requests"] * found["bytes_of_empty"]
    else:
        silent = HOUR / HEARTBEAT_SECONDS * HEARTBEAT_BYTES + HOUR / POSITION_SECONDS * POSITION_BYTES
        of_messages = found["bytes"]
    return {
        "requests_an_hour": found["requests"] * scale / clients,
        "silent_bytes_an_hour": silent,
        "bytes_a_message": of_messages / clients / found["messages"],
        "delay_median_s": statistics.median(found["delays"]),
        "delay_p99_s": percentile(found["delays"], 0.99),
        "cpu_an_hour": spent * scale,
        "messages": found["messages"],
        "busy": found["busy"],
    }
