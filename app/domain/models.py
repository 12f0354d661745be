"""What Roomcast speaks of: sessions, chats, messages and positions.

All are immutable. Inside the application there is nothing else: wire JSON is turned into these once, at the edge
(`app.schemas`, `app.providers`), and back into wire JSON once, when the event is made (`app.domain.events`).
Times are aware datetimes in UTC, cut to milliseconds, which is what MongoDB keeps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    "system",
    "unknown",
]
MessageStatus = Literal["received", "pending", "sent", "delivered", "read", "played", "failed"]
ReceiptStatus = Literal["delivered", "read", "played"]
ChatKind = Literal["person", "group", "other"]
ChatState = Literal["open", "closed"]

MESSAGE_TYPES: Final[tuple[MessageType, ...]] = get_args(MessageType)
OWN_STATUSES: Final[tuple[MessageStatus, ...]] = ("pending", "sent", "delivered", "read", "played", "failed")

MAX_TEXT: Final = 65_536
"""Characters of a message's text."""
MAX_NAME: Final = 256
"""Characters of a person's, a chat's or a file's name."""
MAX_ID: Final = 256
"""Characters of a chatId or messageId."""
MAX_URL: Final = 8_192
_USER_ID: Final = re.compile(r"[A-Z]{2}\.[A-Za-z0-9.]{5,128}")
"""A person in the Cloud API who has told no number, such as `BR.1502334565`."""
CANCELLED: Final = "cancelled"
"""The code of the error of a message that was given up before it was sent."""
PREVIEW_LENGTH: Final = 120
"""Characters of a chat's lastMessage.text."""
MAX_PREVIEW_BYTES: Final = 16 * 1024
"""Bytes of a picture's preview."""


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
    preview: str | None = None
    """A small picture as a `data:image/…;base64,…` URL of MAX_PREVIEW_BYTES of data at most."""


@dataclass(frozen=True, slots=True)
class ReplyTo:
    message_id: str
    sender_id: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """Who signed in: the `sub` and the `name` of a token."""

    id: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class MessageError:
    """Why a message of ours failed, in the provider's code and words that an agent understands."""

    code: str
    title: str


@dataclass(frozen=True, slots=True)
class Reaction:
    """A person's reaction to a message. `emoji` None: it was taken back, which is remembered and not shown."""

    sender: Sender
    from_me: bool
    emoji: str | None
    timestamp: datetime


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
    mentions: Sequence[str] = ()
    """Addresses of people whom the text, or the quote, mentions by number: `@4915112345678`."""
    author: Agent | None = None
    client_id: str | None = None

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
    content_seq: int
    """The event that gave it its content; `unread_count` counts by it."""
    author: Agent | None = None
    client_id: str | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    reactions: Sequence[Reaction] = ()
    """By time, at most one of each sender, those that were taken back included."""
    people: Mapping[str, ReceiptStatus] = field(default_factory=dict)
    """In a group, for our own message: how far each person has come with it."""
    error: MessageError | None = None
    nothing_to_read: bool = False
    """Deleted because it has no content that a person would read. Content that comes all the same brings it back."""
    provider_ids: Sequence[str] = ()
    """What the provider calls it, where that is not `message_id`: several if it was sent more than once."""
    came_as: str | None = None
    """The hidden address that it came under, where the chat is named by another. What `split` goes by."""

    @property
    def key(self) -> Key:
        return self.chat_id, self.message_id

    @property
    def has_content(self) -> bool:
        """Whether there is anything to show."""
        return self.type != "unknown" or self.text is not None or self.media is not None

    @property
    def is_whole(self) -> bool:
        """Whether a repeat can bring nothing that it lacks. Words that an edit told do not make it whole."""
        return self.type != "unknown" or self.media is not None or (self.text is not None and self.edited_at is None)

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted before there was anything to show: then the chat shows the message before it."""
        return self.is_cancelled or (self.deleted_at is not None and not self.has_content)

    @property
    def is_cancelled(self) -> bool:
        """Whether it was given up before it was sent."""
        return self.deleted_at is not None and self.error is not None and self.error.code == CANCELLED

    @property
    def hidden(self) -> list[str]:
        """In a group: hidden addresses under which people have received it or reacted to it."""
        if kind_of(self.chat_id) == "person":
            return []
        people = {*self.people, *(reaction.sender.id for reaction in self.reactions)}
        return sorted(one for one in people if one.endswith("@lid") or _USER_ID.fullmatch(one))

    @property
    def counts(self) -> bool:
        """Whether it counts as unread until it is read: what others wrote and a person would read."""
        return not self.from_me and self.type != "system" and self.deleted_at is None


@dataclass(frozen=True, slots=True)
class LastMessage:
    """What the chat list shows of a chat's newest message; `text` is cut to PREVIEW_LENGTH."""

    message_id: str
    type: MessageType
    text: str | None
    from_me: bool
    sender_name: str | None
    timestamp: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Chat:
    """The present state of a chat. `unread_count`: messages that count, with `content_seq` above `read_seq`."""

    session_id: str
    chat_id: str
    name: str | None
    name_given: bool
    """Whether `name` is one that somebody gave; then no sender's name takes its place. Not on the wire."""
    unread_count: int
    last_message: LastMessage | None
    last_seq: int
    read_seq: int
    updated_seq: int
    updated_at: datetime
    assignee: Agent | None = None
    state: ChatState = "open"
    answered: bool = False
    """Whether the last message that is no `system` one is ours."""
    also: Sequence[str] = ()
    """Chats that were merged into this one and some of whose messages are still stored under their old chatId."""

    @property
    def kind(self) -> ChatKind:
        return kind_of(self.chat_id)


def kind_of(chat_id: str) -> ChatKind:
    """What the chatId says of the chat."""
    if chat_id.endswith(("@s.whatsapp.net", "@lid")) or _USER_ID.fullmatch(chat_id):
        return "person"
    return "group" if chat_id.endswith("@g.us") else "other"


@dataclass(frozen=True, slots=True)
class Alias:
    """The same person under two addresses: a hidden one (`…@lid`) and the one we name chats by (`…@s.whatsapp.net`)."""

    lid: str
    address: str


@dataclass(frozen=True, slots=True)
class MessageResult:
    """What became of one posted message: its number, and whether it was there already.

    `seq` None: it waits to be known as the copy of a message that is just being sent, or as one of its own.
    """

    message_id: str
    seq: int | None
    duplicate: bool


@dataclass(slots=True)
class UpdateResult:
    """What became of one posted update; `seq` is that of the event which tells of it, if there is one."""

    message_id: str
    state: Literal["applied", "unchanged", "parked"]
    seq: int | None = None
