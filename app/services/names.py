"""The names of chats that are called by hidden addresses (`…@lid`), for what must not wait for the database.

A name is looked up once, kept for KEPT_SECONDS, and corrected when chats are merged. If the database does not answer
within LOOK_SECONDS, the address itself is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from app.domain.aliases import is_hidden
from app.services.background import surviving

KEPT_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 1.0
MAX_KNOWN: Final = 10_000
MAX_LOOKING: Final = 100

Key = tuple[str, str]


class Names:
    def __init__(self, name_of: Callable[[str, str], Awaitable[str]]) -> None:
        """`name_of`: reads a chat's name, given the sessionId and the address. May raise Unavailable."""
        self._name_of = name_of
        self._known: dict[Key, tuple[float, str]] = {}
        self._looking: dict[Key, asyncio.Task[str]] = {}

    def call(self, session_id: str, address: str, then: Callable[[str], None]) -> None:
        """Call `then` with the chat's name: now if possible, otherwise in the order of the calls for this address."""
        key = session_id, address
        if not is_hidden(address):
            then(address)
        elif (task := self._looking.get(key)) is not None:
            task.add_done_callback(lambda task: then(task.result()))
        elif (name := self._fresh(key)) is not None:
            then(name)
        elif len(self._looking) >= MAX_LOOKING:
            then(address)
        else:
            task = self._looking[key] = asyncio.create_task(self._look(key))
            task.add_done_callback(lambda task: self._found(key, task))
            task.add_done_callback(lambda task: None if task.cancelled() else then(task.result()))

    def merged(self, session_id: str, old: str, chat_id: str) -> None:
        """The chat `old` was merged into another."""
        if is_hidden(old):
            self._keep((session_id, old), chat_id)

    async def close(self) -> None:
        for task in self._looking.values():
            task.cancel()
        await asyncio.gather(*self._looking.values(), return_exceptions=True)

    async def _look(self, key: Key) -> str:
        with surviving("name_not_read"):
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    return await self._name_of(*key)
            except TimeoutError:
                pass
        return key[1]

    def _found(self, key: Key, task: asyncio.Task[str]) -> None:
        del self._looking[key]
        if not task.cancelled():
            self._keep(key, task.result())

    def _fresh(self, key: Key) -> str | None:
        at, name = self._known.get(key, (float("-inf"), ""))
        return name if asyncio.get_running_loop().time() - at < KEPT_SECONDS else None

    def _keep(self, key: Key, name: str) -> None:
        self._known.pop(key, None)
        self._known[key] = asyncio.get_running_loop().time(), name
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
