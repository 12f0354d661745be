"""Answers commands that would store only messages that are stored already, with one read and no transaction."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo.database import Database

from app.domain.commands import StoreMessages
from app.domain.known import Command
from app.domain.models import IncomingMessage, Message, MessageResult
from app.storage.documents import Document, load_message
from app.storage.indexes import BY_ID


def find(database: Database[Document], session_id: str, commands: Sequence[Command]) -> list[MessageResult] | None:
    """The results of these commands, or None if they may change anything."""
    incoming: list[IncomingMessage] = []
    for command in commands:
        if not isinstance(command, StoreMessages) or command.aliases:
            return None
        incoming += command.messages
    query = {"sessionId": session_id, "messageId": {"$in": [one.message_id for one in incoming]}}
    stored: dict[tuple[str, str], Message] = {}
    for message in map(load_message, database["messages"].find(query, hint=BY_ID, batch_size=len(incoming) + 1)):
        stored[message.key] = message
        if message.came_as is not None:
            stored.setdefault((message.came_as, message.message_id), message)
    results: list[MessageResult] = []
    for one in incoming:
        found = stored.get((one.chat_id, one.message_id))
        if found is None or (one.has_content and not found.is_whole):
            return None
        results.append(MessageResult(found.message_id, found.seq, duplicate=True))
    return results
