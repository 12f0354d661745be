"""The lines of the table: the measurement, the result, and whether it meets the target."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.bench.servers import Process

US: Final = "Roomcast"
NODE: Final = "Node socket.io"
REFERENCE: Final = "Node with Express"
TOO_BUSY: Final = 0.9
"""If the load generator is busier than this, it may limit the result."""

Round = dict[str, Any]


@dataclass
class Target:
    """With a peer: the ratio to the peer's figure; otherwise the figure itself."""

    words: str
    at_least: float | None = None
    at_most: float | None = None
    peer: str | None = NODE

    def met(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass
class Line:
    """One line, as it goes into the JSON."""

    name: str
    title: str
    unit: str
    target: Target | None
    rounds: list[Round] = field(default_factory=list)
    """Each: a figure by the server's name, and under `busy` what share of the time the load generator was."""
    note: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """The median of each server's figures."""
        names = dict.fromkeys(name for one in self.rounds for name in one if name not in ("busy", "cpu"))
        return {name: statistics.median(one[name] for one in self.rounds if name in one) for name in names}

    def ratios(self, peer: str, key: str | None = None) -> list[float]:
        """Ours to the peer's, round by round; of `key` (`cpu`: per second of the server's CPU) if it is given."""
        rounds = [one[key] if key else one for one in self.rounds if key is None or key in one]
        return [one[US] / one[peer] for one in rounds if one.get(peer) and one.get(US)]

    def render(self) -> dict[str, Any]:
        figures = self.figures()
        peers = [name for name in figures if name != US]
        ratios = {
            peer: {"median": statistics.median(found), "least": min(found), "most": max(found)}
            for peer in peers
            if (found := self.ratios(peer))
        }
        by_cpu = {
            peer: statistics.median(found)
            for peer in peers
            if any("cpu" in one for one in self.rounds) and (found := self.ratios(peer, "cpu"))
        }
        busy = max((one.get("busy", 0.0) for one in self.rounds), default=0.0)
        value = None
        if self.target:
            peer = self.target.peer
            value = figures.get(US) if peer is None else ratios.get(peer, {}).get("median")
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "target": self.target and self.target.words,
            "against": self.target and self.target.peer,
            "goal": self.target and (self.target.at_least or self.target.at_most),
            "figures": figures,
            "ratios": ratios,
            "ratios_by_cpu": by_cpu,
            "value": value,
            "met": self.target.met(value) if self.target and value is not None else None,
            "load_busy": busy,
            "load_too_busy": busy > TOO_BUSY,
            "note": self.note,
            "rounds": self.rounds,
            **self.more,
        }


class Bench:
    """The context of a measurement: the load generator, rounds and sizes, and the list of lines."""

    def __init__(self, load: Process, uri: str, *, rounds: int, quick: bool) -> None:
        self.load, self.uri, self.rounds, self.quick = load, uri, rounds, quick
        self.lines: list[Line] = []
        self.problems: list[str] = []
        self._begun = time.monotonic()
        self._databases = 0

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def seconds(self, full: float, quick: float) -> float:
        return quick if self.quick else full

    def database(self) -> str:
        """A name that no other server of this run has."""
        self._databases += 1
        return f"bench_{self._databases}"

    def add(self, line: Line) -> Line:
        self.lines.append(line)
        return line

    def say(self, words: str) -> None:
        print(f"bench: {time.monotonic() - self._begun:4.0f} s  {words}", file=sys.stderr, flush=True)

    def problem(self, words: str) -> None:
        self.problems.append(words)
        self.say(f"PROBLEM: {words}")


def alternating(round_number: int, things: list[Any]) -> list[Any]:
    """In turns, in reverse order every other round, so that none is always first."""
    return things if round_number % 2 == 0 else things[::-1]


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


Measurement = Callable[[Bench], Awaitable[None]]
