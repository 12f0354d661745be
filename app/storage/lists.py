"""Pages of chats and messages in their present state, for clients that load lists."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from pymongo import ASCENDING, DESCENDING

from app.domain.changes import moved
from app.domain.models import Chat, Message
from app.storage.documents import Document, load_chat, load_message


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
        found: list[Message] = []
        async with await self._database.client.start_session(snapshot=True) as moment:
            chat = await self._chats.find_one(here, {"also": 1}, session=moment) or {}
            everywhere = {**here, "chatId": {"$in": [here["chatId"], *chat.get("also", [])]}}
            while len(found) < limit:
                documents = self._messages.find({**everywhere, **seq}, session=moment).sort("seq", order).limit(limit)
                page = [load_message(document) async for document in documents]
                ids = {"$in": [message.message_id for message in page]}
                twins = self._messages.find(
                    {**everywhere, "messageId": ids}, {"messageId": 1, "seq": 1}, session=moment
                )
                lowest: dict[str, int] = {}
                async for twin in twins:
                    lowest[twin["messageId"]] = min(twin["seq"], lowest.get(twin["messageId"], twin["seq"]))
                found += [message for message in page if message.seq == lowest[message.message_id]]
                if len(page) < limit:
                    break
                seq = {"seq": {"$gt" if order == ASCENDING else "$lt": page[-1].seq}}
        chat_id = here["chatId"]
        return [one if one.chat_id == chat_id else moved(one, chat_id) for one in found[:limit]]
