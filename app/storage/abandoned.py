"""Transactions of killed or frozen servers, which block their sessions until the database aborts them."""

from __future__ import annotations

from typing import Final

from pymongo import MongoClient
from pymongo.read_concern import ReadConcern

from app.storage.documents import Document

APP_NAME: Final = "roomcast"
_INACTIVE_MICROSECONDS: Final = 1_000_000


def end(client: MongoClient[Document]) -> int:
    """End Roomcast's transactions that have been inactive for a second. Returns their number.

    Only transactions of our own database user, which need no privileges.
    """
    pipeline: list[Document] = [
        {"$currentOp": {"allUsers": False, "idleSessions": True}},
        {
            "$match": {
                "type": "idleSession",
                "appName": APP_NAME,
                "transaction.timeInactiveMicros": {"$gt": _INACTIVE_MICROSECONDS},
            }
        },
        {"$project": {"lsid.id": 1}},
    ]
    admin = client.get_database("admin", read_concern=ReadConcern("local"))
    found = [{"id": document["lsid"]["id"]} for document in admin.aggregate(pipeline)]
    if found:
        admin.command("killSessions", found)
    return len(found)
