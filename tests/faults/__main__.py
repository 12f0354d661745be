"""`python -m tests.faults`: all rounds of all rows, with a report."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import random
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults import report
from tests.faults.rows import ROWS, Row, stage
from tests.support import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=list(ROWS), help="only these rows: " + ", ".join(ROWS)
    )
    parser.add_argument("--rounds", type=int, help="maximum number of rounds of each")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(1_000_000), help="the seed of the first round"
    )
    parser.add_argument("--short", action="store_true", help="run the short forms, as in `make test`")
    parser.add_argument("--add", action="store_true", help="keep the results of other rows in artifacts/faults.json")
    parser.add_argument("--write-docs", action="store_true", help="update the figures in docs/reliability.md")
    arguments = parser.parse_args()
    return asyncio.run(run(arguments))


async def run(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    out = ROOT / "artifacts" / "faults.json"
    out.parent.mkdir(exist_ok=True)
    kept: dict[str, Any] = json.loads(out.read_text()) if arguments.add and out.exists() else {}
    results: dict[str, dict[str, Any]] = kept.get("rows", {})
    rows = [row for name, row in ROWS.items() if not arguments.only or name in arguments.only]
    total = sum(_rounds(row, arguments) for row in rows)
    done = 0
    print(f"{total} rounds of {len(rows)} faults; the first seed is {arguments.seed}", flush=True)
    failed = False
    for row in rows:
        result = results[row.name] = {
            "commit": _commit(),
            "seed": arguments.seed,
            "rounds": 0,
            "failures": [],
            "figures": [],
        }
        result |= {"worst": {}, "counts": Counter()}
        while result["rounds"] < _rounds(row, arguments):
            seed, before = arguments.seed + result["rounds"], result["rounds"]
            try:
                async with stage(row, short=arguments.short) as play:
                    while result["rounds"] < _rounds(row, arguments):
                        seed = arguments.seed + result["rounds"]
                        result["rounds"] += 1
                        done += 1
                        spent = time.monotonic() - began
                        words = f"[{done}/{total} {spent:5.0f} s] {row.name} {result['rounds']}, seed {seed} … "
                        print(words, end="", flush=True)
                        # In a separate task, so that a cancellation in it only ends the round.
                        played = await asyncio.create_task(play(seed))
                        print(_line(played.figures), flush=True)
                        result["figures"].append(played.figures)
                        result["counts"].update(played.counts)
            except (Exception, asyncio.CancelledError) as error:
                if (task := asyncio.current_task()) and task.cancelling():
                    raise
                # The stage may be damaged: the next round gets a new one.
                failed = True
                words = "".join(traceback.format_exception_only(error))
                if not isinstance(error, AssertionError):
                    words += "".join(traceback.format_exception(error))
                print(f"FAILED\n{words}", flush=True)
                result["failures"].append({"seed": seed, "error": words})
                result["rounds"] = max(result["rounds"], before + 1)
        for figures in result["figures"]:
            for name, value in figures.items():
                result["worst"][name] = max(value, result["worst"].get(name, value))
        about = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": report.machine(),
            "minutes": (time.monotonic() - began) / 60 + kept.get("about", {}).get("minutes", 0),
        }
        out.write_text(json.dumps({"about": about, "rows": results}, indent=1))
        words = report.render(results, about)
        (out.parent / "faults.md").write_text(words)
    print("\n" + words)
    if arguments.write_docs:
        report.write_docs(Path(ROOT / "docs" / "reliability.md"), words)
    return int(failed)


def _rounds(row: Row, arguments: argparse.Namespace) -> int:
    return min(row.rounds, arguments.rounds) if arguments.rounds else row.rounds


def _line(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}".rstrip("0").rstrip(".") for name, value in figures.items())


def _commit() -> str:
    answer = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
