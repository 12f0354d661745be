"""What a provider's payload comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.domain.incoming import Contact, IncomingUpdate, ReadElsewhere, Signal
from app.domain.models import Alias, IncomingMessage


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a payload tells, each kind in its order, and what was passed over."""

    messages: Sequence[IncomingMessage] = ()
    aliases: Sequence[Alias] = ()
    skipped: Counter[str] = field(default_factory=Counter)
    """Why -> how many. The reasons are a small fixed set, never words of the payload: they become metric labels."""
    updates: Sequence[IncomingUpdate] = ()
    contacts: Sequence[Contact] = ()
    reads: Sequence[ReadElsewhere] = ()
    signals: Sequence[Signal] = ()
    elsewhere: Mapping[str, Parsed] = field(default_factory=dict)
    """What belongs to other sessions, by their sessionId: one body of the Cloud API may be about several numbers."""
