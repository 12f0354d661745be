"""Undoes a wrong merge of two chats. Servers may be running."""

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
    """Separate the chat `old` again and return it. Returns None if `chat_id` has no messages of that address.

    Messages that were in both chats with the same messageId stay where they are. Raises Unavailable, also if the
    session is too busy.
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
