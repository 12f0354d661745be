"""Writing in groups, over a store of a few lines and over a real one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from app.domain.commands import MarkRead, StoreMessages
from app.domain.events import Event
from app.domain.incoming import IncomingUpdate, Receipt
from app.domain.intake import commands_of
from app.domain.known import Command, Outcome
from app.domain.models import Alias, IncomingMessage, MessageResult, Sender
from app.errors import Unavailable
from app.metrics import Metrics
from app.services.edges import Edges
from app.services.ingest import ALONE, TOGETHER, Ingest
from app.services.queues import GROUP_BYTES, GROUP_COMMANDS, GROUP_SESSIONS
from app.storage.group import Conflict
from app.storage.mongo import Store

NOW = datetime(2026, 2, 6, 12, 4, tzinfo=UTC)


class NoEdges:
    @contextlib.contextmanager
    def committing(self, session_id: str) -> Iterator[None]:
        yield

    def publish(self, session_id: str, events: Sequence[Event]) -> None: ...


class FakeStore:
    """Records the written groups. With `stop` it behaves like a database that does not answer."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.groups: list[dict[str, list[Command]]] = []
        """The committed groups."""
        self.under_way: list[set[str]] = []
        self.most_under_way = 0
        self.seqs: dict[str, int] = {}
        self.conflicts: dict[str, int] = {}
        """How often a session conflicts before it can be written."""
        self.faulty: set[str] = set()
        """Messages that cannot be written."""
        self.closed = False

    def writer(self) -> FakeStore:
        return self

    async def apply(self, batches: Mapping[str, Sequence[Command]], seconds: float) -> dict[str, Outcome]:
        for others in self.under_way:
            assert not others & batches.keys(), "a session is in one group at a time"
        self.under_way.append(set(batches))
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        try:
            await asyncio.sleep(0)
            await self.answers.wait()
            for session_id in batches:
                if self.conflicts.get(session_id):
                    self.conflicts[session_id] -= 1
                    raise Conflict
            if any(one in self.faulty for commands in batches.values() for one in ids(commands)):
                raise ValueError("faulty")
            self.groups.append({session_id: list(commands) for session_id, commands in batches.items()})
            return {session_id: self._outcome(session_id, commands) for session_id, commands in batches.items()}
        finally:
            self.under_way.remove(set(batches))

    def _outcome(self, session_id: str, commands: Sequence[Command]) -> Outcome:
        outcome = Outcome(self.seqs.get(session_id, 0))
        for command in commands:
            results: list[Any] = []
            for message_id in ids([command]):
                outcome.seq += 1
                results.append(MessageResult(message_id, outcome.seq, False))
            outcome.results.append(results)
        self.seqs[session_id] = outcome.seq
        return outcome

    async def end_abandoned(self) -> int:
        return 0

    async def close(self) -> None:
        self.closed = True
        await self.answers.wait()


def ids(commands: Sequence[Command]) -> list[str]:
    """The ids of the messages that the commands store."""
    return [one.message_id for command in commands if isinstance(command, StoreMessages) for one in command.messages]


@pytest.fixture
def database_timeout() -> float:
    return 30


def ingest_over(store: FakeStore | Store, deadline: float = 60) -> Ingest:
    edges = cast(Edges, NoEdges())
    return Ingest(cast(Store, store), edges, Metrics(), max_commands=10_000, max_bytes=2**24, deadline=deadline)


def message(message_id: str, size: int = 500) -> StoreMessages:
    incoming = IncomingMessage(message_id, "a", False, Sender("a"), "text", "hi", None, None, "received", NOW)
    return StoreMessages(NOW, [incoming], size=size)


