"""What a way out over HTTP is to the rest of the server: how a message becomes a request, and what the answer means.

All of it is pure. Requests go to addresses that the session's settings name, and to no others.
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
    """The `send.…` part of a session's settings: how messages of agents leave."""

    via: Via = "bot"
    url: str | None = None
    key: str | None = field(default=None, repr=False)
    instance: str | None = None
    rate: float | None = None
    """Messages a second that one server delivers at most."""
    read_receipts: bool = False
    """Whether the provider is told what agents have read."""
    typing: bool = False
    """Whether the provider is told that an agent is typing."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """The message that this one answers, in the provider's words."""

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
    """The Cloud API's name of the account."""


@dataclass(frozen=True, slots=True)
class Request:
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is what its JSON says, None where it is none."""

    status: int
    body: Any
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What agents have read of a chat: (id, sender) of messages of others, oldest first."""

    chat_id: str
    messages: Sequence[tuple[str, str]]

    @property
    def message_ids(self) -> list[str]:
        return [message_id for message_id, _ in self.messages]

    def keys(self) -> list[dict[str, Any]]:
        """The messages as WhatsApp names them: in a group with the sender."""
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
    """A way out over HTTP. What it cannot send at all it refuses with a MessageError."""

    request: Callable[[Order, SendSettings, datetime], Request | MessageError]
    read: Callable[[Answer], Report]
    idempotent: bool = False
    """Whether the same delivery may be sent twice without harm, since the receiver knows it by its id."""
    typing: Callable[[str, TypingAction, SendSettings], Request | None] = lambda chat_id, action, send: None
    """The request that tells that an agent types in a chat; None where that is told to nobody."""
    seen: Callable[[Seen, SendSettings, str | None], Request | None] = lambda seen, send, account: None
    """The request that tells what was read; None where that is told to nobody."""
