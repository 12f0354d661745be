"""Lists of a chat into which another one is being merged."""

from __future__ import annotations

import pytest

from app.domain.merges import FEW
from app.domain.models import Alias
from app.storage.mongo import Store
from tests.storage.test_group import ANA, incoming, store_messages, writer_with

LID = "10101@lid"
SEQS = {"m1": 1, "both1": 2, "m3": 3, "both2": 4, "m7": 7, "m8": 8, **{f"more{n}": n + 9 for n in range(FEW)}}


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 50])
async def test_each_message_once(store: Store, limit: int) -> None:
    """Before any message has moved, a list has each once, at the place that it will keep, on whatever pages."""
    places = [(LID, "m1"), (ANA, "both1"), (LID, "m3"), (LID, "both2"), (LID, "both1"), (ANA, "both2"), (LID, "m7")]
    stored = [store_messages(incoming(message_id, chat_id)) for chat_id, message_id in [*places, (ANA, "m8")]]
    stored.append(store_messages(*(incoming(f"more{n}", LID) for n in range(FEW))))
    merge = store_messages(aliases=[Alias(LID, ANA)])
    writer = await writer_with(store, *stored, merge)
    assert await store.messages.count_documents({"chatId": LID}) == 5 + FEW
    forwards, backwards = [], []
    after, before = 0, 1000
    while page := await store.lists.read_messages("shop", ANA, after=after, limit=limit):
        forwards += page
        after = page[-1].seq
    while page := await store.lists.read_messages("shop", ANA, before=before, limit=limit):
        backwards[:0] = page
        before = page[0].seq
    for found in (forwards, backwards):
        assert [(one.message_id, one.seq) for one in found] == list(SEQS.items())
        assert {(one.chat_id, one.sender.id) for one in found} == {(ANA, ANA)}
    await writer.end()


async def test_many_copies_in_a_row(store: Store) -> None:
    """A list finds the messages that are kept behind any number of copies that are not."""
    ids = [f"m{n}" for n in range(FEW + 50)]
    both = [store_messages(*(incoming(one, chat_id) for one in ids)) for chat_id in (LID, ANA)]
    writer = await writer_with(store, *both, store_messages(aliases=[Alias(LID, ANA)]))
    found = await store.lists.read_messages("shop", ANA, limit=3)
    assert [one.message_id for one in found] == ids[-3:]
    assert await store.lists.read_messages("shop", ANA, after=len(ids), limit=3) == []
    await writer.end()
