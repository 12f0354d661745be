"""Opens the database that the settings name."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from typing import Final

import structlog

from app import devdb
from app.errors import Unavailable
from app.settings import Settings
from app.storage.mongo import TRANSACTION_LIFETIME_SECONDS, Store, connect

log = structlog.get_logger(__name__)

START_SECONDS: Final = 30
"""How long to wait at start for a database that is not yet available."""


def database_name(settings: Settings) -> str:
    """Which database it is, without user and password."""
    if settings.mongodb_uri is None:
        return f"private, in {settings.data_dir.absolute()}"
    scheme, _, rest = settings.mongodb_uri.partition("://")
    hosts = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}://{hosts}/{settings.mongodb_database}"


@contextlib.asynccontextmanager
async def connected(settings: Settings, *, beside: bool = False) -> AsyncIterator[Store]:
    """The database without preparation: that of MONGODB_URI, or a private one that is stopped at the end. `beside`:
    use the private database of a running server if there is one."""
    async with contextlib.AsyncExitStack() as stack:
        uri = settings.mongodb_uri or (devdb.uri_of_running(settings.data_dir) if beside else None)
        if uri is None:
            uri = await stack.enter_async_context(devdb.run(settings.data_dir, settings.mongod_binary))
        store = connect(
            uri,
            settings.mongodb_database,
            settings.mongodb_timeout,
            keep_deleted=settings.keep_deleted,
            rings=settings.redis_url is None,
        )
        stack.callback(store.close)
        yield store


@contextlib.asynccontextmanager
async def open_store(settings: Settings, *, beside: bool = False) -> AsyncIterator[Store]:
    """The database, ready to be read and written. `beside` as for `connected`."""
    async with connected(settings, beside=beside) as store:
        await _prepare(store, settings.event_retention_days)
        yield store


async def _prepare(store: Store, retention_days: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            await store.prepare(retention_days)
            break
        except Unavailable as error:
            if time.monotonic() > deadline:
                raise
            log.warning("database_not_there_yet", reason=error.detail)
            await asyncio.sleep(1)
    lifetime = await store.transaction_lifetime()
    if lifetime is not None and lifetime > TRANSACTION_LIFETIME_SECONDS:
        log.warning(
            "transaction_lifetime_is_long",
            seconds=lifetime,
            hint=f"Start mongod with --setParameter transactionLifetimeLimitSeconds={TRANSACTION_LIFETIME_SECONDS}: "
            "a server that is killed while it writes can block its session for that long.",
        )
