"""Models as MongoDB documents and back. Field names are those of the wire; times are BSON dates."""

from __future__ import annotations

from typing import Any, Final

from pymongo import WriteConcern

from app.domain.events import Event, render_last_message, render_media, render_reply_to, render_sender
from app.domain.models import Chat, LastMessage, Media, Message, ReplyTo, Sender

Document = dict[str, Any]

MAJORITY: Final = WriteConcern("majority", j=True)


def dump_message(message: Message) -> Document:
    return {
        "sessionId": message.session_id,
        "chatId": message.chat_id,
        "messageId": message.message_id,
        "seq": message.seq,
        "updatedSeq": message.updated_seq,
        "fromMe": message.from_me,
        "sender": render_sender(message.sender),
        "type": message.type,
        "text": message.text,
        "media": message.media and render_media(message.media),
        "replyTo": message.reply_to and render_reply_to(message.reply_to),
        "status": message.status,
        "timestamp": message.timestamp,
        "receivedAt": message.received_at,
    }


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
    last = chat.last_message
    return {
        "sessionId": chat.session_id,
        "chatId": chat.chat_id,
        "name": chat.name,
        "nameGiven": chat.name_given,
        "unreadCount": chat.unread_count,
        "lastMessage": last and {**render_last_message(last), "timestamp": last.timestamp},
        "lastSeq": chat.last_seq,
        "readSeq": chat.read_seq,
        "updatedSeq": chat.updated_seq,
        "updatedAt": chat.updated_at,
    }


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
