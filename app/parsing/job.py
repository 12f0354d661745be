"""The parsing of one body. Pure code that runs both in the server and in the worker process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from app import json_input, posted
from app.domain.incoming import ReadElsewhere, Signal
from app.domain.intake import commands_of
from app.domain.known import Command
from app.domain.models import Alias
from app.parsing import wire
from app.parsing.encodings import unpack
from app.posted import Posted
from app.providers import PROVIDERS, Numbers, Parsed

MAX_BODY: Final = 1024 * 1024
"""Maximum size of a body in our own form, decompressed."""
MAX_PROVIDER_BODY: Final = 16 * 1024 * 1024
MAX_NODES: Final = 400_000
"""Maximum number of JSON values in a body in our own form: far more than 500 messages need."""
MAX_PROVIDER_NODES: Final = 500_000


class Job(NamedTuple):
    """A body as sent, and the session it was posted to. `source` is a provider's name, or None for our own form."""

    session_id: str
    received_at: datetime
    body: bytes | bytearray
    encoding: str = ""
    source: str | None = None
    numbers: Numbers | None = None
    """Cloud API: the session for each phone number's part of the body."""
    unmarked: frozenset[str] = frozenset()
    """Sessions with `source.mark_read = false`: answers and other devices mark nothing as read there."""

    @property
    def limit(self) -> int:
        return MAX_BODY if self.source is None else MAX_PROVIDER_BODY


@dataclass(slots=True)
class Parsing:
    """The result: commands for the sessions' writers, in order, and the reasons why parts were skipped."""

    parts: list[tuple[str, Command] | bytes] = field(default_factory=list)
    """Commands with their sessionIds, pickled if they come from the worker process."""
    skipped: Counter[str] = field(default_factory=Counter)
    signals: Sequence[tuple[str, Sequence[Signal]]] = ()
    """Signals, which are not stored, with their sessionIds."""

    def commands(self) -> Iterator[tuple[str, Command]]:
        """An iterator, because unpickling all commands of a large body at once would take long and use much memory."""
        for part in self.parts:
            yield wire.read(part) if isinstance(part, bytes) else part


def run(job: Job) -> Parsing:
    """Parse the body. Raises AppError if it cannot be read, or is invalid in our own form."""
    body = unpack(job.body, job.encoding, job.limit)
    if job.source is None:
        value = json_input.loads(body, MAX_NODES)
        told = posted.load_body(value, job.session_id, job.received_at)
        commands = _commands(job, job.session_id, told)
        return Parsing([(job.session_id, command) for command in commands], signals=_of(job.session_id, told.signals))
    value = json_input.loads_provider(body, MAX_PROVIDER_NODES)
    parsed = PROVIDERS[job.source].parse(value, job.session_id, job.received_at, job.numbers)
    parsing = Parsing()
    for session_id, part in ((job.session_id, parsed), *parsed.elsewhere.items()):
        reads = () if session_id in job.unmarked else part.reads
        commands = _commands(job, session_id, part, part.aliases, reads)
        parsing.parts += [(session_id, command) for command in commands]
        parsing.skipped += part.skipped
        parsing.signals = [*parsing.signals, *_of(session_id, part.signals)]
    return parsing


def _commands(
    job: Job,
    session_id: str,
    told: Posted | Parsed,
    aliases: Sequence[Alias] = (),
    reads: Sequence[ReadElsewhere] = (),
) -> Iterator[Command]:
    return commands_of(
        job.received_at,
        messages=told.messages,
        updates=told.updates,
        contacts=told.contacts,
        aliases=aliases,
        reads=reads,
        answers_read=session_id not in job.unmarked,
    )


def _of(session_id: str, signals: Sequence[Signal]) -> list[tuple[str, Sequence[Signal]]]:
    return [(session_id, signals)] if signals else []
