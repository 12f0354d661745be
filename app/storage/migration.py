"""Upgrades a database from version 1 to version 2.

Version 1 stored reactions as messages, had no kinds, states and assignees of chats, and learned aliases of addresses
that cannot be a person's. Missing fields of messages are filled in when they are loaded (`app.storage.documents`).

The upgrade runs in small transactions and can be repeated: if a server is stopped during it, the next one does the
rest. Messages change without events, so the epoch is changed at the end, and clients load their lists again. No server
of version 1 may run during the upgrade.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pymongo
import structlog
from pymongo import ASCENDING, DESCENDING, DeleteOne, ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from app.domain.aliases import is_possible
from app.domain.changes import apply_update, preview
from app.domain.incoming import IncomingUpdate, Parked, ReactionChange
from app.domain.models import Alias, Key, Message
from app.storage.documents import MAJORITY, Document, dump_chat, dump_message, load_chat, load_message

VERSION: Final = 2
AT_ONCE: Final = 200
"""Maximum number of reactions of one chat in one transaction."""
_SECONDS: Final = 30.0
"""Time limit of one step."""

log = structlog.get_logger(__name__)


def migrate(database: Database[Document]) -> list[tuple[str, Alias]]:
    """Returns (sessionId, alias) of people who still have a chat under their hidden address."""
    log.info("migration_started", to_version=VERSION)
    # The new index replaces it.
    old_index = [("sessionId", ASCENDING), ("chatId", ASCENDING), ("messageId", ASCENDING)]
    for name, index in database["messages"].index_information().items():
        if index["key"] == old_index:
            with contextlib.suppress(OperationFailure):  # another server did it first
                database["messages"].drop_index(name)
    _complete_chats(database)
    chats = list(database["messages"].aggregate(
        [{"$match": {"type": "reaction"}}, {"$group": {"_id": {"s": "$sessionId", "c": "$chatId"}}}]
    ))  # fmt: skip
    for number, group in enumerate(chats, 1):
        session_id, chat_id = group["_id"]["s"], group["_id"]["c"]
        while _in_transaction(database, lambda within: _take_reactions(database, within, session_id, chat_id)):  # noqa: B023 - called at once
            pass
        if number % 1000 == 0:
            log.info("migration_goes_on", chats_with_reactions=number, of=len(chats))
    to_recount = [(d["sessionId"], d["chatId"]) for d in database["chats"].find({"recount": True})]
    for key in to_recount:
        _in_transaction(database, lambda within: _recount(database, within, *key))  # noqa: B023 - called at once
    both = _clean_aliases(database)
    database["sessions"].update_many({}, {"$inc": {"version": 1}})  # writers' cached state is out of date
    database["meta"].update_one({"_id": "epoch"}, {"$set": {"value": secrets.token_urlsafe(9)}}, upsert=True)
    database["meta"].update_one({"_id": "schema"}, {"$set": {"value": VERSION}})
    log.info("migration_done", chats=len(to_recount), reactions_of_chats=len(chats))
    return both


def _in_transaction(database: Database[Document], function: Callable[[ClientSession], bool]) -> bool:
    with pymongo.timeout(_SECONDS), database.client.start_session() as within:
        return within.with_transaction(function, read_concern=ReadConcern("snapshot"), write_concern=MAJORITY)


def _complete_chats(database: Database[Document]) -> None:
    """Set new fields to their first values, and mark chats that must be counted again."""
    person = {"$regexMatch": {"input": "$chatId", "regex": "@(s\\.whatsapp\\.net|lid)$"}}
    group = {"$regexMatch": {"input": "$chatId", "regex": "@g\\.us$"}}
    kind = {"$cond": [person, "person", {"$cond": [group, "group", "other"]}]}
    recount = {"$or": [{"$gt": ["$unreadCount", 0]}, {"$in": ["$lastMessage.type", ["reaction", "system"]]}]}
    fields = {
        "kind": kind,
        "assignee": None,
        "state": "open",
        "answered": {"$ifNull": ["$lastMessage.fromMe", False]},
        "recount": {"$cond": [recount, True, "$$REMOVE"]},
    }
    database["chats"].update_many({"kind": {"$exists": False}}, [{"$set": fields}])


def _take_reactions(database: Database[Document], within: ClientSession, session_id: str, chat_id: str) -> bool:
    """Move some of the chat's reactions to their messages. Returns whether there may be more."""
    here = {"sessionId": session_id, "chatId": chat_id}
    messages = database["messages"]
    found = list(messages.find({**here, "type": "reaction"}, session=within).sort("seq", ASCENDING).limit(AT_ONCE))
    about = [d["replyTo"]["messageId"] for d in found if d["replyTo"]]
    targets: dict[Key, Message] = {}
    for document in messages.find({**here, "messageId": {"$in": about}, "type": {"$ne": "reaction"}}, session=within):
        message = load_message(document)
        targets[message.key] = message
    changed = {}
    for document in found:
        target = targets.get((chat_id, document["replyTo"]["messageId"])) if document["replyTo"] else None
        if target is not None:
            sender = load_message({**document, "type": "text"}).sender
            change = ReactionChange(sender, document["fromMe"], document["text"])
            # The latest by time; within the same second, the one stored later.
            parked = Parked(IncomingUpdate(target.message_id, chat_id, reaction=change), document["timestamp"])
            after = apply_update(target, parked, str, keep_deleted=False)
            targets[target.key] = changed[target.key] = after
    if found:
        messages.bulk_write(
            [
                *(ReplaceOne({**here, "messageId": m.message_id}, dump_message(m)) for m in changed.values()),
                *(DeleteOne({"_id": d["_id"]}) for d in found),
            ],
            session=within,
        )
        database["chats"].update_one(here, {"$set": {"recount": True}}, session=within)
    return len(found) == AT_ONCE


