"""The providers whose own payloads are taken, by the name in the webhook's path: a package each, pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.providers.baileys.receive import parse as parse_baileys
from app.providers.parsed import Parsed
from app.providers.provider import Provider, SourceSettings

__all__ = ["PROVIDERS", "Parsed", "Provider", "SourceSettings"]

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType({"baileys": Provider(parse_baileys)})
