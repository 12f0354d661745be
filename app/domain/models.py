"""The domain models: sessions, chats, messages and positions.

All are immutable. Wire JSON is converted to models once, at the edge (`app.schemas`, `app.providers`), and back to
wire JSON once, when the event is made (`app.domain.events`). Times are aware datetimes in UTC with millisecond
precision, like MongoDB's.
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
"""Maximum number of characters of a message's text."""
MAX_NAME: Final = 256
"""Maximum number of characters of a person's, chat's or file's name."""
MAX_ID: Final = 256
"""Maximum number of characters of a chatId or messageId."""
MAX_URL: Final = 8_192
_USER_ID: Final = re.compile(r"[A-Z]{2}\.[A-Za-z0-9.]{5,128}")
"""A Cloud API user who hides their number, such as `BR.1502334565`."""
CANCELLED: Final = "cancelled"
"""The error code of a message that was cancelled before it was sent."""
PREVIEW_LENGTH: Final = 120
"""Maximum number of characters of a chat's lastMessage.text."""
MAX_PREVIEW_BYTES: Final = 16 * 1024
"""Maximum size of a picture's preview, in bytes."""


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a session: everything up to and including event `seq`, in the numbering `epoch`."""

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
    """A small picture as a `data:image/…;base64,…` URL with at most MAX_PREVIEW_BYTES of data."""


@dataclass(frozen=True, slots=True)
class ReplyTo:
    message_id: str
    sender_id: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """A signed-in person: the `sub` and `name` of a token."""

    id: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class MessageError:
    """Why our message failed: the provider's code, and a title that agents understand."""

    code: str
    title: str


@dataclass(frozen=True, slots=True)
class Reaction:
    """A person's reaction to a message. `emoji` None: it was removed, which is stored but not shown."""

    sender: Sender
    from_me: bool
    emoji: str | None
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A posted message, validated, with all defaults but without a number.

    `chat_id` may be a `…@lid` address; the ledger puts the person's known address in its place.
    `chat_name` is the chat's name as posted; None leaves it unchanged.
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
    """Addresses of people mentioned by number (`@4915112345678`) in the text or the quote."""
    author: Agent | None = None
    client_id: str | None = None
    marks_read: bool = True
    """For a message that had to wait (`app.domain.copies`): `StoreMessages.answers_read`, as it was when it came."""

    @property
    def has_content(self) -> bool:
        """Whether there is anything to show. If not, a repeat may complete the message."""
        return self.type != "unknown" or self.text is not None or self.media is not None


Key = tuple[str, str]
"""(chatId, messageId), which identifies a message in its session."""


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
    """The event that gave it its content, used for `unread_count`."""
    author: Agent | None = None
    client_id: str | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    reactions: Sequence[Reaction] = ()
    """Ordered by time, at most one per sender, including removed ones."""
    people: Mapping[str, ReceiptStatus] = field(default_factory=dict)
    """For our own messages in a group: each person's receipt."""
    error: MessageError | None = None
    nothing_to_read: bool = False
    """Deleted because it has no content to show. If content comes later, the message is restored."""
    provider_ids: Sequence[str] = ()
    """The provider's ids if they differ from `message_id`; several if it was sent more than once."""
    came_as: str | None = None
    """The hidden address it came under, if the chat has another name. Used by `split`."""

    @property
    def key(self) -> Key:
        return self.chat_id, self.message_id

    @property
    def has_content(self) -> bool:
        """Whether there is anything to show."""
        return self.type != "unknown" or self.text is not None or self.media is not None

    @property
    def is_whole(self) -> bool:
        """Whether a repeat has nothing to add. An edit's text alone does not make a message whole."""
        return self.type != "unknown" or self.media is not None or (self.text is not None and self.edited_at is None)

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted before it had anything to show. The chat then shows the message before it."""
        return self.is_cancelled or (self.deleted_at is not None and not self.has_content)

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled before it was sent."""
        return self.deleted_at is not None and self.error is not None and self.error.code == CANCELLED

    @property
    def hidden(self) -> list[str]:
        """In a group: hidden addresses in its receipts and reactions."""
        if kind_of(self.chat_id) == "person":
            return []
        people = {*self.people, *(reaction.sender.id for reaction in self.reactions)}
        return sorted(one for one in people if one.endswith("@lid") or _USER_ID.fullmatch(one))

    @property
    def counts(self) -> bool:
        """Whether it can count as unread: a message from others with something to read."""
        return not self.from_me and self.type != "system" and self.deleted_at is None


@dataclass(frozen=True, slots=True)
class LastMessage:
    """The chat's newest message as shown in the chat list. `text` is cut to PREVIEW_LENGTH."""

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
    """Whether `name` was given explicitly, so that a sender's name does not replace it. Not on the wire."""
    unread_count: int
    last_message: LastMessage | None
    last_seq: int
    read_seq: int
    updated_seq: int
    updated_at: datetime
    assignee: Agent | None = None
    state: ChatState = "open"
    answered: bool = False
    """Whether the last message, not counting `system` ones, is ours."""
    waiting_since: datetime | None = None
    """The time of the first message since our last one; None if there is none."""
    also: Sequence[str] = ()
    """Chats merged into this one, of which some messages are still stored under the old chatId."""

    @property
    def kind(self) -> ChatKind:
        return kind_of(self.chat_id)


def kind_of(chat_id: str) -> ChatKind:
    """The kind of chat that a chatId belongs to."""
    if chat_id.endswith(("@s.whatsapp.net", "@lid")) or _USER_ID.fullmatch(chat_id):
        return "person"
    return "group" if chat_id.endswith("@g.us") else "other"


@dataclass(frozen=True, slots=True)
class Alias:
    """Two addresses of one person: a hidden one (`…@lid`) and the one that names the chat (`…@s.whatsapp.net`)."""

    lid: str
    address: str


@dataclass(frozen=True, slots=True)
class MessageResult:
    """The result of a posted message: its number, and whether it was already stored.

    `seq` None: it waits until it is known whether it is the copy of a message that is being sent.
    """

    message_id: str
    seq: int | None
    duplicate: bool


@dataclass(slots=True)
class UpdateResult:
    """The result of a posted update. `seq` is that of its event, if there is one."""

    message_id: str
    state: Literal["applied", "unchanged", "parked"]
    seq: int | None = None
