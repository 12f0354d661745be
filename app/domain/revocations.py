"""The end of tokens before their time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Revocation:
    """Ends the token with this `jti`, or the tokens of this `sub` that were issued up to `before`. All times are epoch
    seconds."""

    kind: Literal["sub", "jti"]
    value: str
    before: float
    until: float
    """No token that it ends can be good after this time."""
