"""The figures of a run, as JSON, as a Markdown table, and into docs/reliability.md."""

from __future__ import annotations

import platform
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.rows import ROWS

BEGIN, END = "<!-- figures: made by `make faults` -->", "<!-- end of the figures -->"


def render(results: dict[str, dict[str, Any]], about: dict[str, Any]) -> str:
    """The report in Markdown."""
    commits = ", ".join(dict.fromkeys(result["commit"] for result in results.values()))
    lines = [
        f"Run of {about['date']} at {commits}; {about['machine']}, {about['minutes']:.0f} minutes.",
        "",
        "| fault | also promised | rounds | commit | first seed | passed | worst of all rounds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in ROWS.items():
        result = results.get(name)
        if result is None:
            lines.append(f"| {row.words} | {row.promise or '–'} | 0 of {row.rounds} | | | not run | |")
            continue
        worst = "; ".join(f"{words} {_number(value)}" for words, value in result["worst"].items())
        rounds = str(result["rounds"]) if result["rounds"] == row.rounds else f"{result['rounds']} of {row.rounds}"
        held = result["rounds"] - len(result["failures"])
        played = f"{rounds} | {result['commit']} | {result['seed']} | {held}"
        lines.append(f"| {row.words} | {row.promise or '–'} | {played} | {worst} |")
    total: Counter[str] = Counter()
    for result in results.values():
        total.update(result["counts"])
    lines += [
        "",
        "Totals of all rounds: " + ", ".join(f"{_number(n)} {what}" for what, n in sorted(total.items())) + ".",
    ]
    failures = [(name, failure) for name, result in results.items() for failure in result["failures"]]
    if failures:
        lines += ["", "Failed rounds:", ""]
        lines += [f"- `{name}`, seed {one['seed']}: {one['error'].splitlines()[0][:300]}" for name, one in failures]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def machine() -> str:
    return f"{len(_processors())} cores, Python {platform.python_version()}"


def _processors() -> list[str]:
    return re.findall(r"^processor\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE)


def write_docs(path: Path, report: str) -> None:
    """Put the report between the marks."""
    text = path.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}\n{report}{END}{after}")
