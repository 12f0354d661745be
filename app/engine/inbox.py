"""A client's unhandled input: jobs that run one at a time and in order."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from .stats import Stats
from .tasks import Tasks

log = logging.getLogger(__name__)

Job = Callable[..., Awaitable[None]]


class Inbox:
    """The jobs of one connection. It has a task only while there are any."""

    __slots__ = ("_jobs", "_stats", "_tasks", "bytes")

    def __init__(self, tasks: Tasks, stats: Stats) -> None:
        self._tasks, self._stats = tasks, stats
        self._jobs: deque[tuple[int, Job, tuple[Any, ...]]] | None = None
        self.bytes = 0
        """Bytes of the waiting jobs."""

    def __len__(self) -> int:
        """Number of waiting jobs, without the running one."""
        return len(self._jobs) if self._jobs else 0

    def put(self, size: int, job: Job, *args: Any) -> None:
        """Run the job after all earlier ones. `size`: the bytes it was received in."""
        self.bytes += size
        if self._jobs is None:
            self._jobs = deque()
            self._jobs.append((size, job, args))
            self._tasks.start(self._work(self._jobs))
        else:
            self._jobs.append((size, job, args))

    async def _work(self, jobs: deque[tuple[int, Job, tuple[Any, ...]]]) -> None:
        try:
            while jobs:
                size, job, args = jobs.popleft()
                self.bytes -= size
                try:
                    await job(*args)
                except Exception:
                    self._failed()
                except asyncio.CancelledError:
                    task = asyncio.current_task()
                    if task is not None and task.cancelling():
                        raise  # by the shutdown
                    self._failed()
        finally:
            self._jobs = None

    def _failed(self) -> None:
        self._stats.failures += 1
        log.exception("job_failed")
