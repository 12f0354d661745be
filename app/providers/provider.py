"""The interface of a provider: how its bodies are authenticated and parsed.

All functions are pure. A body is verified as sent, before anything is decompressed or parsed.
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
    """A body may be signed with any of these: there are several while one is being replaced."""
    verify_token: str | None = field(default=None, repr=False)
    phone_number_id: str | None = None
    mark_read: bool = True
    """Whether to mark as read what another device has read or answered."""


Numbers = Mapping[str, str | None]
"""phone_number_id -> its session, or None if the sender may not write to that session."""


class Parse(Protocol):
    def __call__(self, payload: object, session_id: str, now: datetime, numbers: Numbers | None = None) -> Parsed:
        """Parse decoded JSON of any form. Never raises.

        `now` (aware) is used for parts without a time. `numbers`: for bodies about several accounts.
        """
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    parse: Parse
    signature: str | None = None
    """The header with the signature. None: the provider does not sign."""
    verify: Callable[[bytes, Mapping[str, str], Sequence[str]], bool] = lambda raw, headers, secrets: False
    """Whether the headers have a signature of the raw body with one of the secrets."""
    sign: Callable[[str, bytes], dict[str, str]] | None = None
    """Returns the provider's signature headers for a secret and a raw body."""
    challenge: Callable[[Mapping[str, str], SourceSettings], str | None] | None = None
    """The answer to the provider's check of the webhook address, or None if the query is wrong."""

    several_accounts: bool = False
    """Whether a body may be about several accounts."""

    event_in_path: bool = False
    """Whether the provider may append the event's name to the webhook address. It is in the body, too."""

    def signs(self, settings: SourceSettings) -> bool:
        """Whether bodies must be signed. If not, they need a token."""
        return self.signature is not None and bool(settings.webhook_secrets)

    def authenticate(self, raw: bytes, headers: Mapping[str, str], settings: SourceSettings) -> bool:
        return self.signs(settings) and self.verify(raw, headers, settings.webhook_secrets)