async def test_what_gathers_while_others_are_written_is_one_group() -> None:
    """Commands of many sessions share a transaction, each session's in order, and two are under way at a time."""
    store = FakeStore()
    ingest = ingest_over(store)
    store.answers.clear()
    first = [asyncio.create_task(ingest.store(f"first{n}", [message("m")])) for n in range(TOGETHER)]
    for n in range(TOGETHER):  # one after the other, so that each is a group
        await asyncio.wait([first[n]], timeout=0.01)
    rest = [asyncio.create_task(ingest.store(f"s{n % 20}", [message(f"m{n}")])) for n in range(60)]
    await asyncio.wait(rest, timeout=0.01)
    store.answers.set()
    await asyncio.gather(*first, *rest)
    assert store.most_under_way == TOGETHER
    assert len(store.groups) <= 2 * TOGETHER
    written = {f"s{n}": [one for group in store.groups for one in ids(group.get(f"s{n}", []))] for n in range(20)}
    assert written == {f"s{n}": [f"m{n}", f"m{n + 20}", f"m{n + 40}"] for n in range(20)}
    await ingest.close(10)
    assert store.closed


async def test_a_group_is_bounded_and_sessions_take_turns_in_it() -> None:
    """No group is larger than is said, and a session that posts much leaves room for the others in each."""
    store = FakeStore()
    ingest = ingest_over(store)
    store.answers.clear()
    before = [asyncio.create_task(ingest.store(f"before{n}", [message("m")])) for n in range(TOGETHER)]
    for one in before:
        await asyncio.wait([one], timeout=0.01)
    much = asyncio.create_task(ingest.store("much", [message(f"m{n}", 4_000) for n in range(300)]))
    await asyncio.wait([much], timeout=0.01)
    little = [asyncio.create_task(ingest.store(f"s{n}", [message("m", 4_000)])) for n in range(GROUP_SESSIONS - 10)]
    await asyncio.wait(little, timeout=0.01)
    store.answers.set()
    await asyncio.gather(*before, *little)
    assert not much.done()
    await much
    for group in store.groups:
        commands = [one for several in group.values() for one in several]
        assert len(commands) <= GROUP_COMMANDS
        assert len(group) <= GROUP_SESSIONS
        assert sum(one.size for one in commands) <= GROUP_BYTES
    await ingest.close(10)


async def test_a_burst_of_receipts_holds_up_nobody() -> None:
    """While 10,000 receipts of a session wait, the messages of 200 others are in the very next groups, and all of the
    receipts are written in the end, in their order."""
    store = FakeStore()
    ingest = ingest_over(store)
    store.answers.clear()
    receipts = [IncomingUpdate(f"m{n % 100}", "g@g.us", receipt=Receipt(f"{n}", "read")) for n in range(10_000)]
    bodies = [[*commands_of(NOW, updates=receipts[n : n + 500])] for n in range(0, len(receipts), 500)]
    burst = [asyncio.create_task(ingest.store("broadcast", body)) for body in bodies]
    await asyncio.wait(burst, timeout=0.01)
    others = [asyncio.create_task(ingest.store(f"s{n}", [message("m")])) for n in range(200)]
    await asyncio.wait(others, timeout=0.01)
    store.answers.set()
    await asyncio.gather(*others)
    assert not all(task.done() for task in burst)
    assert len(store.groups) <= TOGETHER + 200 // GROUP_SESSIONS + 1
    await asyncio.gather(*burst)
    written = [command for group in store.groups for command in group.get("broadcast", [])]
    assert [one for command in written for one in command.updates] == receipts  # type: ignore[attr-defined]
    await ingest.close(10)


async def test_what_may_take_long_holds_up_nobody() -> None:
    """A command that may take long has a transaction of its own, beside those that are written together."""
    store = FakeStore()
    ingest = ingest_over(store)
    store.answers.clear()
    marks = [asyncio.create_task(ingest.apply(f"s{n}", MarkRead("a", 1))) for n in range(ALONE + 5)]
    messages = [asyncio.create_task(ingest.store(f"t{n}", [message("m")])) for n in range(5)]
    await asyncio.wait(marks, timeout=0.01)
    assert store.most_under_way == ALONE + 1
    store.answers.set()
    await asyncio.gather(*messages, return_exceptions=True)
    await asyncio.gather(*marks, return_exceptions=True)
    for group in store.groups:
        alone = [one for several in group.values() for one in several if isinstance(one, MarkRead)]
        assert not alone or sum(map(len, group.values())) == 1
    await ingest.close(10)


