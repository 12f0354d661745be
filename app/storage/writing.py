"""Writes the outcomes of a group, within the writer's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.database import Database

from app.domain.known import Outcome
from app.storage.deliveries import dump_delivery
from app.storage.documents import Document, dump_chat, dump_event, dump_message, dump_parked


def write(database: Database[Document], client_session: ClientSession, outcomes: Mapping[str, Outcome]) -> None:
    """Write everything except the sessions' documents, with one call per collection that changes."""
    events = [dump_event(event) for outcome in outcomes.values() for event in outcome.events]
    if events:
        database["events"].insert_many(events, session=client_session)
    changes: defaultdict[str, list[list[Any]]] = defaultdict(list)
    for session_id, outcome in outcomes.items():
        for collection, kinds in _changes(session_id, outcome).items():
            changes[collection].append(kinds)
    for collection, of_sessions in changes.items():
        # One kind of operation after the other, so that the driver sends few commands. Removals first, because a moved
        # document may take the place of a removed one.
        operations = [one for kind in zip(*of_sessions, strict=True) for several in kind for one in several]
        if operations:
            database[collection].bulk_write(operations, session=client_session)


def _changes(session_id: str, outcome: Outcome) -> dict[str, list[list[Any]]]:
    """The operations on each collection, in lists of one kind each."""

    def one(**key: Any) -> Document:
        return {"sessionId": session_id, **key}

    changes: dict[str, list[list[Any]]] = {
        "messages": [
            [DeleteOne(one(chatId=chat_id, messageId=message_id)) for chat_id, message_id in outcome.removed_messages],
            [
                ReplaceOne(one(chatId=chat_id, messageId=message_id), dump_message(message))
                for (chat_id, message_id), message in outcome.changed_messages.items()
            ],
            [InsertOne(dump_message(message)) for message in outcome.new_messages.values()],
        ],
        "chats": [
            [DeleteOne(one(chatId=chat_id)) for chat_id in outcome.removed_chats],
            [ReplaceOne(one(chatId=chat.chat_id), dump_chat(chat), upsert=True) for chat in outcome.chats.values()],
        ],
    }
    if outcome.new_aliases or outcome.refused_aliases:
        changes["aliases"] = [
            [
                UpdateOne(one(lid=lid), {"$set": {"address": address}}, upsert=True)
                for lid, address in {alias.lid: alias.address for alias in outcome.new_aliases}.items()
            ],
            [
                UpdateOne(
                    one(lid=alias.lid), {"$set": {"address": None}, "$addToSet": {"refused": alias.address}}, True
                )
                for alias in outcome.refused_aliases
            ],
        ]
    if outcome.contact_names:
        changes["contacts"] = [
            [
                UpdateOne(one(chatId=chat_id), {"$set": {"name": name}}, upsert=True)
                for chat_id, name in outcome.contact_names.items()
            ]
        ]
    if outcome.deliveries:
        changes["deliveries"] = [
            [
                ReplaceOne({"_id": delivery.id}, dump_delivery(delivery), upsert=True)
                for delivery in outcome.deliveries.values()
            ]
        ]
    if outcome.parked or outcome.unparked:
        unparked = {"_id": {"$in": [f"{session_id}/{one_id}" for one_id in outcome.unparked]}}
        changes["parked"] = [
            [
                UpdateOne(
                    {"_id": (document := dump_parked(session_id, parked)).pop("_id")}, {"$setOnInsert": document}, True
                )
                for parked in outcome.parked.values()
            ],
            [DeleteMany(unparked)] if outcome.unparked else [],
        ]
    return changes
