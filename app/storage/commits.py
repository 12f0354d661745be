"""The change stream on `sessions`: it tells of each commit, whoever made it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, Final

from app.errors import Unavailable

AWAIT_MS: Final = 1000
ANSWER_SECONDS: Final = 2.5
"""A change stream answers every second, if only that there is nothing new. One that is silent for longer is dead."""
CLOSE_SECONDS: Final = 1.0

_FIELDS: Final = [
    f"{place}.{name}" for place in ("fullDocument", "updateDescription.updatedFields") for name in ("seq", "dueAt")
]
_PIPELINE: Final = [{"$project": {"documentKey": 1} | dict.fromkeys(_FIELDS, 1)}]


async def follow(
    sessions: Any, bounded: Callable[[float], contextlib.AbstractAsyncContextManager[None]]
) -> AsyncIterator[tuple[str, int, datetime | None] | None]:
    """See `app.storage.mongo.Store.watch`. `sessions`: motor's collection."""
    stream = sessions.watch(_PIPELINE, max_await_time_ms=AWAIT_MS)
    try:
        while True:
            async with bounded(ANSWER_SECONDS):  # the first call opens it
                change = await stream.try_next()
            if change is None:
                yield None
                continue
            fields = change.get("fullDocument") or change.get("updateDescription", {}).get("updatedFields", {})
            if "seq" in fields:
                yield change["documentKey"]["_id"], fields["seq"], fields.get("dueAt")
    except Exception as error:
        # Of any kind: where a limit was not kept to, a thread of the driver's still waits in a stream that is being
        # closed, and the two of them trip over each other.
        raise Unavailable(f"The change stream broke: {type(error.__cause__ or error).__name__}") from error
    finally:
        # It asks the database to forget the cursor, which may be what does not answer: whoever must know that the
        # stream broke waits no longer than this for it.
        with contextlib.suppress(Exception):
            async with bounded(CLOSE_SECONDS):
                await stream.close()
