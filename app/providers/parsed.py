"""What a provider's payload comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.domain.models import Alias, IncomingMessage


@dataclass(frozen=True, slots=True)
class Parsed:
    """The messages of a payload in their order, the aliases learned anywhere in it, and what was passed over."""

    messages: Sequence[IncomingMessage] = ()
    aliases: Sequence[Alias] = ()
    skipped: Counter[str] = field(default_factory=Counter)
    """Why -> how many. The reasons are a small fixed set, never words of the payload: they become metric labels."""
