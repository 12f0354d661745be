"""Timers and tasks continue after errors."""

import asyncio

import pytest

from app.engine.deadlines import Deadlines
from app.engine.inbox import Inbox
from app.engine.stats import Stats
from app.engine.tasks import Tasks

from .conftest import Serve, until

ERRORS = pytest.mark.parametrize("error", [ValueError("a defect"), asyncio.CancelledError()])


@ERRORS
async def test_deadlines_go_on_after_a_callback_that_raises(error: BaseException) -> None:
    """The others are due all the same, and so is what is added later; it is counted."""
    stats, due = Stats(), asyncio.Queue[int]()

    def callback(item: int, _due: float) -> None:
        if item == 1:
            raise error
        due.put_nowait(item)

    deadlines = Deadlines[int](0.01, callback, stats)
    for item in (1, 2, 3):
        deadlines.add(item)
    assert [await due.get(), await due.get()] == [2, 3]
    deadlines.add(1)
    deadlines.add(4)
    assert await due.get() == 4
    assert stats.failures == 2


@ERRORS
async def test_an_inbox_goes_on_after_a_job_that_raises(error: BaseException) -> None:
    """The next job runs, in the same order as ever."""
    stats, done = Stats(), asyncio.Queue[int]()

    async def job(number: int) -> None:
        if number == 1:
            raise error
        done.put_nowait(number)

    tasks = Tasks(stats)
    inbox = Inbox(tasks, stats)
    for number in range(4):
        inbox.put(1, job, number)
    assert [await done.get() for _ in range(3)] == [0, 2, 3]
    assert stats.failures == 1
    await until(lambda: not tasks)
    inbox.put(1, job, 5)
    assert await done.get() == 5


async def test_a_task_that_fails_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and counted once, instead of asyncio's warning about an error that was never retrieved."""
    stats = Stats()
    tasks = Tasks(stats)

    async def fail() -> None:
        raise ValueError("a defect")

    tasks.start_endless(fail())
    await until(lambda: stats.failures == 1)
    assert [record.message for record in caplog.records] == ["task_failed"]


@ERRORS
async def test_congestion_goes_on_being_told_after_a_callback_that_raises(serve: Serve, error: BaseException) -> None:
    """One client's trouble in `on_congested` is not another's."""
    told: list[str] = []

    def on_congested(sid: str) -> None:
        told.append(sid)
        raise error

    site = await serve(on_congested=on_congested)
    async with await site.polling() as one, await site.polling() as two:
        site.server.publish("event", "x" * 100_000, rooms=["all"])
        await until(lambda: len(told) == 2)
        assert sorted(told) == sorted(site.sids)
        for polling in (one, two):
            assert (await polling.poll())[1].startswith('42["event"')
    assert site.server.stats.handler_errors == 2
