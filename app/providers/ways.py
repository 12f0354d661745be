"""The ways of sending over HTTP, by their name in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.providers.cloud_api import send as cloud_api
from app.providers.evolution import send as evolution
from app.providers.outgoing import Via, Way
from app.providers.waha import send as waha
from app.providers.webhook import send as webhook

WAYS: Final[Mapping[Via, Way]] = MappingProxyType(
    {
        "webhook": Way(webhook.request, webhook.read, idempotent=True),
        "evolution": Way(
            evolution.request, evolution.read, typing=evolution.typing, seen=evolution.seen, presence=evolution.presence
        ),
        "waha": Way(waha.request, waha.read, typing=waha.typing, seen=waha.seen, presence=waha.presence),
        "cloud-api": Way(cloud_api.request, cloud_api.read, seen=cloud_api.seen),
    }
)
