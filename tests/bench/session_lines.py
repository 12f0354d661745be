"""The lines about many sessions: what a message costs where each session has few."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from tests.bench import servers, table
from tests.bench.ingest_lines import SENDERS, SESSION
from tests.bench.lines import REFERENCE, US, Bench, Target, alternating
from tests.bench.servers import SECRET
from tests.bench.table import ONE_SESSION

COUNTS = ((60, 2.2, 0.8), (5_000, 2.0, 0.75))
"""Sessions, and the targets: against the reference, and against one session."""
REPEATS = 0.02
FILLERS = 16


async def sessions(bench: Bench) -> None:
    """Requests a second to many sessions, against the Node reference and against one session in the same minutes."""
    for count, times, share in COUNTS:
        many = bench.size(count, count // 20)
        of_reference = Target(f"{times:g} × the Node reference", at_least=times, peer=REFERENCE)
        of_one = Target(f"{share:g} × {ONE_SESSION}", at_least=share, peer=ONE_SESSION)
        lines = [
            table.line(bench, "sessions", f"sessions_{count}", of_reference, count=many, senders=SENDERS),
            table.line(bench, "sessions", f"sessions_{count}_of_one", of_one, count=many, senders=SENDERS),
        ]
        async with AsyncExitStack() as stack:
            us = await stack.enter_async_context(servers.application(bench.uri, bench.database()))
            reference = await stack.enter_async_context(servers.node_ingest(bench.uri, bench.database()))
            peers = {US: (us, many), REFERENCE: (reference, many), ONE_SESSION: (us, 1)}
            for server in (us, reference):
                await bench.load.ask(
                    do="flood", port=server.port, secret=SECRET, session=SESSION, senders=FILLERS, seconds=0,
                    sessions=many, fill=True,
                )  # fmt: skip
            for number in range(bench.rounds):
                bench.say(f"{lines[0].title}: round {number + 1} of {bench.rounds}")
                round_: dict[str, Any] = {"busy": 0.0}
                for name in alternating(number, list(peers)):
                    server, several = peers[name]
                    found = await bench.load.ask(
                        do="flood", port=server.port, secret=SECRET, session=SESSION, senders=SENDERS,
                        seconds=bench.seconds(3.0, 0.7), warm_up=1.0, sessions=several, repeats=REPEATS,
                    )  # fmt: skip
                    round_[name] = found["requests"] / found["seconds"]
                    round_["busy"] = max(round_["busy"], found["busy_in_window"])
                for line in lines:
                    line.rounds.append(round_)
