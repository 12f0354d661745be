"""What Roomcast speaks of: sessions, chats, messages, positions, and the commands that change a session.

All are immutable. Inside the application there is nothing else: wire JSON is turned into these once, at the edge
(`app.schemas`, `app.providers`), and back into wire JSON once, when the event is made (`app.domain.events`).
Times are aware datetimes in UTC, cut to milliseconds, which is what MongoDB keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

MessageType = Literal[
    "text",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contact",
    "reaction",
    "system",
    "unknown",
]
MessageStatus = Literal["received", "pending", "sent", "delivered", "read", "played", "failed"]

MESSAGE_TYPES: Final[tuple[MessageType, ...]] = get_args(MessageType)
OWN_STATUSES: Final[tuple[MessageStatus, ...]] = ("pending", "sent", "delivered", "read", "played", "failed")

MAX_TEXT: Final = 65_536
"""Characters of a message's text."""
MAX_NAME: Final = 256
"""Characters of a person's, a chat's or a file's name."""
MAX_ID: Final = 256
"""Characters of a chatId or messageId."""
MAX_URL: Final = 8_192
PREVIEW_LENGTH: Final = 120
"""Characters of a chat's lastMessage.text."""


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to and including event `seq` of a session, in the numbering called `epoch`."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class Sender:
    id: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Media:
    url: str
    mime_type: str | None = None
    file_name: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ReplyTo:
    message_id: str
    sender_id: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A message as somebody posted it, validated, with every default filled in but the number.

    `chat_id` may be a `…@lid` address; the ledger puts the person's known address in its place.
    `chat_name` is what the sender of the webhook calls the chat; None says nothing about it.
    """

    message_id: str
    chat_id: str
    from_me: bool
    sender: Sender
    type: MessageType
    text: str | None
    media: Media | None
    reply_to: ReplyTo | None
    status: MessageStatus
    timestamp: datetime
    chat_name: str | None = None

    @property
    def has_content(self) -> bool:
        """Whether there is anything to show. What has none may be completed by a repeat."""
        return self.type != "unknown" or self.text is not None or self.media is not None


Key = tuple[str, str]
"""(chatId, messageId): what a message is known by in its session."""


@dataclass(frozen=True, slots=True)
class Message:
    """The present state of a stored message."""

    message_id: str
    session_id: str
    chat_id: str
    seq: int
    updated_seq: int
    from_me: bool
    sender: Sender
    type: MessageType
    text: str | None
    media: Media | None
    reply_to: ReplyTo | None
    status: MessageStatus
    timestamp: datetime
    received_at: datetime

    @property
    def has_content(self) -> bool:
        return self.type != "unknown" or self.text is not None or self.media is not None


@dataclass(frozen=True, slots=True)
class LastMessage:
    """What the chat list shows of a chat's newest message; `text` is cut to PREVIEW_LENGTH."""

    message_id: str
    type: MessageType
    text: str | None
    from_me: bool
    sender_name: str | None
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Chat:
    """The present state of a chat. `unread_count`: messages not from us with seq above `read_seq`."""

    session_id: str
    chat_id: str
    name: str | None
    name_given: bool
    """Whether `name` is a chatName that somebody gave; then no sender's name takes its place. Not on the wire."""
    unread_count: int
    last_message: LastMessage | None
    last_seq: int
    read_seq: int
    updated_seq: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Alias:
    """The same person under two addresses: a hidden one (`…@lid`) and the one we name chats by (`…@s.whatsapp.net`)."""

    lid: str
    address: str


@dataclass(frozen=True, slots=True)
class StoreMessages:
    """Store these messages, in this order. `aliases` are learned before the first of them is named."""

    received_at: datetime
    messages: Sequence[IncomingMessage] = ()
    aliases: Sequence[Alias] = ()
    size: int = 0
    """Bytes that it takes in a queue, about."""


@dataclass(frozen=True, slots=True)
class MarkRead:
    """The chat was read up to and including event `seq`."""

    chat_id: str
    seq: int
    size: int = 128


Command = StoreMessages | MarkRead


@dataclass(frozen=True, slots=True)
class MessageResult:
    """What became of one posted message: its number, and whether it was there already."""

    message_id: str
    seq: int
    duplicate: bool
