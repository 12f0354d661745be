"""Applies commands from the command line, while servers may be running."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from app.domain.known import Command, Result
from app.errors import Unavailable
from app.storage.group import Conflict
from app.storage.mongo import Store

ATTEMPTS: Final = 50
PAUSE_SECONDS: Final = 0.1


async def apply(store: Store, session_id: str, *given: Command) -> list[Result]:
    """Apply the commands, each in its own transaction, and then their follow-up commands. Returns all results.

    Raises Unavailable, also if the session is too busy.
    """
    writer = store.writer()
    commands, results = deque(given), list[Result]()
    try:
        while commands:
            for attempt in range(ATTEMPTS):
                try:
                    outcome = (await writer.apply({session_id: [commands[0]]}))[session_id]
                    break
                except Conflict:
                    if attempt == ATTEMPTS - 1:
                        raise Unavailable("The session is too busy. Try again.") from None
                    await asyncio.sleep(PAUSE_SECONDS)
            commands.popleft()
            commands.extend(outcome.follow_up)
            results += outcome.results
    finally:
        await writer.close()
    return results
