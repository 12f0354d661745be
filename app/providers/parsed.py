"""The result of parsing a provider's payload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.domain.incoming import Contact, IncomingUpdate, ReadElsewhere, Signal
from app.domain.models import Alias, IncomingMessage


@dataclass(frozen=True, slots=True)
class Parsed:
    """The contents of a payload, each kind in order, and what was skipped."""

    messages: Sequence[IncomingMessage] = ()
    aliases: Sequence[Alias] = ()
    skipped: Counter[str] = field(default_factory=Counter)
    """Reason -> count. The reasons are a small fixed set, never text of the payload, because they become metric
    labels."""
    updates: Sequence[IncomingUpdate] = ()
    contacts: Sequence[Contact] = ()
    reads: Sequence[ReadElsewhere] = ()
    signals: Sequence[Signal] = ()
    elsewhere: Mapping[str, Parsed] = field(default_factory=dict)
    """Parts for other sessions, by sessionId: a body of the Cloud API may be about several numbers."""
