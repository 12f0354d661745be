"""Pages of chats and messages in their present state, for clients that load lists."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING

from app.domain.changes import moved
from app.domain.models import Chat, Message
from app.storage.documents import Document, load_chat, load_message
from app.storage.indexes import BY_ID

AT_ONCE: Final = 2_000
"""Messages of a chat that is being merged whose ids are read at a time."""


class Lists:
    def __init__(self, database: Any, bounded: Callable[[], contextlib.AbstractAsyncContextManager[None]]) -> None:
        """`database`: motor's. `bounded`: limits the time of a call, and raises Unavailable."""
        self._database, self._bounded = database, bounded
        self._chats, self._messages = database["chats"], database["messages"]

    async def read_chats(self, session_id: str, before: int | None, limit: int) -> list[Chat]:
        """Chats in descending order of lastSeq, those below `before` if it is given."""
        query: Document = {"sessionId": session_id}
        if before is not None:
            query["lastSeq"] = {"$lt": before}
        async with self._bounded():
            cursor = self._chats.find(query).sort("lastSeq", DESCENDING).limit(limit)
            return [load_chat(document) async for document in cursor]

    async def read_messages(
        self, session_id: str, chat_id: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> list[Message]:
        """The first `limit` messages after `after` in ascending seq, or else the last `limit` before `before`."""
        here = {"sessionId": session_id, "chatId": chat_id}
        seq: Document = {}
        if after is not None:
            seq = {"seq": {"$gt": after}}
        elif before is not None:
            seq = {"seq": {"$lt": before}}
        order = ASCENDING if after is not None else DESCENDING
        async with self._bounded():
            if await self._chats.find_one({**here, "also": {"$exists": True}}, {"_id": 1}):
                found = await self._read_merging(here, seq, order, limit)
            else:
                documents = self._messages.find({**here, **seq}).sort("seq", order).limit(limit)
                found = [load_message(document) async for document in documents]
        return found if after is not None else found[::-1]

    async def _read_merging(self, here: Document, seq: Document, order: int, limit: int) -> list[Message]:
        """Messages of a chat, including those still stored under the chatIds of chats merged into it.

        All are read from one snapshot, so that a message being moved is neither missed nor listed twice. If a message
        is in several chats, only the one with the lowest seq is listed, which is the one that will be kept.
        """
        kept: list[int] = []
        async with await self._database.client.start_session(snapshot=True) as moment:
            chat = await self._chats.find_one(here, {"also": 1}, session=moment) or {}
            everywhere = {**here, "chatId": {"$in": [here["chatId"], *chat.get("also", [])]}}
            fields, size = {"messageId": 1, "seq": 1}, limit
            while len(kept) < limit:
                found = (
                    self._messages.find({**everywhere, **seq}, fields, session=moment).sort("seq", order).limit(size)
                )
                page = [(d["messageId"], d["seq"]) async for d in found.sort("seq", order).limit(size)]
                ids = {"$in": [message_id for message_id, _ in page]}
                found = self._messages.find({**everywhere, "messageId": ids}, fields, session=moment, hint=BY_ID)
                lowest: dict[str, int] = {}
                async for document in found:
                    message_id, number = document["messageId"], document["seq"]
                    lowest[message_id] = min(number, lowest.get(message_id, number))
                kept += [number for message_id, number in page if lowest[message_id] == number]
                if len(page) < size:
                    break
                seq = {"seq": {"$gt" if order == ASCENDING else "$lt": page[-1][1]}}
                size = AT_ONCE  # there may be many copies in a row
            wanted = {**everywhere, "seq": {"$in": kept[:limit]}}
            messages = [load_message(document) async for document in self._messages.find(wanted, session=moment)]
        messages.sort(key=lambda message: message.seq, reverse=order == DESCENDING)
        chat_id = here["chatId"]
        return [one if one.chat_id == chat_id else moved(one, chat_id) for one in messages]
