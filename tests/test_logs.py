"""The log is safe to read, and nobody can fill it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from app import logs
from app.logs import Limited


@pytest.mark.parametrize("form", ["console", "json"])
def test_values_cannot_act_on_a_terminal(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """Control characters and those that turn text round are escaped, and long values cut, in both forms."""
    before = structlog.get_config()
    try:
        logs.configure("info", form)
        structlog.get_logger().info("refused", path="/\x1b]0;title\x07\r\nforged \u202eexe.txt\u2028", long="x" * 9_999)
    finally:
        structlog.configure(**before)
    line = capsys.readouterr().err
    assert "]0;title" in line
    for hidden in ("\x1b]", "\x07", "\r", "\nforged", "\u202e", "\u2028", "\\u202eexe.txt\n"):
        assert hidden not in line
    assert "x" * 1_000 in line
    assert "x" * 1_001 not in line


async def test_lines_are_limited_by_key() -> None:
    """Of each key some lines are written, then their number; what is beyond the number of keys counts as one."""
    written: list[tuple[str, dict[str, Any]]] = []
    done = asyncio.Event()

    def write(event: str, **values: Any) -> None:
        written.append((event, values))
        if event == "refused_suppressed":
            done.set()

    log = Limited(write, "code", lines=2, seconds=0.05)
    for number in range(5):
        log("refused", "not_found", path=f"/{number}")
    log("refused", "invalid", path="/")
    assert [values["code"] for _, values in written] == ["not_found", "not_found", "invalid"]
    await asyncio.wait_for(done.wait(), 15)
    assert written[3:] == [("refused_suppressed", {"code": "not_found", "count": 3})]
    log("refused", "not_found", path="/")
    assert len(written) == 5
    for number in range(1_000):
        log("refused", f"code{number}")
    assert len(written) < 5 + Limited.KEYS + 3
