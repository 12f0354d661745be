"""The bench itself: what it counts, how it judges, and that a short form of it runs and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import signal
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import chart, report
from tests.bench.lines import NODE, US, Line, Target, alternating, percentile
from tests.bench.load import client_frame, frames
from tests.bench.servers import ROOT


def line(**more: Any) -> Line:
    return Line("burst_1", "a line", "deliveries/s", Target("2 × Node socket.io", at_least=2), **more)


def test_frames_are_taken_out_whole() -> None:
    short, long = b"\x81\x03abc", b"\xc1\x7e" + struct.pack("!H", 300) + b"x" * 300
    buffer = bytearray(short + long + long[:100])
    assert [(first, len(payload), size) for first, payload, size in frames(buffer)] == [(0x81, 3, 5), (0xC1, 300, 304)]
    assert bytes(buffer) == long[:100]


def test_what_a_client_sends_is_masked() -> None:
    frame = client_frame("x" * 200)
    assert frame[:4] == b"\x81\xfe\x00\xc8"
    assert frame[8:] == b"x" * 200


def test_a_line_is_judged_by_the_median_of_its_rounds() -> None:
    rounds = [{US: 300, NODE: 100, "busy": 0.1}, {US: 150, NODE: 100, "busy": 0.95}, {US: 250, NODE: 100, "busy": 0.1}]
    found = line(rounds=rounds).render()
    assert found["value"] == 2.5
    assert found["met"]
    assert found["ratios"][NODE] == {"median": 2.5, "least": 1.5, "most": 3.0}
    assert found["load_too_busy"]


def test_a_line_that_is_not_reached_says_so() -> None:
    found = line(rounds=[{US: 150, NODE: 100, "busy": 0.1}]).render()
    assert not found["met"]
    assert "MISSED" in report.table({"lines": [found], "problems": []})


def test_a_figure_may_be_judged_by_itself() -> None:
    kept = Line("memory", "memory", "kB", Target("6 kB", at_most=6, peer=None), [{US: 5.0, NODE: 16.0, "busy": 0}])
    assert kept.render()["met"]


def test_turns_alternate() -> None:
    assert alternating(0, ["a", "b"]) == ["a", "b"]
    assert alternating(1, ["a", "b"]) == ["b", "a"]


def test_percentiles() -> None:
    assert percentile([float(n) for n in range(100)], 0.99) == 99
    assert percentile([1.0], 0.99) == 1


def test_the_chart_has_a_bar_for_a_line() -> None:
    drawn = chart.draw({"lines": [line(rounds=[{US: 300, NODE: 100, "busy": 0.1}]).render()]})
    assert "3.0 ×" in drawn
    assert 'class="goal"' in drawn


def alive(pids: set[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def run(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench", "--quick", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def descendants(pid: int) -> set[int]:
    """The process's children, theirs, and so on."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | descendants(child)
    return found


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the bench reads Linux's /proc")
async def test_a_short_run(tmp_path: Path) -> None:
    process = await run("--lines", "ingest", "moves", "--json", str(tmp_path / "bench.json"))
    out, err = await asyncio.wait_for(process.communicate(), 180)
    assert process.returncode == 0, err.decode()
    result = json.loads((tmp_path / "bench.json").read_text())
    assert [one["name"] for one in result["lines"]] == ["ingest", "moves", "moves_engine"]
    # How much the CPU of a few moves is may be lost in the noise of so short a run; requests are counted.
    assert all(isinstance(one["figures"][US], int | float) for one in result["lines"])
    assert result["lines"][0]["figures"][US] > 0
    assert result["problems"] == []
    assert "targets met" in out.decode()
    assert str(ROOT) not in json.dumps(result)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the bench reads Linux's /proc")
async def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await run("--lines", "latency", "--json", str(tmp_path / "bench.json"))
    assert process.stderr
    while b"round 1" not in (words := await asyncio.wait_for(process.stderr.readline(), 120)):
        assert words, "it has ended"
    started = descendants(process.pid)
    assert len(started) >= 4  # mongod, the load generator, two servers
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert b"interrupted" in err
    assert not alive(started)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the bench reads Linux's /proc")
async def test_a_small_crowd(tmp_path: Path) -> None:
    """Everybody who comes back has every event once and in order, and the log is read a few times for all of them."""
    process = await run("--lines", "crowd", "--json", str(tmp_path / "bench.json"))
    _, err = await asyncio.wait_for(process.communicate(), 180)
    assert process.returncode == 0, err.decode()
    result = json.loads((tmp_path / "bench.json").read_text())
    assert result["problems"] == []
    reads = {one["name"]: one["met"] for one in result["lines"]}
    assert (reads["crowd_reads"], reads["crowd_sessions"]) == (True, True)
