"""Preparing a database: any number of servers, at once and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from app.storage.mongo import Store, connect

COLLECTIONS = {
    "meta",
    "sessions",
    "events",
    "messages",
    "chats",
    "accounts",
    "aliases",
    "bus",
    "contacts",
    "deliveries",
    "quickReplies",
    "parked",
    "revocations",
}


Database = AsyncDatabase[dict[str, Any]]


@pytest.fixture
async def look(mongodb_uri: str) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    """A separate driver for the test."""
    async with AsyncMongoClient[dict[str, Any]](mongodb_uri) as client:
        yield client


async def indexes(database: Database) -> dict[str, list[str]]:
    return {name: sorted(await database[name].index_information()) for name in COLLECTIONS}


async def test_servers_that_start_at_once(
    mongodb_uri: str, database: str, look: AsyncMongoClient[dict[str, Any]]
) -> None:
    """Servers that start at once on a new database all come up, with one epoch."""
    for round_number in range(3):
        stores = [connect(mongodb_uri, f"{database}_{round_number}", 10) for _ in range(4)]
        await asyncio.gather(*(store.prepare(30) for store in stores))
        assert len({store.epoch for store in stores}) == 1
        assert set(await look[f"{database}_{round_number}"].list_collection_names()) == COLLECTIONS
        for store in stores:
            store.close()


async def test_again(store: Store, mongodb_uri: str, database: str, look: AsyncMongoClient[dict[str, Any]]) -> None:
    """Preparing again changes nothing except how long events are kept."""
    before, epoch = await indexes(look[database]), store.epoch
    again = connect(mongodb_uri, database, 5)
    await again.prepare(7)
    assert again.epoch == epoch
    assert await indexes(look[database]) == before
    information = await store.events.index_information()
    assert information["at_1"]["expireAfterSeconds"] == 7 * 86_400
    again.close()
