"""The possible results of reading a message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.domain.models import Media, MessageType, ReplyTo
from app.providers.words import Node

MAX_DEPTH: Final = 8
"""Maximum nesting of wrappers; anything deeper is not a message."""


@dataclass(frozen=True, slots=True)
class Content:
    type: MessageType
    text: str | None = None
    media: Media | None = None
    reply_to: ReplyTo | None = None
    mentions: tuple[str, ...] = ()
    """Addresses mentioned in the text or the quote whose names are not in the body."""


@dataclass(frozen=True, slots=True)
class NoMessage:
    """Nothing to show. `reason` is counted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reacted:
    """The sender's reaction to a message of the same chat. `emoji` None removes it."""

    message_id: str
    emoji: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Edited:
    message_id: str
    text: str
    at: datetime | None
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Revoked:
    message_id: str


Change = Reacted | Edited | Revoked
"""A change of another message of the chat."""
Found = Content | NoMessage | Change | None
Reader = Callable[[Node], Content | None]
