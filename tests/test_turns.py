"""Turns: what is limited is shared fairly between keys."""

from __future__ import annotations

import asyncio
import random

import pytest

from app.errors import Unavailable
from app.turns import Turns

BUSY = Unavailable("busy")


class Room:
    """Notes who is in, in which order they came in, and how much was taken at most."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.order: list[str] = []
        self.taken = self.most = 0
        self.leave = asyncio.Event()

    async def stay(self, key: str, amount: int = 1, seconds: float | None = None) -> None:
        async with self.turns.take(key, amount, seconds):
            self.order.append(key)
            self.taken += amount
            self.most = max(self.most, self.taken)
            try:
                await self.leave.wait()
                await asyncio.sleep(0)
            finally:
                self.taken -= amount


async def begin(*stays: object) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(stay) for stay in stays]  # type: ignore[arg-type]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_keys_take_turns() -> None:
    """One key's crowd does not keep another key waiting for longer than one turn."""
    room = Room(Turns(1, waiting=100, error=BUSY))
    tasks = await begin(*(room.stay("crowd") for _ in range(20)), room.stay("a"), room.stay("b"), room.stay("a"))
    assert room.turns.wanted
    room.leave.set()
    await asyncio.gather(*tasks)
    assert room.order[:6] == ["crowd", "crowd", "a", "b", "crowd", "a"]
    assert (room.most, room.order.count("crowd")) == (1, 20)
    assert not room.turns.wanted


async def test_one_key_has_a_part_only() -> None:
    """What one key may have is bounded, and the rest is there for others at once."""
    room = Room(Turns(10, each=4, waiting=100, error=BUSY))
    tasks = await begin(*(room.stay("a", 2) for _ in range(5)), room.stay("b", 4), room.stay("c", 100))
    assert room.order == ["a", "a", "b"]
    room.leave.set()
    await asyncio.gather(*tasks)
    assert sorted(room.order) == ["a"] * 5 + ["b", "c"]


async def test_the_number_that_waits_is_bounded() -> None:
    """Beyond it, and after the time, they are refused, and nobody else notices."""
    room = Room(Turns(1, waiting=2, error=BUSY))
    tasks = await begin(*(room.stay("a") for _ in range(5)), room.stay("b", seconds=0.01))
    refused = await asyncio.gather(*tasks[3:], return_exceptions=True)
    assert [type(one) for one in refused] == [Unavailable] * 3
    room.leave.set()
    await asyncio.gather(*tasks[:3])
    assert room.order == ["a"] * 3


@pytest.mark.parametrize("seed", random.sample(range(10_000), 5))
async def test_whoever_goes_away_leaves_nothing_behind(seed: int) -> None:
    """However many are cancelled, waiting or inside, what they had or waited for is free again."""
    chance = random.Random(seed)
    room = Room(Turns(5, each=3, waiting=1_000, error=BUSY))
    room.leave.set()
    tasks: list[asyncio.Task[None]] = []
    for _ in range(300):
        tasks += await begin(room.stay(chance.choice("abcd"), chance.randint(1, 3)))
        if chance.random() < 0.5:
            chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert room.most <= 5
    assert (room.taken, room.turns.wanted) == (0, False)
    async with room.turns.take("a", 3, 1), room.turns.take("b", 2, 1):
        pass
