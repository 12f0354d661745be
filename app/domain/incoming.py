"""Incoming data other than messages: changes of messages, names and addresses of people, reads elsewhere, and signals.

They come from providers and from the webhook's own form (`app.providers`, `app.posted`). All but signals become durable
events.
Times are aware datetimes in UTC, cut to milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Literal

from app.domain.models import MessageError, MessageStatus, ReceiptStatus, Sender

PARKED_FOR: Final = timedelta(days=1)
"""How long an update waits for its message."""

TypingAction = Literal["typing", "recording", "stopped"]
ConnectionState = Literal["connected", "connecting", "disconnected", "logged_out"]


@dataclass(frozen=True, slots=True)
class ReactionChange:
    """A person's reaction to a message. `emoji` None removes the current one."""

    sender: Sender
    from_me: bool
    emoji: str | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """One person's receipt of our message in a group."""

    by: str
    status: ReceiptStatus


@dataclass(frozen=True, slots=True)
class IncomingUpdate:
    """A change of one message; at least one of the fields after `timestamp` is set.

    `chat_id` None: the message with that id in the session, if there is exactly one. `timestamp` None: the time of
    receipt. `text` is an edit. `nothing_to_read`: a message that came without content has none to show.
    """

    message_id: str
    chat_id: str | None = None
    timestamp: datetime | None = None
    status: MessageStatus | None = None
    error: MessageError | None = None
    text: str | None = None
    deleted: bool = False
    reaction: ReactionChange | None = None
    receipt: Receipt | None = None
    nothing_to_read: bool = False
    mentions: Sequence[str] = ()
    """Addresses of people mentioned in the text by number."""

    def people(self) -> Iterator[str]:
        """The addresses in the update."""
        if self.chat_id is not None:
            yield self.chat_id
        if self.reaction is not None:
            yield self.reaction.sender.id
        if self.receipt is not None:
            yield self.receipt.by
        yield from self.mentions


@dataclass(frozen=True, slots=True)
class Parked:
    """An update that waits for its message, with the time of receipt."""

    update: IncomingUpdate
    received_at: datetime

    @property
    def id(self) -> str:
        """An id that is the same for every repeat of the update."""
        return sha256(repr(self.update).encode(errors="surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Contact:
    """A person or group: address, name if known, and other addresses."""

    id: str
    name: str | None = None
    aliases: Sequence[str] = ()
    calls_itself: bool = False
    """Whether the person chose the name. Such a name does not replace one given by somebody else."""


@dataclass(frozen=True, slots=True)
class ReadElsewhere:
    """Another device of the account has read everything stored in the chat so far."""

    chat_id: str


@dataclass(frozen=True, slots=True)
class TypingSignal:
    chat_id: str
    sender: Sender
    action: TypingAction


@dataclass(frozen=True, slots=True)
class PresenceSignal:
    chat_id: str
    sender: Sender
    state: Literal["online", "offline"]
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class ConnectionSignal:
    """The account's connection to its provider. `detail` never contains a secret, such as a QR code."""

    state: ConnectionState
    detail: str | None = None


Signal = TypingSignal | PresenceSignal | ConnectionSignal
