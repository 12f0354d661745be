"""Revocations of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Revocation:
    """Revokes the token with this `jti`, or all tokens of this `sub` issued up to `before`. All times are epoch
    seconds."""

    kind: Literal["sub", "jti"]
    value: str
    before: float
    until: float
    """After this time all tokens it revokes have expired."""
