"""A database that was written by the first form of the product is brought over at start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from pymongo import AsyncMongoClient

from app.domain.events import render_chat, render_message
from app.domain.models import Message
from app.services.ingest import Ingest
from app.services.merges import Merges
from app.storage.causes import SetupError
from app.storage.mongo import Store, connect
from tests.services.test_ingest import ingest_over

VERSION_1 = Path(__file__).parent / "version_1.json"
"""What the last commit before version 2 wrote, collection by collection."""
ANA, ANA_LID, BOB = "5511999998888@s.whatsapp.net", "99887766554433@lid", "85291234567@s.whatsapp.net"
GROUP = "120363041234567890@g.us"


@pytest.fixture
async def old(mongodb_uri: str, database: str) -> AsyncIterator[Store]:
    """A store that is not prepared, over data of version 1."""
    written = json_util.loads(VERSION_1.read_text(encoding="utf-8"))
    indexes = written.pop("indexes")
    async with AsyncMongoClient[dict[str, Any]](mongodb_uri) as client:
        for name, documents in written.items():
            await client[database][name].insert_many(documents)
        for name, found in indexes.items():
            for index in found:
                if index["key"] != [["_id", 1]]:
                    keys = [(field, direction) for field, direction in index["key"]]
                    await client[database][name].create_index(keys, unique=index["unique"])
    store = connect(mongodb_uri, database, 5)
    yield store
    store.close()


async def chats_of(store: Store) -> dict[str, dict[str, Any]]:
    return {chat.chat_id: render_chat(chat) for chat in await store.lists.read_chats("shop", None, 50)}


async def messages_of(store: Store, chat_id: str) -> list[Message]:
    return await store.lists.read_messages("shop", chat_id, limit=50)


async def test_what_was_stored_is_brought_over(old: Store) -> None:
    """Messages are as they were, with the new fields; reactions are at what they are about; counters are right."""
    await old.prepare(30)
    assert await old.seq("shop") == 16, "numbers go on"
    ana = [render_message(message) for message in await messages_of(old, ANA)]
    assert [(message["messageId"], message["text"]) for message in ana] == [
        ("a1", "Is the blue one there?"),
        ("a2", "Yes"),
        ("a6", "and now from the known one"),
    ]
    assert [(one["sender"]["name"], one["emoji"], one["fromMe"]) for one in ana[1]["reactions"]] == [
        ("Ana", "❤️", False)
    ], "the later of two reactions of a person"
    assert [(one["emoji"], one["fromMe"]) for one in ana[0]["reactions"]] == [("🙏", True)]
    first = {name: ana[0][name] for name in ("author", "clientId", "editedAt", "deletedAt", "receipts", "error")}
    assert set(first.values()) == {None}
    assert ana[0]["contentSeq"] == ana[0]["seq"] == 1
    chats = await chats_of(old)
    assert set(chats) == {ANA, ANA_LID, GROUP, "alice", "11122233344455@lid"}, "nothing is left of a chat of reactions"
    assert (chats[ANA]["unreadCount"], chats[ANA]["lastMessage"]["messageId"], chats[ANA]["answered"]) == (
        1,
        "a6",
        False,
    )
    assert (chats[ANA]["kind"], chats[GROUP]["kind"], chats["alice"]["kind"]) == ("person", "group", "other")
    assert (chats[GROUP]["unreadCount"], chats[GROUP]["answered"]) == (1, True), "a system line is nothing to read"
    assert {(chat["state"], chat["assignee"]) for chat in chats.values()} == {("open", None)}
    assert [alias["lid"] async for alias in old.aliases.find()] == [ANA_LID], "undefined@ is nobody's address"


async def test_a_person_who_had_two_chats_has_one(old: Store) -> None:
    """What was left under a hidden address, though the known one was known, comes to the person's chat."""
    await old.prepare(30)
    ingest: Ingest = ingest_over(old)
    merging = asyncio.create_task(Merges(old, ingest).run())
    while ANA_LID in await chats_of(old) or await old.merging():
        await asyncio.sleep(0.01)
    merging.cancel()
    await ingest.close(10)
    assert [message.message_id for message in await messages_of(old, ANA)] == ["a1", "a2", "l1", "l2", "a6"]
    assert ANA_LID not in await chats_of(old)
    assert (await chats_of(old))[ANA]["unreadCount"] == 4, "the lower of the two marks"


async def test_once_and_by_several_at_once(old: Store, mongodb_uri: str, database: str) -> None:
    """Servers that start at the same time, and again, end with the same; clients load their lists anew."""
    stores = [old, *(connect(mongodb_uri, database, 5) for _ in range(2))]
    await asyncio.gather(*(store.prepare(30) for store in stores))
    before = await chats_of(old), await messages_of(old, ANA)
    await stores[1].prepare(30)
    assert (await chats_of(old), await messages_of(old, ANA)) == before
    assert stores[1].epoch != "RaM1y_d_eUAw"
    again = connect(mongodb_uri, database, 5)
    await again.prepare(30)
    assert again.epoch == stores[1].epoch
    assert again.to_unite == ()
    for store in (*stores[1:], again):
        store.close()


async def test_a_newer_version_is_left_alone(store: Store, mongodb_uri: str, database: str) -> None:
    """A server that finds what a newer one wrote does not start, says why, and changes nothing."""
    async with AsyncMongoClient[dict[str, Any]](mongodb_uri) as client:
        await client[database]["meta"].update_one({"_id": "schema"}, {"$set": {"value": 99}})
        await client[database]["events"].drop_indexes()
        again = connect(mongodb_uri, database, 5)
        with pytest.raises(SetupError, match=r"a newer version of Roomcast: it has version 99"):
            await again.prepare(30)
        assert list(await client[database]["events"].index_information()) == ["_id_"]
        again.close()
