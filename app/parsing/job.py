"""What is to be done with one body. Pure: it runs in the server or in the worker process alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from app import json_input, schemas
from app.domain.models import IncomingMessage, StoreMessages
from app.parsing import wire
from app.parsing.encodings import unpack
from app.providers import PROVIDERS, Parsed

MAX_BODY: Final = 1024 * 1024
"""Bytes of a body in our own form, unpacked."""
MAX_PROVIDER_BODY: Final = 16 * 1024 * 1024
MAX_NODES: Final = 400_000
"""Values in a body of our own form: far more than 500 messages have."""
MAX_PROVIDER_NODES: Final = 500_000
PART_MESSAGES: Final = 500
PART_ALIASES: Final = 500
PART_BYTES: Final = 256 * 1024
"""Of one command, which is stored in one transaction."""


@dataclass(frozen=True, slots=True)
class Job:
    """A body, as it was sent, and where it came in. `source` is a provider's name, or None for our own form."""

    session_id: str
    received_at: datetime
    body: bytes | bytearray
    encoding: str = ""
    source: str | None = None

    @property
    def limit(self) -> int:
        return MAX_BODY if self.source is None else MAX_PROVIDER_BODY


@dataclass(slots=True)
class Parsing:
    """What a body comes to: commands for the session's writer, in order, and why parts of it were left out."""

    parts: list[StoreMessages | bytes] = field(default_factory=list)
    """Commands; as the worker process sent them, or as they are."""
    skipped: Counter[str] = field(default_factory=Counter)

    def commands(self) -> Iterator[StoreMessages]:
        """Each is made when it is asked for: those of a large body would take long, and much memory, all at once."""
        for part in self.parts:
            yield wire.read(part) if isinstance(part, bytes) else part


def run(job: Job) -> Parsing:
    """Raises AppError for what cannot be read, and for what is not valid in our own form."""
    body = unpack(job.body, job.encoding, job.limit)
    if job.source is None:
        value = json_input.loads(body, MAX_NODES)
        messages = schemas.load_messages(value, job.session_id, job.received_at)
        return Parsing([StoreMessages(job.received_at, messages, size=len(body))])
    value = json_input.loads_provider(body, MAX_PROVIDER_NODES)
    parsed = PROVIDERS[job.source].parse(value, job.session_id, job.received_at)
    return Parsing([*_commands(parsed, job.received_at)], parsed.skipped)


def _commands(parsed: Parsed, received_at: datetime) -> Iterator[StoreMessages]:
    """A provider's body in parts that fit a transaction; what it tells of people comes before its messages."""
    for first in range(0, len(parsed.aliases), PART_ALIASES):
        aliases = parsed.aliases[first : first + PART_ALIASES]
        yield StoreMessages(received_at, aliases=aliases, size=128 * len(aliases))
    part: list[IncomingMessage] = []
    size = 0
    for message in parsed.messages:
        weight = _weight(message)
        if part and (len(part) >= PART_MESSAGES or size + weight > PART_BYTES):
            yield StoreMessages(received_at, part, size=size)
            part, size = [], 0
        part.append(message)
        size += weight
    if part:
        yield StoreMessages(received_at, part, size=size)


def _weight(message: IncomingMessage) -> int:
    quoted = message.reply_to.text if message.reply_to else None
    return 512 + 2 * (len(message.text or "") + len(quoted or ""))
