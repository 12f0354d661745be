"""Events, and the wire form of sessions, messages and chats.

Rendered events are stored in the log and sent unchanged, so caught-up events are identical to live ones, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from app.domain.models import (
    Agent,
    Chat,
    IncomingMessage,
    LastMessage,
    Media,
    Message,
    MessageError,
    Position,
    Reaction,
    ReplyTo,
    Sender,
    kind_of,
)

NEW_MESSAGE: Final = "new_message"
MESSAGE_UPDATED: Final = "message_updated"
CHAT_UPDATED: Final = "chat_updated"
CHAT_MERGED: Final = "chat_merged"
POSITION: Final = "position"
SERVICE: Final = "service"

Wire = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a session's log. `data` is the payload as sent."""

    session_id: str
    chat_id: str
    seq: int
    event: str
    data: Wire
    at: datetime

    @property
    def size(self) -> int:
        """Estimated bytes on the wire, rather too high than too low."""
        message = self.data.get("message")
        if not message:
            return 1024
        media = message["media"]
        preview = (media and media.get("preview")) or ""  # missing in entries written by an earlier version
        return 1536 + 3 * len(message["text"] or "") + len(preview) + 128 * len(message.get("reactions", ()))

    @property
    def chat_ids(self) -> tuple[str, ...]:
        """The chats whose subscribers get the event."""
        return (self.chat_id, self.data["from"]) if self.event == CHAT_MERGED else (self.chat_id,)


@lru_cache(maxsize=256)  # the same times occur repeatedly: in a batch, in a message and its chat
def format_time(value: datetime) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_milliseconds(value: datetime) -> datetime:
    """Truncate to MongoDB's precision, so that a value does not change when it is stored."""
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def now() -> datetime:
    return to_milliseconds(datetime.now(UTC))


def render_position(position: Position) -> Wire:
    return {"epoch": position.epoch, "seq": position.seq}


def render_message(message: Message) -> Wire:
    return {
        **render_said(message),
        "sessionId": message.session_id,
        "seq": message.seq,
        "updatedSeq": message.updated_seq,
        "fromMe": message.from_me,
        "timestamp": format_time(message.timestamp),
        "receivedAt": format_time(message.received_at),
        "author": message.author and render_agent(message.author),
        "clientId": message.client_id,
        "editedAt": message.edited_at and format_time(message.edited_at),
        "deletedAt": message.deleted_at and format_time(message.deleted_at),
        "reactions": [render_reaction(reaction) for reaction in message.reactions if reaction.emoji is not None],
        "receipts": render_receipts(message),
        "error": message.error and render_error(message.error),
        "contentSeq": message.content_seq,
    }


def render_said(message: Message | IncomingMessage) -> Wire:
    """What a message says and where, without times."""
    return {
        "messageId": message.message_id,
        "chatId": message.chat_id,
        "sender": render_sender(message.sender),
        "type": message.type,
        "text": message.text,
        "media": message.media and render_media(message.media),
        "replyTo": message.reply_to and render_reply_to(message.reply_to),
        "status": message.status,
    }


def render_agent(agent: Agent) -> Wire:
    return {"id": agent.id, "name": agent.name}


def render_error(error: MessageError) -> Wire:
    return {"code": error.code, "title": error.title}


def render_reaction(reaction: Reaction) -> Wire:
    return {
        "sender": render_sender(reaction.sender),
        "fromMe": reaction.from_me,
        "emoji": reaction.emoji,
        "timestamp": format_time(reaction.timestamp),
    }


def render_receipts(message: Message) -> Wire | None:
    """The number of people for each receipt status. Who has read a message has also got it."""
    if not message.from_me or kind_of(message.chat_id) != "group":
        return None
    reached = list(message.people.values())
    played = reached.count("played")
    read = played + reached.count("read")
    return {"delivered": read + reached.count("delivered"), "read": read, "played": played}


def render_sender(sender: Sender) -> Wire:
    return {"id": sender.id, "name": sender.name}


def render_media(media: Media) -> Wire:
    return {
        "url": media.url,
        "mimeType": media.mime_type,
        "fileName": media.file_name,
        "size": media.size,
        "width": media.width,
        "height": media.height,
        "durationSeconds": media.duration_seconds,
        "preview": media.preview,
    }


def render_reply_to(reply_to: ReplyTo) -> Wire:
    return {"messageId": reply_to.message_id, "senderId": reply_to.sender_id, "text": reply_to.text}


def render_last_message(last: LastMessage) -> Wire:
    return {
        "messageId": last.message_id,
        "type": last.type,
        "text": last.text,
        "fromMe": last.from_me,
        "senderName": last.sender_name,
        "timestamp": format_time(last.timestamp),
        "deletedAt": last.deleted_at and format_time(last.deleted_at),
    }


def render_chat(chat: Chat) -> Wire:
    return {
        "sessionId": chat.session_id,
        "chatId": chat.chat_id,
        "name": chat.name,
        "unreadCount": chat.unread_count,
        "lastMessage": chat.last_message and render_last_message(chat.last_message),
        "lastSeq": chat.last_seq,
        "readSeq": chat.read_seq,
        "updatedSeq": chat.updated_seq,
        "updatedAt": format_time(chat.updated_at),
        "kind": chat.kind,
        "assignee": chat.assignee and render_agent(chat.assignee),
        "state": chat.state,
        "answered": chat.answered,
        "waitingSince": chat.waiting_since and format_time(chat.waiting_since),
    }


def message_event(name: str, seq: int, message: Message, chat: Chat, at: datetime) -> Event:
    """`new_message` or `message_updated`, with message and chat as they are after it."""
    data = {
        "sessionId": chat.session_id,
        "chatId": chat.chat_id,
        "seq": seq,
        "message": render_message(message),
        "chat": render_chat(chat),
    }
    return Event(chat.session_id, chat.chat_id, seq, name, data, at)


def chat_event(seq: int, chat: Chat, at: datetime) -> Event:
    data = {"sessionId": chat.session_id, "chatId": chat.chat_id, "seq": seq, "chat": render_chat(chat)}
    return Event(chat.session_id, chat.chat_id, seq, CHAT_UPDATED, data, at)


def merged_event(seq: int, old: str, chat: Chat, at: datetime) -> Event:
    """`chat_merged`: the chat `old` was merged into `chat`."""
    data = {"sessionId": chat.session_id, "chatId": chat.chat_id, "seq": seq, "from": old, "chat": render_chat(chat)}
    return Event(chat.session_id, chat.chat_id, seq, CHAT_MERGED, data, at)
