"""Checks of a database for operators. Functions for `Store.administer`."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from pymongo.database import Database
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from app.storage.documents import Document

NEEDED: Final = ("find", "insert", "update", "remove", "createIndex", "createCollection", "collMod", "changeStream")


def clock_apart(database: Database[Document]) -> float:
    """Seconds by which the database's clock is ahead of ours."""
    before = time.time()
    told: datetime = database.client.admin.command("hello")["localTime"]
    return told.replace(tzinfo=UTC).timestamp() - (before + time.time()) / 2


def missing_rights(database: Database[Document]) -> list[str] | None:
    """Required actions that our user may not perform. None if the database has no authentication."""
    told = database.client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    if not told["authenticatedUsers"]:
        return None
    allowed: set[str] = set()
    for privilege in told["authenticatedUserPrivileges"]:
        resource = privilege["resource"]
        whole = resource.get("collection") == "" and resource.get("db") in ("", database.name)
        if whole or resource.get("anyResource"):
            allowed |= set(privilege["actions"])
    return [action for action in NEEDED if action not in allowed and "anyAction" not in allowed]


def change_stream_opens(database: Database[Document]) -> bool:
    try:
        with database["bus"].watch(max_await_time_ms=1) as stream:
            stream.try_next()
    except OperationFailure:
        return False
    return True


def running_servers(database: Database[Document]) -> int:
    """How many servers follow the database's change stream. One that was killed may still be counted for some minutes.

    Only those with our own database user are seen, which needs no privileges.
    """
    pipeline: list[Document] = [
        {"$currentOp": {"allUsers": False, "idleCursors": True}},
        {
            "$match": {
                "ns": f"{database.name}.bus",
                "cursor.originatingCommand.pipeline.0.$changeStream": {"$exists": True},
            }
        },
        {"$group": {"_id": "$cursor.cursorId"}},
    ]
    admin = database.client.get_database("admin", read_concern=ReadConcern("local"))
    return len(list(admin.aggregate(pipeline)))


def events_of_the_past_hour(database: Database[Document]) -> int:
    hour = datetime.now(UTC) - timedelta(hours=1)
    return database["events"].count_documents({"at": {"$gte": hour}}, hint=[("at", 1)])


def remove_session(database: Database[Document], session_id: str) -> None:
    """Remove a session's data. Nobody may be subscribed to it, and its name must never be used again."""
    for name in database.list_collection_names():
        if name not in ("meta", "sessions") and not name.startswith("system."):
            with contextlib.suppress(OperationFailure):
                database[name].delete_many({"sessionId": session_id})
    database["sessions"].delete_one({"_id": session_id})
