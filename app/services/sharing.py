"""One database query for all concurrent callers that need its result."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from app.errors import Unavailable

T = TypeVar("T")

GIVEN_UP = "The session is being reloaded. Try again."


def shared(question: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task for which several callers wait with `joined`. If nobody waits any more, its error is ignored."""
    task = asyncio.create_task(question)
    task.add_done_callback(failed)
    return task


async def joined(task: asyncio.Task[T]) -> T:
    """The task's result. A caller that is cancelled does not cancel the task. Raises Unavailable if the task itself was
    cancelled."""
    await asyncio.wait([task])
    if task.cancelled():
        raise Unavailable(GIVEN_UP)
    return task.result()


def failed(task: asyncio.Task[Any]) -> bool:
    """Whether a finished task has no result."""
    return task.cancelled() or task.exception() is not None
