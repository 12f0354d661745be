"""The supported providers, by their name in the webhook's path. Each is a package of pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.providers.baileys import receive as baileys
from app.providers.cloud_api import receive as cloud_api
from app.providers.evolution import receive as evolution
from app.providers.parsed import Parsed
from app.providers.provider import Numbers, Provider, SourceSettings
from app.providers.waha import receive as waha

__all__ = ["PROVIDERS", "Numbers", "Parsed", "Provider", "SourceSettings"]

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType(
    {
        "baileys": Provider(baileys.parse),
        "evolution": Provider(evolution.parse, event_in_path=True),
        "waha": Provider(waha.parse, waha.SIGNATURE, waha.verify, waha.sign),
        "cloud-api": Provider(
            cloud_api.parse,
            cloud_api.SIGNATURE,
            cloud_api.verify,
            cloud_api.sign,
            cloud_api.challenge,
            several_accounts=True,
        ),
    }
)
