"""The quick replies of a session: one document, replaced as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pymongo.database import Database

from app.storage.documents import Document

COLLECTION: Final = "quickReplies"

Replies = Sequence[Document]
"""Each: `shortcut` and `text`."""


def read(database: Database[Document], session_id: str) -> list[Document]:
    document = database[COLLECTION].find_one({"_id": session_id})
    return document["replies"] if document else []


def write(database: Database[Document], session_id: str, replies: Replies) -> None:
    database[COLLECTION].replace_one({"_id": session_id}, {"replies": list(replies)}, upsert=True)
