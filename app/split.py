"""Undoes a wrong merge of two chats. Servers may be running."""

from __future__ import annotations

from app.beside import apply
from app.domain.models import Chat
from app.domain.people import SplitChat
from app.storage.mongo import Store


async def split(store: Store, session_id: str, chat_id: str, old: str) -> Chat | None:
    """Separate the chat `old` again and return it. Returns None if `chat_id` has no messages of that address.

    Messages that were in both chats with the same messageId stay where they are. Raises Unavailable, also if the
    session is too busy.
    """
    results = await apply(store, session_id, SplitChat(chat_id, old))
    found = [one for one in results if isinstance(one, Chat) and one.chat_id == old]
    return found[-1] if found else None