def _recount(database: Database[Document], within: ClientSession, session_id: str, chat_id: str) -> bool:
    """Compute the chat's last message and counters from its messages."""
    here = {"sessionId": session_id, "chatId": chat_id}
    document = database["chats"].find_one(here, session=within)
    if document is None or not document.pop("recount", False):
        return False
    chat = load_chat(document)
    last = _last(database, within, here)
    if last is None:
        database["chats"].delete_one(here, session=within)
        return True
    wrote = last if last.type != "system" else _last(database, within, {**here, "type": {"$ne": "system"}})
    read_seq = min(chat.read_seq, last.seq)
    unread = {**here, "seq": {"$gt": read_seq}, "fromMe": False, "type": {"$ne": "system"}}
    counted = replace(
        chat,
        last_message=preview(last),
        last_seq=last.seq,
        read_seq=read_seq,
        answered=wrote is not None and wrote.from_me,
        unread_count=sum(1 for _ in database["messages"].find(unread, {"_id": 1}, session=within)),
    )
    database["chats"].replace_one(here, dump_chat(counted), session=within)
    return True


def _last(database: Database[Document], within: ClientSession, query: Document) -> Message | None:
    found = database["messages"].find(query, session=within).sort("seq", DESCENDING).limit(1)
    return next((load_message(document) for document in found), None)


def _clean_aliases(database: Database[Document]) -> list[tuple[str, Alias]]:
    """Remove aliases of addresses that cannot be a person's. Returns (sessionId, alias) with a chat under the hidden
    address."""
    found = []
    for document in list(database["aliases"].find({"address": {"$ne": None}})):
        alias = Alias(document["lid"], document["address"])
        if not is_possible(alias):
            database["aliases"].delete_one({"_id": document["_id"]})
        elif database["chats"].find_one({"sessionId": document["sessionId"], "chatId": alias.lid}, {"_id": 1}):
            found.append((document["sessionId"], alias))
    return found
