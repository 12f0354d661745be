"""The bus over MongoDB, with a real database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from app.bus import Commit, Told
from app.bus.change_stream import ChangeStream
from app.bus.waiting import MAX_WAITING
from app.domain.commands import StoreMessages
from app.domain.models import IncomingMessage, Sender
from app.storage.mongo import Store

NOW = datetime(2026, 2, 6, 12, 4, tzinfo=UTC)


class Ear:
    """Listens, and keeps what it hears."""

    def __init__(self, store: Store) -> None:
        self.bus = ChangeStream(store.bus, store.bounded)
        self.heard: list[Commit | Told] = []
        self.news = asyncio.Event()
        self.begun = asyncio.Event()
        self.tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self.bus.send())]

    async def _listen(self) -> None:
        async for one in self.bus.listen():
            self.begun.set()
            if one is not None:
                self.heard.append(one)
                self.news.set()

    async def hears(self, count: int) -> list[Commit | Told]:
        async with asyncio.timeout(20):
            while len(self.heard) < count:
                self.news.clear()
                await self.news.wait()
        return self.heard


@pytest.fixture
async def ears(store: Store) -> AsyncIterator[list[Ear]]:
    made = [Ear(store) for _ in range(2)]
    async with asyncio.timeout(20):
        for ear in made:
            await ear.begun.wait()
    yield made
    for ear in made:
        for task in ear.tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def message(message_id: str) -> StoreMessages:
    incoming = IncomingMessage(message_id, "a", False, Sender("a"), "text", "hi", None, None, "received", NOW)
    return StoreMessages(NOW, [incoming])


async def test_each_commit_is_heard_by_every_server(store: Store, ears: list[Ear]) -> None:
    """A transaction of several sessions is one document, which names each session and where it stands now."""
    writer = store.writer()
    names = [f"s{n}" for n in range(5)]
    await writer.apply({name: [message("m1"), message("m2")] for name in names})
    await writer.apply({"s1": [message("m1")]})  # a repeat: nothing is committed
    await writer.apply({"s1": [message("m3")]})
    for ear in ears:
        assert await ear.hears(6) == [*(Commit(name, 2) for name in names), Commit("s1", 3)]
    assert await store.bus.count_documents({}) == 2
    await writer.close()


async def test_a_value_is_heard_by_the_others_alone(ears: list[Ear]) -> None:
    """What one server tells, the others hear, in order; it does not hear itself."""
    one, other = ears
    told = [Told("shop", "typing", {"chatId": "a", "by": [{"id": str(n), "name": None}]}) for n in range(1_200)]
    for value in told:
        one.bus.tell(value)
    assert await other.hears(len(told)) == told
    other.bus.tell(told[0])
    assert await one.hears(1) == [told[0]]
    assert len(other.heard) == len(told)


async def test_values_that_wait_are_bounded(store: Store) -> None:
    """While the database does not take them, no more than a number of values are kept, the newest."""
    bus = ChangeStream(store.bus, store.bounded)
    for n in range(MAX_WAITING + 10):
        bus.tell(Told("shop", "typing", {"n": n}))
    sending = asyncio.create_task(bus.send())
    async with asyncio.timeout(20):
        while (await store.bus.count_documents({"told.value.n": MAX_WAITING + 9})) == 0:
            await asyncio.sleep(0.01)
    sending.cancel()
    assert await store.bus.count_documents({"told.value.n": 9}) == 0
    assert await store.bus.count_documents({"told.value.n": 10}) == 1


async def test_documents_expire(store: Store) -> None:
    """Nothing of the bus is kept for longer than it is needed."""
    indexes = await store.bus.index_information()
    assert [one["expireAfterSeconds"] for one in indexes.values() if "expireAfterSeconds" in one] == [10]
