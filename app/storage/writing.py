"""Writes the outcome of a batch, within the writer's transaction."""

from __future__ import annotations

from typing import Any

from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.database import Database

from app.domain.known import Outcome
from app.storage.deliveries import dump_delivery
from app.storage.documents import Document, dump_chat, dump_event, dump_message, dump_parked


def write(database: Database[Document], client_session: ClientSession, session_id: str, outcome: Outcome) -> None:
    """Write everything except the session's document, with one call per collection that changes."""

    def one(**key: Any) -> Document:
        return {"sessionId": session_id, **key}

    if outcome.events:
        database["events"].insert_many([dump_event(event) for event in outcome.events], session=client_session)
    writes: dict[str, list[Any]] = {
        # Removals first, because a moved document may take the place of a removed one.
        "messages": [
            *(DeleteOne(one(chatId=chat_id, messageId=message_id)) for chat_id, message_id in outcome.removed_messages),
            *(
                ReplaceOne(one(chatId=chat_id, messageId=message_id), dump_message(message))
                for (chat_id, message_id), message in outcome.changed_messages.items()
            ),
            *(InsertOne(dump_message(message)) for message in outcome.new_messages.values()),
        ],
        "chats": [
            *(DeleteOne(one(chatId=chat_id)) for chat_id in outcome.removed_chats),
            *(ReplaceOne(one(chatId=chat.chat_id), dump_chat(chat), upsert=True) for chat in outcome.chats.values()),
        ],
        "aliases": [
            *(
                UpdateOne(one(lid=lid), {"$set": {"address": address}}, upsert=True)
                for lid, address in {alias.lid: alias.address for alias in outcome.new_aliases}.items()
            ),
            *(
                UpdateOne(
                    one(lid=alias.lid), {"$set": {"address": None}, "$addToSet": {"refused": alias.address}}, True
                )
                for alias in outcome.refused_aliases
            ),
        ],
        "contacts": [
            UpdateOne(one(chatId=chat_id), {"$set": {"name": name}}, upsert=True)
            for chat_id, name in outcome.contact_names.items()
        ],
        "deliveries": [
            ReplaceOne({"_id": delivery.id}, dump_delivery(delivery), upsert=True)
            for delivery in outcome.deliveries.values()
        ],
        "parked": [
            *(
                UpdateOne(
                    {"_id": (document := dump_parked(session_id, parked)).pop("_id")}, {"$setOnInsert": document}, True
                )
                for parked in outcome.parked.values()
            ),
            *(
                [DeleteMany({"_id": {"$in": [f"{session_id}/{one_id}" for one_id in outcome.unparked]}})]
                if outcome.unparked
                else []
            ),
        ],
    }
    for collection, operations in writes.items():
        if operations:
            database[collection].bulk_write(operations, session=client_session)
