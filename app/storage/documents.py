"""Models as MongoDB documents and back. Field names are those of the wire; times are BSON dates."""

from __future__ import annotations

from typing import Any, Final

from pymongo import WriteConcern

from app.domain.events import Event, render_chat, render_message
from app.domain.models import Chat, LastMessage, Media, Message, ReplyTo, Sender

Document = dict[str, Any]

MAJORITY: Final = WriteConcern("majority", j=True)


def dump_message(message: Message) -> Document:
    return {**render_message(message), "timestamp": message.timestamp, "receivedAt": message.received_at}


def load_message(document: Document) -> Message:
    media, reply_to = document["media"], document["replyTo"]
    return Message(
        message_id=document["messageId"],
        session_id=document["sessionId"],
        chat_id=document["chatId"],
        seq=document["seq"],
        updated_seq=document["updatedSeq"],
        from_me=document["fromMe"],
        sender=Sender(document["sender"]["id"], document["sender"]["name"]),
        type=document["type"],
        text=document["text"],
        media=media
        and Media(
            media["url"],
            media["mimeType"],
            media["fileName"],
            media["size"],
            media["width"],
            media["height"],
            media["durationSeconds"],
        ),
        reply_to=reply_to and ReplyTo(reply_to["messageId"], reply_to["senderId"], reply_to["text"]),
        status=document["status"],
        timestamp=document["timestamp"],
        received_at=document["receivedAt"],
    )


def dump_chat(chat: Chat) -> Document:
    document = {**render_chat(chat), "nameGiven": chat.name_given, "updatedAt": chat.updated_at}
    if chat.last_message:
        document["lastMessage"]["timestamp"] = chat.last_message.timestamp
    return document


def load_chat(document: Document) -> Chat:
    last = document["lastMessage"]
    return Chat(
        session_id=document["sessionId"],
        chat_id=document["chatId"],
        name=document["name"],
        name_given=document["nameGiven"],
        unread_count=document["unreadCount"],
        last_message=last
        and LastMessage(
            last["messageId"], last["type"], last["text"], last["fromMe"], last["senderName"], last["timestamp"]
        ),
        last_seq=document["lastSeq"],
        read_seq=document["readSeq"],
        updated_seq=document["updatedSeq"],
        updated_at=document["updatedAt"],
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
