"""The bus over MongoDB: a change stream on the collection `bus`.

Each transaction that commits events adds one document, which names its sessions and their last numbers. Ephemeral
values are documents of the same collection. Documents expire after some seconds, because a server that has lost its
change stream queries the sessions' numbers instead of reading on.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final

import structlog

from app.bus import Commit, Report, Told
from app.bus.waiting import Waiting
from app.domain.events import now
from app.domain.known import Outcome
from app.errors import Unavailable

log = structlog.get_logger(__name__)

AWAIT_MS: Final = 1000
ANSWER_SECONDS: Final = 2.5
"""A change stream answers at least every second. If it is silent for longer, it is dead."""
CLOSE_SECONDS: Final = 1.0
SEND_SECONDS: Final = 2.0

_PIPELINE: Final = [{"$match": {"operationType": "insert"}}, {"$project": {"fullDocument": 1}}]


class ChangeStream:
    through_database: Final = True

    def __init__(
        self, collection: Any, bounded: Callable[[float], contextlib.AbstractAsyncContextManager[None]]
    ) -> None:
        """`collection` and `bounded`: those of the store."""
        self._collection, self._bounded = collection, bounded
        self._server: Final = secrets.token_urlsafe(6)
        self._waiting: Waiting[Told] = Waiting()

    async def listen(self) -> AsyncIterator[Report | None]:
        stream = self._collection.watch(_PIPELINE, max_await_time_ms=AWAIT_MS)
        try:
            while True:
                async with self._bounded(ANSWER_SECONDS):  # the first call opens it
                    change = await stream.try_next()
                if change is None:
                    yield None
                    continue
                for one in self._read(change["fullDocument"]):
                    yield one
        except Exception as error:
            # Any error: if a limit was exceeded, a driver thread still waits in a stream that is being
            # closed, and both may fail.
            raise Unavailable(f"The change stream broke: {type(error.__cause__ or error).__name__}") from error
        finally:
            # Closing asks the database to close the cursor, but the database may not answer: whoever must know that
            # the stream broke waits no longer than this.
            with contextlib.suppress(Exception):
                async with self._bounded(CLOSE_SECONDS):
                    await stream.close()

    def follow(self, session_id: str) -> None:
        """Nothing to do: all sessions are reported."""

    def stop_following(self, session_id: str) -> None: ...

    def ring(self, session_id: str, outcome: Outcome) -> None:
        """Nothing to do: the transaction has added its document."""

    async def check(self) -> None: ...

    async def close(self) -> None: ...

    def tell(self, told: Told) -> None:
        self._waiting.put(told)

    async def send(self) -> None:
        while True:
            values = await self._waiting.take()
            told = [{"sessionId": one.session_id, "kind": one.kind, "value": dict(one.value)} for one in values]
            try:
                async with self._bounded(SEND_SECONDS):
                    await self._collection.insert_one({"at": now(), "server": self._server, "told": told})
            except Unavailable:
                log.warning("bus_values_dropped", count=len(values))

    def _read(self, document: Mapping[str, Any]) -> Iterator[Commit | Told]:
        for one in document.get("commits", ()):
            yield Commit(one["sessionId"], one["seq"], one.get("dueAt"))
        if document.get("server") != self._server:
            for one in document.get("told", ()):
                yield Told(one["sessionId"], one["kind"], one["value"])
