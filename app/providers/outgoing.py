"""The interface for sending over HTTP: how a message becomes a request, and what the answer means.

All functions are pure. Requests only go to addresses named in the session's settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, get_args

from app.domain.deliveries import Report
from app.domain.incoming import TypingAction
from app.domain.models import Message, MessageError, kind_of

Via = Literal["bot", "webhook", "evolution", "waha", "cloud-api"]
VIAS: Final[tuple[Via, ...]] = get_args(Via)


@dataclass(frozen=True, slots=True)
class SendSettings:
    """The `send.…` part of a session's settings: how agents' messages are sent."""

    via: Via = "bot"
    url: str | None = None
    key: str | None = field(default=None, repr=False)
    instance: str | None = None
    rate: float | None = None
    """Maximum number of messages per second that one server delivers."""
    read_receipts: bool = False
    """Whether to tell the provider what agents have read."""
    typing: bool = False
    """Whether to tell the provider when an agent is typing."""
    presence: bool = False
    """Whether to ask the provider for the presence of contacts whose chats agents look at."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """The message that this one replies to, with the provider's ids."""

    id: str
    sender_id: str
    from_me: bool


@dataclass(frozen=True, slots=True)
class Order:
    """A message to deliver."""

    delivery_id: str
    message: Message
    quoted: Quoted | None = None
    phone_number_id: str | None = None
    """The account's id in the Cloud API."""


@dataclass(frozen=True, slots=True)
class Request:
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is the parsed JSON, or None if it is not JSON."""

    status: int
    body: Any
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What agents have read in a chat: (id, sender) of messages from others, oldest first."""

    chat_id: str
    messages: Sequence[tuple[str, str]]

    @property
    def message_ids(self) -> list[str]:
        return [message_id for message_id, _ in self.messages]

    def keys(self) -> list[dict[str, Any]]:
        """The messages' keys in WhatsApp's form, in groups with the sender."""
        group = kind_of(self.chat_id) == "group"
        return [
            {"id": one, "fromMe": False, "remoteJid": self.chat_id} | ({"participant": sender} if group else {})
            for one, sender in self.messages
        ]

    def payload(self, session_id: str) -> dict[str, Any]:
        """`read_out` of the contract."""
        ids = {"sessionId": session_id, "chatId": self.chat_id, "messageIds": self.message_ids}
        return ids | {"keys": self.keys()}


@dataclass(frozen=True, slots=True)
class Way:
    """A way of sending over HTTP. Messages that it cannot send are refused with a MessageError."""

    request: Callable[[Order, SendSettings, datetime], Request | MessageError]
    read: Callable[[Answer], Report]
    idempotent: bool = False
    """Whether a delivery may safely be sent twice, because the receiver recognizes its id."""
    typing: Callable[[str, TypingAction, SendSettings], Request | None] = lambda chat_id, action, send: None
    """The request that reports typing in a chat. None if it cannot be reported."""
    seen: Callable[[Seen, SendSettings, str | None], Request | None] = lambda seen, send, account: None
    """The request that reports what was read. None if it cannot be reported."""
    presence: Callable[[str, SendSettings], Request | None] = lambda chat_id, send: None
    """The request for reports of a contact's presence, sent again while agents look. None if there is none."""
