"""The tasks of a server: whatever ends one is seen and counted, and the shutdown leaves none behind."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from .stats import Stats

log = logging.getLogger(__name__)


class Tasks:
    """Keeps tasks from being collected and tells when one has failed."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._finite: set[asyncio.Task[Any]] = set()
        self._endless: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """Tasks that the shutdown waits for."""
        return len(self._finite)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that the shutdown waits for and then cancels."""
        return self._keep(coroutine, self._finite)

    def start_endless(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that the shutdown cancels at once."""
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
        """Cancel them all and wait for those that do not end at once."""
        tasks = (*self._finite, *self._endless)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)


def guarded(stats: Stats, callback: Callable[..., None], *args: Any) -> None:
    """Call it. What it raises is counted and logged, a stray CancelledError included: whoever calls goes on."""
    try:
        callback(*args)
    except (Exception, asyncio.CancelledError):
        stats.failures += 1
        log.exception("callback_failed")
