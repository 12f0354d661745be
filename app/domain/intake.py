"""Turns incoming data into commands that fit into a transaction, beginning with people's names and addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

from app.domain.commands import MarkRead, StoreMessages, UpdateMessages
from app.domain.incoming import Contact, IncomingUpdate, ReadElsewhere
from app.domain.known import Command
from app.domain.models import Alias, IncomingMessage
from app.domain.people import TellContacts

BATCH_ITEMS: Final = 500
BATCH_BYTES: Final = 256 * 1024
PEOPLE_ITEMS: Final = 100
"""Contacts and aliases per command: each may merge two chats."""
ALIAS_BYTES: Final = 512
"""The weight of an alias: storing it costs about as much as a message."""

Item = TypeVar("Item")


def commands_of(
    received_at: datetime,
    *,
    messages: Sequence[IncomingMessage] = (),
    updates: Sequence[IncomingUpdate] = (),
    contacts: Sequence[Contact] = (),
    aliases: Sequence[Alias] = (),
    reads: Sequence[ReadElsewhere] = (),
    answers_read: bool = True,
) -> Iterator[Command]:
    """`answers_read`: whether a message of our own marks its chat as read."""
    for people, size in _parts(aliases, lambda alias: ALIAS_BYTES, PEOPLE_ITEMS):
        yield StoreMessages(received_at, aliases=people, size=size)
    for told, size in _parts(contacts, lambda contact: 256 + ALIAS_BYTES * len(contact.aliases), PEOPLE_ITEMS):
        yield TellContacts(told, size)
    for part, size in _parts(messages, _weight):
        yield StoreMessages(received_at, part, size=size, answers_read=answers_read)
    for changes, size in _parts(updates, lambda update: 256 + 2 * len(update.text or "")):
        yield UpdateMessages(received_at, changes, size)
    for read in reads:
        yield MarkRead(read.chat_id, None)


def _parts(
    items: Sequence[Item], weight: Callable[[Item], int], most: int = BATCH_ITEMS
) -> Iterator[tuple[list[Item], int]]:
    part: list[Item] = []
    size = 0
    for item in items:
        heavy = weight(item)
        if part and (len(part) >= most or size + heavy > BATCH_BYTES):
            yield part, size
            part, size = [], 0
        part.append(item)
        size += heavy
    if part:
        yield part, size


def _weight(message: IncomingMessage) -> int:
    quoted = message.reply_to.text if message.reply_to else None
    preview = message.media.preview if message.media else None
    return 512 + 2 * (len(message.text or "") + len(quoted or "")) + len(preview or "")
