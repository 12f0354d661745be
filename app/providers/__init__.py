"""The providers whose own payloads are taken, by the name in the webhook's path: one module each, pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from app.providers.baileys.receive import parse as parse_baileys
from app.providers.parsed import Parsed

__all__ = ["PROVIDERS", "Parsed", "Source"]

Source = Callable[[object, str, datetime], Parsed]
"""Takes decoded JSON of any kind, the sessionId and the time of receipt (aware), and never raises."""

PROVIDERS: Final[Mapping[str, Source]] = MappingProxyType({"baileys": parse_baileys})
