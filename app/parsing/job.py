"""What is to be done with one body. Pure: it runs in the server or in the worker process alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from app import json_input, posted
from app.domain.incoming import Signal
from app.domain.intake import commands_of
from app.domain.known import Command
from app.parsing import wire
from app.parsing.encodings import unpack
from app.providers import PROVIDERS, Numbers

MAX_BODY: Final = 1024 * 1024
"""Bytes of a body in our own form, unpacked."""
MAX_PROVIDER_BODY: Final = 16 * 1024 * 1024
MAX_NODES: Final = 400_000
"""Values in a body of our own form: far more than 500 messages have."""
MAX_PROVIDER_NODES: Final = 500_000


class Job(NamedTuple):
    """A body, as it was sent, and where it came in. `source` is a provider's name, or None for our own form."""

    session_id: str
    received_at: datetime
    body: bytes | bytearray
    encoding: str = ""
    source: str | None = None
    numbers: Numbers | None = None
    """Of the Cloud API: which session each number's part of the body goes to."""
    mark_read: bool = True

    @property
    def limit(self) -> int:
        return MAX_BODY if self.source is None else MAX_PROVIDER_BODY


@dataclass(slots=True)
class Parsing:
    """What a body comes to: commands for the sessions' writers, in order, and why parts of it were left out."""

    parts: list[tuple[str, Command] | bytes] = field(default_factory=list)
    """Commands with their sessionIds; as the worker process sent them, or as they are."""
    skipped: Counter[str] = field(default_factory=Counter)
    signals: Sequence[tuple[str, Sequence[Signal]]] = ()
    """What passes by and is not stored, with its sessionId."""

    def commands(self) -> Iterator[tuple[str, Command]]:
        """Each is made when it is asked for: those of a large body would take long, and much memory, all at once."""
        for part in self.parts:
            yield wire.read(part) if isinstance(part, bytes) else part


def run(job: Job) -> Parsing:
    """Raises AppError for what cannot be read, and for what is not valid in our own form."""
    body = unpack(job.body, job.encoding, job.limit)
    if job.source is None:
        value = json_input.loads(body, MAX_NODES)
        told = posted.load_body(value, job.session_id, job.received_at)
        commands = commands_of(
            job.received_at,
            messages=told.messages,
            updates=told.updates,
            contacts=told.contacts,
            answers_read=job.mark_read,
        )
        return Parsing([(job.session_id, command) for command in commands], signals=_of(job.session_id, told.signals))
    value = json_input.loads_provider(body, MAX_PROVIDER_NODES)
    parsed = PROVIDERS[job.source].parse(value, job.session_id, job.received_at, job.numbers)
    parsing = Parsing()
    for session_id, part in ((job.session_id, parsed), *parsed.elsewhere.items()):
        commands = commands_of(
            job.received_at,
            messages=part.messages,
            updates=part.updates,
            contacts=part.contacts,
            aliases=part.aliases,
            reads=part.reads if job.mark_read else (),
            answers_read=job.mark_read,
        )
        parsing.parts += [(session_id, command) for command in commands]
        parsing.skipped += part.skipped
        parsing.signals = [*parsing.signals, *_of(session_id, part.signals)]
    return parsing


def _of(session_id: str, signals: Sequence[Signal]) -> list[tuple[str, Sequence[Signal]]]:
    return [(session_id, signals)] if signals else []
