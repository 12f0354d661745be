"""What the tests themselves rely on."""

from __future__ import annotations

import asyncio
import gc

from tests.support import WARNINGS, look_for_warnings


async def test_forgotten_exceptions_are_noticed() -> None:
    """A task whose exception nobody has looked at would fail the test, here and in a server's log."""

    async def fail() -> None:
        raise ValueError("forgotten")

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    look_for_warnings('{"event": "Task exception was never retrieved"}')
    look_for_warnings('{"event": "listening"}')
    (here, server) = WARNINGS
    assert "never retrieved" in here
    assert "forgotten" in here
    assert "never retrieved" in server
    WARNINGS.clear()
