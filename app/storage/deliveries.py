"""Deliveries as documents, and operations outside of their sessions' transactions, such as taking due deliveries.

A delivery is due at `nextAt`. Taking it moves that time to the end of a lease. If a delivery is taken while a writer
changes it, the writer's transaction is retried.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING
from pymongo.database import Database

from app.domain.deliveries import LEASE, Delivery, Lease
from app.domain.events import render_error, render_said
from app.domain.models import IncomingMessage, Message, MessageError
from app.storage.documents import Document, load_message, load_said
from app.storage.indexes import BY_ID, DUE

MAX_COUNTED: Final = 10_000


def dump_delivery(delivery: Delivery) -> Document:
    document: Document = {
        "_id": delivery.id,
        "sessionId": delivery.session_id,
        "chatId": delivery.chat_id,
        "messageId": delivery.message_id,
        "order": delivery.order,
        "state": delivery.state,
        "createdAt": delivery.created_at,
        "digest": delivery.digest,
        "attempt": delivery.attempt,
    }
    # Omitted if empty, so that the indexes only hold documents that have them.
    if delivery.state in ("waiting", "sending", "unknown"):
        document["open"] = True
    if delivery.next_at is not None:
        document["nextAt"] = delivery.next_at
    if delivery.lease is not None:
        document["lease"] = {"holder": delivery.lease.holder, "until": delivery.lease.until}
    if delivery.ended_at is not None:
        document["endedAt"] = delivery.ended_at
    if delivery.error is not None:
        document["error"] = render_error(delivery.error)
    if delivery.held:
        document["held"] = [_dump_copy(copy) for copy in delivery.held]
    return document


def load_delivery(document: Document) -> Delivery:
    get = document.get
    lease, error = get("lease"), get("error")
    return Delivery(
        id=document["_id"],
        session_id=document["sessionId"],
        chat_id=document["chatId"],
        message_id=document["messageId"],
        order=document["order"],
        state=document["state"],
        created_at=document["createdAt"],
        digest=document["digest"],
        attempt=document["attempt"],
        next_at=get("nextAt"),
        lease=lease and Lease(lease["holder"], lease["until"]),
        ended_at=get("endedAt"),
        error=error and MessageError(error["code"], error["title"]),
        held=tuple(_load_copy(one) for one in get("held", ())),
    )


def _dump_copy(copy: IncomingMessage) -> Document:
    return {
        **render_said(copy),
        "timestamp": copy.timestamp,
        "chatName": copy.chat_name,
        "mentions": list(copy.mentions),
        "marksRead": copy.marks_read,
    }


def _load_copy(document: Document) -> IncomingMessage:
    return IncomingMessage(
        **load_said(document),
        from_me=True,
        chat_name=document["chatName"],
        mentions=document["mentions"],
        marks_read=document["marksRead"],
    )


def take_due(
    database: Database[Document], session_ids: Collection[str], now: datetime, holder: str, limit: int
) -> tuple[list[Delivery], set[str]]:
    """Take due deliveries of these sessions for the length of a lease, oldest first, at most `limit`.

    Also returns the ids of those whose last lease has run out without a report.
    """
    deliveries = database["deliveries"]
    due: Document = {"sessionId": {"$in": list(session_ids)}, "nextAt": {"$lte": now}}
    states = {d["_id"]: d["state"] for d in deliveries.find(due, {"state": 1}).sort("nextAt", ASCENDING).limit(limit)}
    if not states:
        return [], set()
    ids = list(states)
    mine = {"_id": {"$in": ids}, "lease.taking": (taking := secrets.token_hex(8))}
    until = now + LEASE
    lease = {"holder": holder, "until": until, "taking": taking}
    change: Document = {"$set": {"state": "sending", "lease": lease, "nextAt": until}, "$inc": {"attempt": 1}}
    deliveries.update_many({"_id": {"$in": ids}, "nextAt": {"$lte": now}}, change)
    taken = [load_delivery(d) for d in deliveries.find(mine).sort("order", ASCENDING)]
    return taken, {id_ for id_, state in states.items() if state == "sending"}


def messages_of(database: Database[Document], deliveries: Collection[Delivery]) -> dict[str, Message]:
    """The deliveries' messages by deliveryId, wherever they are stored by now."""
    found: dict[str, Message] = {}
    for session_id in {one.session_id for one in deliveries}:
        wanted = {one.message_id: one.id for one in deliveries if one.session_id == session_id}
        query: Document = {"sessionId": session_id, "messageId": {"$in": list(wanted)}, "clientId": {"$ne": None}}
        found |= {wanted[d["messageId"]]: load_message(d) for d in database["messages"].find(query, hint=BY_ID)}
    return found


def message_of(database: Database[Document], session_id: str, message_id: str, chat_id: str) -> Message | None:
    """One message, by its own id and chat."""
    found = database["messages"].find_one({"sessionId": session_id, "messageId": message_id, "chatId": chat_id})
    return load_message(found) if found else None


def seen_in(
    database: Database[Document], session_id: str, chat_id: str, above: int, upto: int, limit: int
) -> list[Message]:
    """The last messages of others in the chat between two numbers, oldest first."""
    query: Document = {
        "sessionId": session_id,
        "chatId": chat_id,
        "seq": {"$gt": above, "$lte": upto},
        "fromMe": False,
        "type": {"$ne": "system"},
    }
    found = database["messages"].find(query).sort("seq", DESCENDING).limit(limit)
    return [load_message(d) for d in found][::-1]


def count_due(database: Database[Document], now: datetime) -> int:
    """The number of due deliveries of all sessions, counted up to MAX_COUNTED."""
    return database["deliveries"].count_documents({"nextAt": {"$lte": now}}, hint=DUE, limit=MAX_COUNTED)


def untaken(database: Database[Document], before: datetime, limit: int) -> list[Delivery]:
    """Deliveries of all sessions that have been due since then and have not been started."""
    query: Document = {"nextAt": {"$lt": before}, "state": "waiting"}
    return [load_delivery(d) for d in database["deliveries"].find(query, hint=DUE).limit(limit)]


def of_session(database: Database[Document], session_id: str, *, failed: bool, limit: int) -> list[Delivery]:
    """A session's open deliveries, or its failed ones, newest first."""
    query: Document = {"sessionId": session_id}
    query |= {"state": {"$in": ["failed", "unknown"]}} if failed else {"state": {"$in": ["waiting", "sending"]}}
    found = database["deliveries"].find(query).sort([("order", DESCENDING)]).limit(limit)
    return [load_delivery(d) for d in found]
