"""The tasks of a server: failures are logged and counted, and the shutdown ends all tasks."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from .stats import Stats

log = logging.getLogger(__name__)


class Tasks:
    """Keeps references to tasks, and reports failures."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._finite: set[asyncio.Task[Any]] = set()
        self._endless: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """Number of tasks that the shutdown waits for."""
        return len(self._finite)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that the shutdown waits for and then cancels."""
        return self._keep(coroutine, self._finite)

    def start_endless(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that the shutdown cancels at once."""
        return self._keep(coroutine, self._endless)

    def _keep(self, coroutine: Coroutine[Any, Any, Any], tasks: set[asyncio.Task[Any]]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stats.failures += 1
            log.error("task_failed", exc_info=error)

    async def end(self, timeout: float) -> None:
        """Cancel all tasks, and wait for those that do not end at once."""
        tasks = (*self._finite, *self._endless)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)


def guarded(stats: Stats, callback: Callable[..., None], *args: Any) -> None:
    """Call the function. Exceptions, including a stray CancelledError, are counted and logged, and not raised."""
    try:
        callback(*args)
    except (Exception, asyncio.CancelledError):
        stats.failures += 1
        log.exception("callback_failed")
