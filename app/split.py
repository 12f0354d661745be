"""Undoes a merge of two chats that was wrong. A server may run meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque

from app.domain.known import Command
from app.domain.models import Chat
from app.domain.people import SplitChat
from app.errors import Unavailable
from app.storage.mongo import Store
from app.storage.writer import Conflict

ATTEMPTS = 50
PAUSE_SECONDS = 0.1


async def split(store: Store, session_id: str, chat_id: str, old: str) -> Chat | None:
    """The chat `old`, separate again; None where nothing in `chat_id` came under that address. Raises Unavailable, also
    where others write to the session without a pause.

    What was in both chats under the same messageId stays where it is.
    """
    writer = store.writer(session_id)
    commands: deque[Command] = deque([SplitChat(chat_id, old)])
    chat = None
    try:
        while commands:
            for attempt in range(ATTEMPTS):
                try:
                    outcome = await writer.apply([commands[0]])
                    break
                except Conflict:
                    if attempt == ATTEMPTS - 1:
                        raise Unavailable("The session is too busy. Try again.") from None
                    await asyncio.sleep(PAUSE_SECONDS)
            commands.popleft()
            commands.extend(outcome.follow_up)
            (result,) = outcome.results
            chat = result if isinstance(result, Chat) and result.chat_id == old else chat
    finally:
        await writer.end()
    return chat
