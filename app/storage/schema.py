"""The collections, their indexes, and the values of `meta`: made at start, where they are missing.

To prepare a database again is harmless, and any number of servers may do it at once.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from app.storage.documents import Document

SCHEMA_VERSION: Final = 1

_NAMESPACE_EXISTS: Final = 48
_INDEX_OPTIONS_CONFLICT: Final = 85

_INDEXES: Final[dict[str, list[IndexModel]]] = {
    "meta": [],
    "sessions": [],
    "events": [
        IndexModel([("sessionId", ASCENDING), ("seq", ASCENDING)], unique=True),
        IndexModel([("sessionId", ASCENDING), ("chatId", ASCENDING), ("seq", ASCENDING)]),
    ],
    "messages": [
        IndexModel([("sessionId", ASCENDING), ("chatId", ASCENDING), ("messageId", ASCENDING)], unique=True),
        IndexModel([("sessionId", ASCENDING), ("chatId", ASCENDING), ("seq", ASCENDING)], unique=True),
    ],
    "chats": [
        IndexModel([("sessionId", ASCENDING), ("chatId", ASCENDING)], unique=True),
        IndexModel([("sessionId", ASCENDING), ("lastSeq", DESCENDING)]),
    ],
    "aliases": [
        IndexModel([("sessionId", ASCENDING), ("lid", ASCENDING)], unique=True),
        IndexModel([("sessionId", ASCENDING), ("address", ASCENDING)]),
    ],
}


class SetupError(Exception):
    """The database cannot be used as it is set up. The message says what to do."""


def prepare(database: Database[Document], retention_days: int) -> str:
    """Make what is missing, and answer the epoch. Raises SetupError."""
    if "setName" not in database.client.admin.command("hello"):
        raise SetupError(
            "MONGODB_URI names a server that is not part of a replica set, and transactions need one. "
            "Start mongod with --replSet rs0 and run rs.initiate() once; one member is enough."
        )
    for name, indexes in _INDEXES.items():
        _make_collection(database, name)
        if indexes:
            database[name].create_indexes(indexes)
    _set_retention(database, retention_days)
    version = _put_once(database, "schema", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise SetupError(f"The database has schema {version}, this version of Roomcast needs {SCHEMA_VERSION}.")
    epoch: str = _put_once(database, "epoch", secrets.token_urlsafe(9))
    return epoch


def _make_collection(database: Database[Document], name: str) -> None:
    try:
        database.create_collection(name, check_exists=False)
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:  # another server may have been first
            raise


def _put_once(database: Database[Document], name: str, value: Any) -> Any:
    """The value that `meta` keeps under this name: this one, unless there was one."""
    try:
        database["meta"].update_one({"_id": name}, {"$setOnInsert": {"value": value}}, upsert=True)
    except DuplicateKeyError:
        pass  # another server was first
    document = database["meta"].find_one({"_id": name})
    assert document is not None
    return document["value"]


def _set_retention(database: Database[Document], days: int) -> None:
    seconds = days * 86_400
    try:
        database["events"].create_index([("at", ASCENDING)], expireAfterSeconds=seconds)
    except OperationFailure as error:
        if error.code != _INDEX_OPTIONS_CONFLICT:  # it exists with another time
            raise
        database.command("collMod", "events", index={"keyPattern": {"at": 1}, "expireAfterSeconds": seconds})
