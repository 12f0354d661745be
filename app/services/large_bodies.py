"""Stores request bodies that need several transactions.

- The work goes on if the sender disconnects: many senders give up after some seconds and repeat the body.
- A repeat of the same body that arrives meanwhile waits for the same result. Results are kept for KEPT_SECONDS, and
  KEPT_BYTES in all.
- AT_ONCE bodies are stored at a time. More are refused, and the senders are told to repeat them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final

from app.errors import Unavailable
from app.services.sharing import joined, shared

AT_ONCE: Final = 2
KEPT_SECONDS: Final = 300.0
KEPT_BYTES: Final = 16 * 1024 * 1024


class LargeBodies:
    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[bytes]] = {}
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def answer(self, key: str, store: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """The answer to a body, which `store` makes unless the same body, by its `key`, is known.

        Raises what `store` raises, and Unavailable if too many bodies are being stored.
        """
        self._forget()
        if key in self._kept:
            return self._kept[key][1]
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= AT_ONCE:
                raise Unavailable("Other large bodies are being stored. Try again.")
            task = self._running[key] = shared(store())
            task.add_done_callback(lambda task: self._done(key, task))
        return await joined(task)

    def _done(self, key: str, task: asyncio.Task[bytes]) -> None:
        del self._running[key]
        if not task.cancelled() and task.exception() is None:
            self._kept[key] = (asyncio.get_running_loop().time(), task.result())
            self._forget()

    def _forget(self) -> None:
        """Remove results that are too old, and the oldest while they are too large together."""
        size = sum(len(answer) for _, answer in self._kept.values())
        oldest = asyncio.get_running_loop().time() - KEPT_SECONDS
        while self._kept:
            since, answer = next(iter(self._kept.values()))
            if since > oldest and size <= KEPT_BYTES:
                break
            self._kept.popitem(last=False)
            size -= len(answer)
