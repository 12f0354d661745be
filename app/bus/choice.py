"""Chooses the bus: Redis if `REDIS_URL` is set, otherwise the database."""

from __future__ import annotations

from app.bus import Bus, redis
from app.bus.change_stream import ChangeStream
from app.storage.mongo import Store


def bus_for(store: Store, redis_url: str | None) -> Bus:
    """The bus, without connecting to it. The store must be prepared."""
    if redis_url is None:
        return ChangeStream(store.bus, store.bounded)
    return redis.connect(redis_url, store.epoch, store.secret)


async def check_bus(store: Store, redis_url: str | None) -> None:
    """Raises Unavailable, with the reason, if the bus cannot be used."""
    bus = bus_for(store, redis_url)
    await bus.check()
    await bus.close()
