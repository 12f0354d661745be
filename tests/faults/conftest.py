"""The short forms' stage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.faults.rows import ROWS, stage
from tests.faults.world import Round

SEED = 20260206


@pytest.fixture
def play(mongodb_uri: str, database: str) -> Callable[[str], Awaitable[Round]]:
    """Plays one short round of a row."""

    async def play(name: str) -> Round:
        async with stage(ROWS[name], short=True, uri=mongodb_uri, database=database) as played:
            return await played(SEED)

    return play
