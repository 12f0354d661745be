"""`python -m tests.bench`: measures, prints the table, writes the JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import app
from tests.bench import report, servers
from tests.bench.answer_lines import answers, deliveries
from tests.bench.connection_lines import arrivals, deflate, heartbeats, memory, moves
from tests.bench.crowd_lines import crowd
from tests.bench.engine_lines import many_rooms, one_room
from tests.bench.ingest_lines import large_bodies, latency, requests, updates
from tests.bench.lines import Bench, Measurement
from tests.bench.polling_lines import polling
from tests.bench.session_lines import sessions

MEASUREMENTS: dict[str, Measurement] = {
    "one_room": one_room,
    "rooms": many_rooms,
    "webhook_burst": large_bodies,
    "latency": latency,
    "ingest": requests,
    "updates": updates,
    "sessions": sessions,
    "answers": answers,
    "deliveries": deliveries,
    "memory": memory,
    "connections": arrivals,
    "heartbeats": heartbeats,
    "moves": moves,
    "deflate": deflate,
    "polling": polling,
    "crowd": crowd,
}
PYTHON_PACKAGES = ("aiohttp", "uvloop", "orjson", "python-socketio", "python-engineio", "motor", "pymongo", "PyJWT")
NODE_PACKAGES = ("socket.io", "ws", "@socket.io/bun-engine", "bun", "express", "mongodb", "jsonwebtoken")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Compare Roomcast with its peers.")
    parser.add_argument("--lines", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each line (default: 5)")
    parser.add_argument("--quick", action="store_true", help="a minute or two, to check that everything works")
    parser.add_argument(
        "--json", type=Path, default=servers.ROOT / "artifacts" / "bench.json", help="the file to write"
    )
    parser.add_argument("--write-docs", action="store_true", help="also update the tables and the chart in docs/")
    parser.add_argument("--from-json", action="store_true", help="do not measure; use the JSON file of the last run")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds = 1
    return chosen


async def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    await servers.npm_ci()
    async with servers.mongod() as uri, servers.load_generator() as load:
        bench = Bench(load, uri, rounds=chosen.rounds, quick=chosen.quick)
        for name in chosen.lines:
            try:
                await MEASUREMENTS[name](bench)
            except servers.Broken as error:  # the other lines can still be measured
                bench.problem(f"{name}: {error}")
    return {
        "facts": facts(),
        "rounds": chosen.rounds,
        "quick": chosen.quick,
        "problems": bench.problems,
        "lines": [line.render() for line in bench.lines if line.rounds],
    }


def facts() -> dict[str, Any]:
    """The machine and versions, without names or paths."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = {"Roomcast": app.__version__, "Python": platform.python_version(), "Node": _says("node", "--version")}
    versions |= {package: version(package) for package in PYTHON_PACKAGES}
    for package in NODE_PACKAGES:
        manifest = servers.PEERS / "node_modules" / package / "package.json"
        if manifest.exists():
            versions[f"npm {package}"] = json.loads(manifest.read_text())["version"]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": cpu,
        "memory_gb": round(memory),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "pinned": servers.SERVER_CORE is not None,
        "versions": versions,
    }


def _says(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


async def interruptible(chosen: argparse.Namespace) -> dict[str, Any]:
    """On Ctrl-C and SIGTERM, stop everything that was started."""
    task = asyncio.create_task(measure(chosen))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    return await task


def main() -> None:
    chosen = options()
    if chosen.from_json:
        result = json.loads(chosen.json.read_text())
    else:
        try:
            result = asyncio.run(interruptible(chosen))
        except asyncio.CancelledError:
            sys.exit("bench: interrupted; everything was stopped")
        except servers.Broken as error:
            sys.exit(f"bench: {error}")
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")
    print(report.table(result))
    if chosen.write_docs:
        report.write_docs(result)
    if result["problems"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
