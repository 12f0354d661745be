"""The states of accounts at their providers, one document for each session."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from pymongo import ASCENDING, ReturnDocument
from pymongo.database import Database

from app.domain.accounts import Account
from app.storage.documents import Document

COLLECTION: Final = "accounts"


def save(database: Database[Document], session_id: str, account: Account) -> Account:
    """Store a report, unless a later one is stored. Returns what is stored now, with the time since which the state is
    the same."""
    newer = {"$gte": [account.at, {"$ifNull": ["$at", account.at]}]}
    since = {"$cond": [{"$eq": ["$state", account.state]}, "$since", account.since]}
    values: dict[str, Any] = {
        "state": account.state,
        "detail": {"$literal": account.detail},
        "since": since,
        "at": account.at,
    }
    stored: Any = database[COLLECTION].find_one_and_update(
        {"_id": session_id},
        [{"$set": {name: {"$cond": [newer, value, f"${name}"]} for name, value in values.items()}}],
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    return _load(stored)


def read(database: Database[Document], session_ids: Collection[str]) -> dict[str, Account]:
    """The stored states of these sessions."""
    found = database[COLLECTION].find({"_id": {"$in": list(session_ids)}})
    return {document["_id"]: _load(document) for document in found}


def names(database: Database[Document], after: str, limit: int) -> list[str]:
    """The sessions with a stored state, in order, above `after`."""
    found = database[COLLECTION].find({"_id": {"$gt": after}}, {"_id": 1}).sort("_id", ASCENDING).limit(limit)
    return [document["_id"] for document in found]


def _load(document: Document) -> Account:
    return Account(document["state"], document["detail"], document["since"], document["at"])
