"""The table on the terminal, and the same in docs/performance.md."""

from __future__ import annotations

from typing import Any

from tests.bench import chart
from tests.bench.lines import REFERENCE, US
from tests.bench.servers import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

Rendered = dict[str, Any]


def number(value: float | None) -> str:
    if value is None:
        return "–"
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def met(line: Rendered) -> str:
    return "" if line["met"] is None else "met" if line["met"] else "MISSED"


def ratio(line: Rendered) -> str:
    """The ratio to the target's peer, with the spread over the rounds."""
    if line["target"] is None or line["against"] is None:
        return ""
    found = line["ratios"].get(line["against"])
    return f"{number(found['median'])} × ({number(found['least'])}–{number(found['most'])})" if found else ""


def rows(result: Rendered) -> list[list[str]]:
    found = [["what", "target (at least / at most)", "Roomcast", "peers", "ratio (spread)", ""]]
    for line in result["lines"]:
        peers = ", ".join(f"{name} {number(value)}" for name, value in line["figures"].items() if name != US)
        busy = " (load generator too busy)" if line["load_too_busy"] else ""
        found.append(
            [
                line["title"],
                line["target"] or "",
                f"{number(line['figures'].get(US))} {line['unit']}",
                peers,
                ratio(line),
                met(line) + busy,
            ]
        )
    return found


def table(result: Rendered) -> str:
    """For a terminal."""
    out = []
    for line, row in zip(result["lines"], rows(result)[1:], strict=True):
        title, target, ours, peers, times, verdict = row
        out.append(title)
        out.append(f"    Roomcast {ours}" + (f"; {peers}" if peers else ""))
        words = [f"target {target}"] if target else []
        words += [f"ratio {times}"] if times else []
        words += [verdict] if verdict else []
        words.append(f"load generator {line['load_busy']:.0%} busy")
        out.append(f"    {', '.join(words)}")
        out += [f"    {text}" for text in beside(line)]
    wanted = [line for line in result["lines"] if line["met"] is not None]
    out.append("")
    out.append(f"{sum(line['met'] for line in wanted)} of {len(wanted)} targets met")
    out += [f"PROBLEM: {problem}" for problem in result["problems"]]
    return "\n".join(out)


def beside(line: Rendered) -> list[str]:
    """Additional information of a line."""
    found = []
    if line["ratios_by_cpu"].get(line["against"]):
        found.append(f"per second of server CPU: {number(line['ratios_by_cpu'][line['against']])} × {line['against']}")
    for name, some in line.get("all_rounds_ms", {}).items():
        found.append(
            f"{name}: median {some['median']:.1f} ms, 99th percentile {some['p99']:.1f}, maximum {some['most']:.1f}"
        )
    for burst, ratios in line.get("other_bursts", {}).items():
        found += [f"{burst} per turn: {number(one['median'])} × {name}" for name, one in ratios.items()]
    if isinstance(line.get("pair_us"), dict):
        found.append("; ".join(f"{name}: {value:.0f} µs" for name, value in line["pair_us"].items()))
    if "push" in line:
        for name in ("polling", "push"):
            found.append(
                f"{name}: " + ", ".join(f"{words} {number(line[name][key])}" for key, words in POLLING.items())
            )
    return found


POLLING = {
    "requests_an_hour": "requests per client and hour",
    "silent_bytes_an_hour": "bytes per client and hour, when nothing happens",
    "bytes_a_message": "additional bytes per client and message",
    "delay_median_s": "delay, median, s",
    "delay_p99_s": "delay, 99th percentile, s",
    "cpu_an_hour": "server CPU per hour, all clients, s",
}


def markdown(result: Rendered) -> str:
    facts = result["facts"]
    names = ("Roomcast", "Python", "Node", "npm socket.io", "npm ws", "npm bun", "npm @socket.io/bun-engine")
    shown = [
        f"{name.removeprefix('npm ')} {facts['versions'][name].removeprefix('v')}"
        for name in names
        if name in facts["versions"]
    ]
    out = [
        f"{facts['cores']} cores of a virtual machine ({facts['processor']}), {facts['memory_gb']} GB, "
        f"{facts['system']}; {', '.join(shown)}. {result['rounds']} alternating rounds; "
        "ratios are the medians of all rounds, with the lowest and the highest.",
        "",
        "![Roomcast's ratios to its peers, and the targets](performance.svg)",
        "",
    ]
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows(result)]
    out += [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    out += [f"| {' | '.join(row)} |" for row, line in zip(body, result["lines"], strict=True) if "push" not in line]
    notes = [(line["title"], [line["note"], *beside(line)]) for line in result["lines"] if "push" not in line]
    told = [
        f"- {title}: {' '.join(text.rstrip('.') + '.' for text in words if text)}"
        for title, words in notes
        if any(words)
    ]
    out += ["", *told]
    for line in result["lines"]:
        if "push" in line:
            out += [
                "",
                "### Compared with polling every 5 seconds",
                "",
                line["note"],
                "",
                "| | polling | push |",
                "| --- | --- | --- |",
            ]
            out += [
                f"| {words} | {number(line['polling'][key])} | {number(line['push'][key])} |"
                for key, words in POLLING.items()
            ]
    out += ["", *(f"Problem: {problem}" for problem in result["problems"])]
    return "\n".join(out).rstrip()


def write_docs(result: Rendered) -> None:
    """Replace the measured section of the document, and the chart."""
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{markdown(result)}\n{END}{after}")
    CHART.write_text(chart.draw(result))


__all__ = ["REFERENCE", "markdown", "table", "write_docs"]
