"""The writer queues, over a store of a few lines and over a real one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from app.domain.commands import StoreMessages
from app.domain.events import Event
from app.domain.known import Command, Outcome
from app.domain.models import Alias, IncomingMessage, MessageResult, Sender
from app.errors import Unavailable
from app.metrics import Metrics
from app.services.edges import Edges
from app.services.ingest import IDLE_WRITERS, Ingest
from app.storage.mongo import Store

NOW = datetime(2026, 2, 6, 12, 4, tzinfo=UTC)


class NoEdges:
    @contextlib.contextmanager
    def committing(self, session_id: str) -> Iterator[None]:
        yield

    def publish(self, session_id: str, events: Sequence[Event]) -> None: ...


class FakeStore:
    """Its writers count what they store. `stop` makes it a database that does not answer."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.open: set[FakeWriter] = set()
        self.ending = 0
        self.most_ending = 0

    def writer(self, session_id: str) -> FakeWriter:
        return FakeWriter(self)

    async def end_abandoned(self) -> int:
        return 0


class FakeWriter:
    def __init__(self, store: FakeStore) -> None:
        self.store, self.seq = store, 0
        store.open.add(self)

    async def apply(self, commands: Sequence[Command], seconds: float) -> Outcome:
        await asyncio.sleep(0)
        await self.store.answers.wait()
        outcome = Outcome(self.seq)
        for command in commands:
            assert isinstance(command, StoreMessages)
            outcome.results.append([])
            for message in command.messages:
                self.seq += 1
                cast(list[Any], outcome.results[-1]).append(MessageResult(message.message_id, self.seq, False))
        outcome.seq = self.seq
        return outcome

    async def end(self) -> None:
        self.store.ending += 1
        self.store.most_ending = max(self.store.most_ending, self.store.ending)
        await asyncio.sleep(0)
        await self.store.answers.wait()
        self.store.ending -= 1
        self.store.open.discard(self)


def ingest_over(store: FakeStore | Store) -> Ingest:
    edges = cast(Edges, NoEdges())
    return Ingest(cast(Store, store), edges, Metrics(), max_commands=10_000, max_bytes=2**24, deadline=60)


def message(message_id: str) -> StoreMessages:
    incoming = IncomingMessage(message_id, "a", False, Sender("a"), "text", "hi", None, None, "received", NOW)
    return StoreMessages(NOW, [incoming], size=500)


async def test_more_sessions_at_work_than_writers_are_kept() -> None:
    """However many sessions are active, each gets its answers; and of the quiet ones no more are kept than is said."""
    store = FakeStore()
    ingest = ingest_over(store)

    async def talk(session_id: str) -> list[int]:
        return [(await ingest.store(session_id, [message(f"m{n}")])).messages[0].seq for n in range(10)]

    answers = await asyncio.gather(*(talk(f"s{n}") for n in range(5 * IDLE_WRITERS)))
    for seqs in answers:
        assert len(seqs) == 10
        assert seqs[-1] >= 1
    assert len(store.open) <= IDLE_WRITERS
    await ingest.close(10)
    assert store.open == set()


async def test_stopping_without_an_answer_of_the_database() -> None:
    """What is not written within the given time is answered 503, and the writers are ended together."""
    store = FakeStore()
    ingest = ingest_over(store)
    await asyncio.gather(*(ingest.store(f"s{n}", [message("m1")]) for n in range(20)))
    store.answers.clear()
    under_way = [asyncio.create_task(ingest.store(f"s{n % 20}", [message(f"m{n}")])) for n in range(60)]
    await asyncio.sleep(0)
    await ingest.close(0.05)
    for result in await asyncio.gather(*under_way, return_exceptions=True):
        assert isinstance(result, Unavailable)
    assert store.most_ending == 20
    with pytest.raises(Unavailable):
        await ingest.store("s1", [message("late")])
    store.answers.set()


async def test_stopping_writes_what_was_taken() -> None:
    """What was taken before is stored and answered, though nothing new is taken."""
    ingest = ingest_over(FakeStore())
    under_way = [asyncio.create_task(ingest.store(f"s{n % 7}", [message(f"m{n}")])) for n in range(50)]
    await asyncio.sleep(0)
    await ingest.close(10)
    assert [len(task.result().messages) for task in under_way] == [1] * 50


async def test_a_cancelled_writer_leaves_nobody_without_an_answer() -> None:
    """Whatever ends a session's writer, those who wait are told, and the next one who posts is served."""
    store = FakeStore()
    ingest = ingest_over(store)
    store.answers.clear()
    before = asyncio.all_tasks()
    under_way = [asyncio.create_task(ingest.store("shop", [message(f"m{n}")])) for n in range(3)]
    await asyncio.sleep(0)
    (worker,) = asyncio.all_tasks() - before - set(under_way)
    await asyncio.sleep(0)
    worker.cancel()
    for result in await asyncio.gather(*under_way, return_exceptions=True):
        assert isinstance(result, Unavailable)
    store.answers.set()
    assert len((await ingest.store("shop", [message("m9")])).messages) == 1
    await ingest.close(10)


async def test_ten_thousand_people_at_once(store: Store) -> None:
    """As many aliases as an address book has are stored, in parts, and no message is lost for it."""
    ingest = ingest_over(store)
    people = [Alias(f"9{n:08}@lid", f"55119{n:08}@s.whatsapp.net") for n in range(1, 10_001)]
    commands = [StoreMessages(NOW, aliases=people[n : n + 500], size=64_000) for n in range(0, len(people), 500)]
    await ingest.store("shop", [*commands, message("m1")])
    assert await store.aliases.count_documents({"sessionId": "shop"}) == len(people)
    assert await store.seq("shop") == 1
    await ingest.store("shop", commands)
    await ingest.close(10)
