"""Converts models to MongoDB documents and back. Fields are named as on the wire; times are BSON dates."""

from __future__ import annotations

from typing import Any, Final

from pymongo import WriteConcern

from app.domain.events import Event, render_chat, render_error, render_message, render_reaction, render_sender
from app.domain.incoming import IncomingUpdate, Parked, ReactionChange, Receipt
from app.domain.models import (
    Agent,
    Chat,
    LastMessage,
    Media,
    Message,
    MessageError,
    Reaction,
    ReplyTo,
    Sender,
)

Document = dict[str, Any]

MAJORITY: Final = WriteConcern("majority", j=True)


def dump_message(message: Message) -> Document:
    document = {
        **render_message(message),
        "timestamp": message.timestamp,
        "receivedAt": message.received_at,
        "editedAt": message.edited_at,
        "deletedAt": message.deleted_at,
        "reactions": [_dump_reaction(reaction) for reaction in message.reactions],
    }
    # Not on the wire, and left out if empty, as in most messages.
    if message.people:
        document["people"] = [{"id": one, "status": status} for one, status in message.people.items()]
    if hidden := message.hidden:
        document["hidden"] = hidden
    if message.content_seq != message.seq:
        document["lateSeq"] = message.content_seq  # has an index of its own
    if message.nothing_to_read:
        document["nothingToRead"] = True
    if message.provider_ids:
        document["providerId"] = list(message.provider_ids)
    if message.came_as is not None:
        document["cameAs"] = message.came_as
    return document


def _dump_reaction(reaction: Reaction) -> Document:
    return {**render_reaction(reaction), "timestamp": reaction.timestamp}


def load_message(document: Document) -> Message:
    """Fields that version 1 of the database did not have may be missing."""
    get = document.get
    author, error = get("author"), get("error")
    return Message(
        **load_said(document),
        session_id=document["sessionId"],
        seq=document["seq"],
        updated_seq=document["updatedSeq"],
        from_me=document["fromMe"],
        received_at=document["receivedAt"],
        content_seq=document["lateSeq" if "lateSeq" in document else "seq"],
        author=author and Agent(author["id"], author["name"]),
        client_id=get("clientId"),
        edited_at=get("editedAt"),
        deleted_at=get("deletedAt"),
        reactions=[
            Reaction(load_sender(one["sender"]), one["fromMe"], one["emoji"], one["timestamp"])
            for one in get("reactions", ())
        ],
        people={one["id"]: one["status"] for one in get("people", ())},
        error=error and MessageError(error["code"], error["title"]),
        nothing_to_read=get("nothingToRead", False),
        provider_ids=get("providerId", ()),
        came_as=get("cameAs"),
    )


def load_said(document: Document) -> dict[str, Any]:
    """What stored messages and copies of them have in common, as arguments."""
    return {
        "message_id": document["messageId"],
        "chat_id": document["chatId"],
        "sender": load_sender(document["sender"]),
        "type": document["type"],
        "text": document["text"],
        "media": load_media(document["media"]),
        "reply_to": load_reply_to(document["replyTo"]),
        "status": document["status"],
        "timestamp": document["timestamp"],
    }


def load_media(document: Document | None) -> Media | None:
    return document and Media(
        document["url"],
        document["mimeType"],
        document["fileName"],
        document["size"],
        document["width"],
        document["height"],
        document["durationSeconds"],
        document.get("preview"),
    )  # type: ignore[return-value]


def load_reply_to(document: Document | None) -> ReplyTo | None:
    return document and ReplyTo(document["messageId"], document["senderId"], document["text"])  # type: ignore[return-value]


def load_sender(document: Document) -> Sender:
    return Sender(document["id"], document["name"])


def dump_chat(chat: Chat) -> Document:
    own = {"nameGiven": chat.name_given, "updatedAt": chat.updated_at, "waitingSince": chat.waiting_since}
    document = {**render_chat(chat), **own}
    if chat.last_message:
        document["lastMessage"]["timestamp"] = chat.last_message.timestamp
        document["lastMessage"]["deletedAt"] = chat.last_message.deleted_at
    if chat.also:
        document["also"] = list(chat.also)
    return document


def load_chat(document: Document) -> Chat:
    last, assignee = document["lastMessage"], document["assignee"]
    return Chat(
        session_id=document["sessionId"],
        chat_id=document["chatId"],
        name=document["name"],
        name_given=document["nameGiven"],
        unread_count=document["unreadCount"],
        last_message=last
        and LastMessage(
            last["messageId"],
            last["type"],
            last["text"],
            last["fromMe"],
            last["senderName"],
            last["timestamp"],
            last.get("deletedAt"),
        ),
        last_seq=document["lastSeq"],
        read_seq=document["readSeq"],
        updated_seq=document["updatedSeq"],
        updated_at=document["updatedAt"],
        assignee=assignee and Agent(assignee["id"], assignee["name"]),
        state=document["state"],
        answered=document["answered"],
        # Chats that were stored before this field have waited since their last message, as far as is known.
        waiting_since=document.get("waitingSince", None if document["answered"] or not last else last["timestamp"]),
        also=document.get("also", ()),
    )


def dump_parked(session_id: str, parked: Parked) -> Document:
    update = parked.update
    return {
        "_id": f"{session_id}/{parked.id}",
        "sessionId": session_id,
        "messageId": update.message_id,
        "at": parked.received_at,
        "update": {
            "chatId": update.chat_id,
            "timestamp": update.timestamp,
            "status": update.status,
            "error": update.error and render_error(update.error),
            "text": update.text,
            "deleted": update.deleted,
            "reaction": update.reaction
            and {
                "sender": render_sender(update.reaction.sender),
                "fromMe": update.reaction.from_me,
                "emoji": update.reaction.emoji,
            },
            "receipt": update.receipt and {"by": update.receipt.by, "status": update.receipt.status},
            "nothingToRead": update.nothing_to_read,
        },
    }


def load_parked(document: Document) -> Parked:
    update = document["update"]
    error, reaction, receipt = update["error"], update["reaction"], update["receipt"]
    sender = reaction and load_sender(reaction["sender"])
    return Parked(
        IncomingUpdate(
            message_id=document["messageId"],
            chat_id=update["chatId"],
            timestamp=update["timestamp"],
            status=update["status"],
            error=error and MessageError(error["code"], error["title"]),
            text=update["text"],
            deleted=update["deleted"],
            reaction=reaction and ReactionChange(sender, reaction["fromMe"], reaction["emoji"]),
            receipt=receipt and Receipt(receipt["by"], receipt["status"]),
            nothing_to_read=update["nothingToRead"],
        ),
        document["at"],
    )


def dump_event(event: Event) -> Document:
    return {
        "sessionId": event.session_id,
        "seq": event.seq,
        "chatId": event.chat_id,
        "event": event.event,
        "data": event.data,
        "at": event.at,
    }


def load_event(document: Document) -> Event:
    return Event(
        document["sessionId"],
        document["chatId"],
        document["seq"],
        document["event"],
        document["data"],
        document["at"],
    )
