"""Revoked tokens in the database, numbered in the order in which they become visible.

The number is taken in the transaction that stores the revocation, so concurrent ones are numbered one after the other,
and a reader that has read up to a number misses none below it. The database removes revocations of expired tokens.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from pymongo.client_session import ClientSession
from pymongo.database import Database

from app.domain.revocations import Revocation
from app.storage.documents import Document

COUNTER: Final = "revocations"
"""The key of the last number in `meta`."""


def add(database: Database[Document], revocation: Revocation) -> None:
    """Store the revocation. If one for the same `sub` or `jti` lasts longer, that is kept."""

    def write(session: ClientSession) -> None:
        query = {"_id": COUNTER}
        counter = database["meta"].find_one_and_update(
            query, {"$inc": {"value": 1}}, return_document=True, session=session
        )
        assert counter is not None, "the schema is prepared"
        until = datetime.fromtimestamp(revocation.until, UTC)
        database["revocations"].update_one(
            {"_id": {"kind": revocation.kind, "value": revocation.value}},
            {"$set": {"number": counter["value"]}, "$max": {"before": revocation.before, "until": until}},
            upsert=True,
            session=session,
        )

    with database.client.start_session() as session:
        session.with_transaction(write)


def newer(database: Database[Document], number: int) -> tuple[int, list[Revocation]]:
    """The last number, and the revocations after `number`."""
    found = list(database["revocations"].find({"number": {"$gt": number}}))
    revocations = [Revocation(d["_id"]["kind"], d["_id"]["value"], d["before"], d["until"].timestamp()) for d in found]
    return max((d["number"] for d in found), default=number), revocations
