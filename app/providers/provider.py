"""What a provider is to the rest of the server: how its bodies prove themselves, and what they come to.

All of it is pure. A body is verified as it was sent, before anything is unpacked or parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.providers.parsed import Parsed


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """The `source.…` part of a session's settings."""

    webhook_secrets: tuple[str, ...] = ()
    """Any of these may have signed a body: several while one is being changed."""
    verify_token: str | None = None
    phone_number_id: str | None = None


class Parse(Protocol):
    def __call__(
        self, payload: object, session_id: str, now: datetime, numbers: Mapping[str, str] | None = None
    ) -> Parsed:
        """What decoded JSON of any kind tells; never raises.

        `now` (aware) is the time of what does not tell its own. `numbers`: phone_number_id -> sessionId, for bodies
        that are about several accounts.
        """
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    parse: Parse
    verify: Callable[[bytes, Mapping[str, str], Sequence[str]], bool] | None = None
    """Whether the headers hold the raw body's signature by one of the secrets. None: it does not sign."""
    sign: Callable[[bytes, str], dict[str, str]] | None = None
    """The headers with which the provider signs a body."""
    challenge: Callable[[Mapping[str, str], SourceSettings], str | None] | None = None
    """The answer to a GET that asks whether the address is ours, or None where the query is not right."""

    def authenticate(self, raw: bytes, headers: Mapping[str, str], settings: SourceSettings) -> bool | None:
        """Whether the body is the provider's. None: it does not prove itself, so that a token is needed."""
        if self.verify is None or not settings.webhook_secrets:
            return None
        return self.verify(raw, headers, settings.webhook_secrets)
