"""What a provider is to the rest of the server: how its bodies prove themselves, and what they come to.

All of it is pure. A body is verified as it was sent, before anything is unpacked or parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from app.providers.parsed import Parsed


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """The `source.…` part of a session's settings."""

    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    """Any of these may have signed a body: several while one is being changed."""
    verify_token: str | None = field(default=None, repr=False)
    phone_number_id: str | None = None
    mark_read: bool = True
    """Whether what another device has read, or answered, is marked as read."""


Numbers = Mapping[str, str | None]
"""phone_number_id -> the session that it belongs to, None where that session may not be written to."""


class Parse(Protocol):
    def __call__(self, payload: object, session_id: str, now: datetime, numbers: Numbers | None = None) -> Parsed:
        """What decoded JSON of any kind tells; never raises.

        `now` (aware) is the time of what does not tell its own. `numbers`: for bodies that are about several accounts.
        """
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    parse: Parse
    signature: str | None = None
    """The header that holds the signature. None: the provider does not sign."""
    verify: Callable[[bytes, Mapping[str, str], Sequence[str]], bool] = lambda raw, headers, secrets: False
    """Whether the headers hold the raw body's signature by one of the secrets."""
    sign: Callable[[str, bytes], dict[str, str]] | None = None
    """The headers with which the provider signs a body: by secret and raw body."""
    challenge: Callable[[Mapping[str, str], SourceSettings], str | None] | None = None
    """The answer to a GET that asks whether the address is ours, or None where the query is not right."""

    several_accounts: bool = False
    """Whether one body may be about several accounts."""

    def signs(self, settings: SourceSettings) -> bool:
        """Whether its bodies prove themselves by a signature. If not, a token is needed."""
        return self.signature is not None and bool(settings.webhook_secrets)

    def authenticate(self, raw: bytes, headers: Mapping[str, str], settings: SourceSettings) -> bool:
        return self.signs(settings) and self.verify(raw, headers, settings.webhook_secrets)
