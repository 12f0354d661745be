"""Tasks that run for as long as the server.

A task that ends, by an error or a stray cancellation, is logged, counted and restarted after PAUSE_SECONDS. Until it
has run for STEADY_SECONDS without failing it counts as failing, which `/readyz` reports.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import structlog

from app.errors import Unavailable
from app.metrics import Metrics

log = structlog.get_logger(__name__)

PAUSE_SECONDS: Final = 1.0
STEADY_SECONDS: Final = 5.0


class Background:
    """The tasks of one server."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: dict[str, float] = {}

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` until `close`, and restart it whenever it ends. `name` is used in the log and in the metrics."""
        self._tasks.append(asyncio.create_task(self._forever(name, work), name=name))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def failing(self) -> list[str]:
        """The names of the tasks that have failed recently."""
        now = asyncio.get_running_loop().time()
        return sorted(name for name, at in self._failed.items() if now - at < PAUSE_SECONDS + STEADY_SECONDS)

    async def _forever(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception:
                log.exception("background_task_failed", task=name)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                log.exception("background_task_cancelled", task=name)
            else:
                log.error("background_task_ended", task=name)
            self._metrics.background_failures.labels(name).inc()
            self._failed[name] = asyncio.get_running_loop().time()
            await asyncio.sleep(PAUSE_SECONDS)


@contextlib.contextmanager
def surviving(what: str) -> Iterator[None]:
    """Log exceptions as an event of this name and continue. Outages of the database are logged without a traceback."""
    try:
        yield
    except Unavailable as error:
        log.warning(what, error=error.detail)
    except Exception:
        log.exception(what)
