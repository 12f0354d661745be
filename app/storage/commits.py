"""The change stream on `sessions`, which reports each commit of any server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, Final

from app.errors import Unavailable

AWAIT_MS: Final = 1000
ANSWER_SECONDS: Final = 2.5
"""A change stream answers at least every second. If it is silent for longer, it is dead."""
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
        # Any error: if a limit was exceeded, a driver thread still waits in a stream that is being
        # closed, and both may fail.
        raise Unavailable(f"The change stream broke: {type(error.__cause__ or error).__name__}") from error
    finally:
        # Closing asks the database to close the cursor, but the database may not answer: whoever must know that the
        # stream broke waits no longer than this.
        with contextlib.suppress(Exception):
            async with bounded(CLOSE_SECONDS):
                await stream.close()