async def test_a_session_in_conflict_holds_up_nobody() -> None:
    """Of a group in which one session conflicts the others are written, and that one tries again by itself."""
    store = FakeStore()
    ingest = ingest_over(store)
    store.conflicts["s3"] = 7
    answers = await asyncio.gather(*(ingest.store(f"s{n}", [message("m1"), message("m2")]) for n in range(8)))
    assert [[one.seq for one in answer.messages] for answer in answers] == [[1, 2]] * 8
    assert store.conflicts["s3"] == 0
    (of_it,) = [group for group in store.groups if "s3" in group]
    assert list(of_it) == ["s3"]
    await asyncio.gather(*(ingest.store(f"s{n}", [message("m3")]) for n in range(8)))
    assert len(store.groups[-1]) == 8, "it is written with the others again"
    await ingest.close(10)


async def test_a_conflict_that_does_not_end() -> None:
    """At the deadline, the senders of that session, and no others, get an error."""
    store = FakeStore()
    ingest = ingest_over(store, deadline=0.2)
    store.conflicts["s3"] = 1_000_000
    told = await asyncio.gather(*(ingest.store(f"s{n}", [message("m")]) for n in range(8)), return_exceptions=True)
    assert [n for n, one in enumerate(told) if isinstance(one, Unavailable)] == [3]
    store.conflicts.clear()
    assert (await ingest.store("s3", [message("m")])).messages[0].seq == 1
    await ingest.close(10)


async def test_what_is_faulty_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """A command that cannot be written fails its sender alone; those of its session before and after it are written,
    in order."""
    store = FakeStore()
    ingest = ingest_over(store)
    store.faulty = {"m5"}
    tasks = [ingest.store("s1", [message(f"m{n}")]) for n in range(9)]
    tasks += [ingest.store(f"s{n}", [message("m")]) for n in range(2, 9)]
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [n for n, one in enumerate(told) if isinstance(one, Exception)] == [5]
    assert [one for group in store.groups for one in ids(group.get("s1", []))] == [f"m{n}" for n in range(9) if n != 5]
    await ingest.close(10)


async def test_stopping_without_an_answer_of_the_database() -> None:
    """What is not written within the given time is answered 503."""
    store = FakeStore()
    ingest = ingest_over(store)
    await asyncio.gather(*(ingest.store(f"s{n}", [message("m1")]) for n in range(20)))
    store.answers.clear()
    under_way = [asyncio.create_task(ingest.store(f"s{n % 20}", [message(f"m{n}")])) for n in range(60)]
    await asyncio.sleep(0)
    await ingest.close(0.05)
    for result in await asyncio.gather(*under_way, return_exceptions=True):
        assert isinstance(result, Unavailable)
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
    """Whatever ends the writing of a group, those who wait are told, and the next one who posts is served."""
    store = FakeStore()
    ingest = ingest_over(store)
    store.answers.clear()
    before = asyncio.all_tasks()
    under_way = [asyncio.create_task(ingest.store("shop", [message(f"m{n}")])) for n in range(3)]
    await asyncio.wait(under_way, timeout=0.01)
    (worker,) = asyncio.all_tasks() - before - set(under_way)
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
    commands = [*commands_of(NOW, aliases=people)]
    await ingest.store("shop", [*commands, message("m1")])
    assert await store.aliases.count_documents({"sessionId": "shop"}) == len(people)
    assert await store.seq("shop") == 1
    await ingest.store("shop", commands)
    await ingest.close(10)
