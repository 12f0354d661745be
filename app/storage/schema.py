"""The collections, their indexes, and the values of `meta`, which are created at start if they are missing.

Preparing a database can be repeated, also by several servers at once.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from app.domain.deliveries import KEPT_DAYS
from app.domain.incoming import PARKED_FOR
from app.storage import accounts, indexes, migration, quick_replies, revocations
from app.storage.causes import SetupError
from app.storage.documents import Document

SCHEMA_VERSION: Final = migration.VERSION

BUS_SECONDS: Final = 10
"""How long a document of the bus is kept at least."""

_NAMESPACE_EXISTS: Final = 48
_INDEX_OPTIONS_CONFLICT: Final = 85

_INDEXES: Final[dict[str, list[IndexModel]]] = {
    "meta": [],
    accounts.COLLECTION: [],
    "sessions": [],
    "bus": [IndexModel([("at", ASCENDING)], expireAfterSeconds=BUS_SECONDS)],
    "revocations": [
        IndexModel([("number", ASCENDING)]),
        IndexModel([("until", ASCENDING)], expireAfterSeconds=0),
    ],
    "events": [
        IndexModel(indexes.LOG, unique=True),
        IndexModel(indexes.BY_SEQ),
    ],
    "messages": [
        IndexModel(indexes.BY_ID, unique=True),
        IndexModel(indexes.BY_SEQ, unique=True),
        IndexModel(
            indexes.BY_LATE_SEQ,
            partialFilterExpression={"lateSeq": {"$exists": True}},
        ),
        IndexModel(indexes.BY_HIDDEN, partialFilterExpression={"hidden": {"$exists": True}}),
        IndexModel(
            indexes.BY_PROVIDER_ID,
            partialFilterExpression={"providerId": {"$exists": True}},
        ),
    ],
    "deliveries": [
        # Due deliveries of some sessions; a chat's open deliveries in order; expiry of ended ones.
        IndexModel(indexes.DUE, partialFilterExpression={"nextAt": {"$exists": True}}),
        IndexModel(indexes.OPEN_OF_CHAT, partialFilterExpression={"open": True}),
        IndexModel([("sessionId", ASCENDING), ("endedAt", DESCENDING)]),
        IndexModel([("endedAt", ASCENDING)], expireAfterSeconds=KEPT_DAYS * 86_400),
    ],
    "chats": [
        IndexModel(indexes.BY_CHAT, unique=True),
        IndexModel([("sessionId", ASCENDING), ("lastSeq", DESCENDING)]),
        IndexModel(indexes.BY_ALSO, partialFilterExpression={"also": {"$exists": True}}),
    ],
    "aliases": [
        IndexModel(indexes.BY_LID, unique=True),
        IndexModel(indexes.BY_ADDRESS),
    ],
    quick_replies.COLLECTION: [],
    "contacts": [IndexModel(indexes.BY_CHAT, unique=True)],
    "parked": [
        IndexModel(indexes.BY_MESSAGE),
        IndexModel(indexes.BY_CHAT),
        IndexModel([("at", ASCENDING)], expireAfterSeconds=int(PARKED_FOR.total_seconds())),
    ],
}


def check(database: Database[Document]) -> None:
    """Check that the database can be used, without writing. Raises SetupError."""
    if "setName" not in database.client.admin.command("hello"):
        raise SetupError(
            "MONGODB_URI: it names a server that is not part of a replica set, and transactions need one. "
            "Start mongod with --replSet rs0 and run rs.initiate() once; one member is enough."
        )
    found = database["meta"].find_one({"_id": "schema"})
    if found is not None and found["value"] > SCHEMA_VERSION:
        raise SetupError(
            f"MONGODB_DATABASE: {database.name!r} was written by a newer version of Roomcast: it has version "
            f"{found['value']}, and this Roomcast knows {SCHEMA_VERSION}. Start the newer one, or use another database."
        )


def prepare(database: Database[Document], retention_days: int) -> int:
    """Create what is missing, and return the version of the existing data. Raises SetupError."""
    check(database)
    for name, wanted in _INDEXES.items():
        _make_collection(database, name)
        if wanted:
            database[name].create_indexes(wanted)
    _set_retention(database, retention_days)
    _put_once(database, revocations.COUNTER, 0)
    version: int = _put_once(database, "schema", SCHEMA_VERSION)
    return version


def epoch(database: Database[Document]) -> str:
    """The database's epoch, which is created if there is none."""
    name: str = _put_once(database, "epoch", secrets.token_urlsafe(9))
    return name


def secret(database: Database[Document]) -> str:
    """The servers' common secret, made where there is none."""
    value: str = _put_once(database, "secret", secrets.token_urlsafe(32))
    return value


def new_epoch(database: Database[Document]) -> str:
    """Change the epoch, so that old positions are no longer accepted. No server may be running."""
    name = secrets.token_urlsafe(9)
    database["meta"].update_one({"_id": "epoch"}, {"$set": {"value": name}}, upsert=True)
    return name


def _make_collection(database: Database[Document], name: str) -> None:
    try:
        database.create_collection(name, check_exists=False)
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:  # another server may have done it first
            raise


def _put_once(database: Database[Document], name: str, value: Any) -> Any:
    """Store the value in `meta` unless there is one. Returns the stored value."""
    try:
        database["meta"].update_one({"_id": name}, {"$setOnInsert": {"value": value}}, upsert=True)
    except DuplicateKeyError:
        pass  # another server did it first
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
