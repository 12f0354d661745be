"""Aliases, and merging two chats of one person."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import merges
from app.domain.aliases import aliases_of
from app.domain.commands import MarkRead
from app.domain.incoming import Contact
from app.domain.merges import FEW, MOVE_AT_ONCE
from app.domain.models import Alias, Sender
from app.domain.people import SplitChat, TellContacts
from tests.domain.memory import ANA, ANA_LID, GROUP, NOW, Memory, incoming, store, update

BOB = "85291234567@s.whatsapp.net"
KNOWN = store(aliases=(Alias(ANA_LID, ANA),))


@pytest.mark.parametrize(
    "address",
    ["undefined@s.whatsapp.net", "null@s.whatsapp.net", "0@s.whatsapp.net", "@s.whatsapp.net", "1234@s.whatsapp.net",
     "1234567890123456@s.whatsapp.net", "0123456789@s.whatsapp.net", "12345678x@s.whatsapp.net",
     "٣٣٣٣٣٣@s.whatsapp.net",
     "12345678@g.us", "12345678@c.us", "12345678", "12345678@s.whatsapp.net\n", GROUP],
)  # fmt: skip
def test_what_is_nobodys_address(address: str) -> None:
    """Such an address never becomes an alias, in any form, and does not replace a correct one."""
    memory = Memory(aliases={ANA_LID: ANA})
    assert aliases_of([address, ANA_LID]) == []
    memory.apply(store(incoming("m1", ANA_LID), aliases=(Alias(ANA_LID, address), Alias(address, ANA))))
    assert set(memory.chats) == {ANA}
    assert memory.aliases == {ANA_LID: ANA}


def test_what_is_an_address() -> None:
    """5 to 15 digits are a number or a hidden address; the Cloud API has user ids."""
    for address in ("12345@s.whatsapp.net", "123456789012345@s.whatsapp.net"):
        told = ["70707@lid", address, "80808@lid", "x@lid", "0@lid", "7@lid", "BR.150233"]
        assert [alias.lid for alias in aliases_of(told)] == ["70707@lid", "80808@lid", "BR.150233"]
        assert {alias.address for alias in aliases_of(told)} == {address}


def test_merge() -> None:
    """Chats, counters, marks, quotes and what was said of the chats become one, by one event."""
    memory = Memory()
    quote = incoming("q", GROUP, sender=Sender(ANA_LID))
    memory.apply(store(incoming("m1", ANA_LID, chat_name="Ana"), incoming("m2", ANA), incoming("m3", ANA_LID), quote))
    memory.apply(MarkRead(ANA_LID, 1), MarkRead(ANA, 2))
    (event,) = memory.apply(KNOWN).events
    assert (event.event, event.chat_id, event.chat_ids) == ("chat_merged", ANA, (ANA, ANA_LID))
    assert event.data["from"] == ANA_LID
    chat = event.data["chat"]
    assert (chat["name"], chat["unreadCount"], chat["readSeq"], chat["lastSeq"]) == ("Ana", 2, 1, 3)
    assert chat["lastMessage"]["messageId"] == "m3"
    assert set(memory.messages) == {(ANA, "m1"), (ANA, "m2"), (ANA, "m3"), (GROUP, "q")}
    assert {m.sender.id for m in memory.messages.values() if m.chat_id == ANA} == {ANA}
    assert memory.apply(KNOWN).events == []


def test_a_chat_of_a_hidden_address_alone() -> None:
    """It becomes the chat of the known address."""
    memory = Memory()
    memory.apply(store(incoming("m1", ANA_LID)), KNOWN)
    assert set(memory.chats) == {ANA}
    assert set(memory.messages) == {(ANA, "m1")}


def test_many_messages_move_in_steps() -> None:
    """However many there are, each transaction moves a bounded number of them."""
    memory = Memory()
    many = MOVE_AT_ONCE * 2 + 1
    memory.apply(store(*(incoming(f"m{n}", ANA_LID) for n in range(many))))
    outcome = memory.apply(KNOWN)
    assert (len(outcome.events), len(outcome.changed_messages)) == (1, 0)
    assert len(memory.messages) == many
    assert {chat_id for chat_id, _ in memory.messages} == {ANA}
    assert memory.chats[ANA].also == []


def test_many_merges_in_one_batch() -> None:
    """An address book brings many chats together: no transaction moves more than a bounded number of messages."""
    memory = Memory(patient=True)
    people = [(f"{n + 10000}@lid", f"49151000{n:05}@s.whatsapp.net") for n in range(20)]
    for lid, _ in people:
        memory.apply(store(*(incoming(f"m{n}", lid) for n in range(FEW))))
    outcome = memory.apply(store(aliases=tuple(Alias(*one) for one in people)))
    assert len(outcome.events) == len(people)
    assert len(outcome.changed_messages) < MOVE_AT_ONCE + FEW
    memory.patient = False
    memory.apply(KNOWN)
    assert {chat_id for chat_id, _ in memory.messages} == {address for _, address in people}


def test_an_address_that_changes_hands() -> None:
    """Stored messages stay; later ones belong to the new person."""
    memory = Memory()
    memory.apply(store(incoming("m1", ANA_LID)), KNOWN, store(aliases=(Alias(ANA_LID, BOB),)))
    memory.apply(store(incoming("m2", ANA_LID)))
    assert set(memory.messages) == {(ANA, "m1"), (BOB, "m2")}


def test_names() -> None:
    """A contact's name goes to the chat, at once or when there is one, and stays."""
    memory = Memory()
    memory.apply(store(incoming("m1", BOB)))
    outcome = memory.apply(TellContacts([Contact(BOB, "Bob"), Contact(ANA, "Ana", [ANA_LID]), Contact(GROUP, "Us")]))
    assert [(event.event, event.data["chat"]["name"]) for event in outcome.events] == [("chat_updated", "Bob")]
    assert memory.apply(TellContacts([Contact(BOB, "Bob"), Contact(ANA, "Ana"), Contact(BOB)])).events == []
    memory.apply(store(incoming("m2", ANA_LID, sender=Sender(ANA_LID, "~ana")), incoming("m3", GROUP)))
    assert [memory.chats[chat].name for chat in (ANA, GROUP)] == ["Ana", "Us"]


def test_updates_follow() -> None:
    """Updates that name the old address, or waited under it, find their message in the chat of the known one."""
    memory = Memory()
    memory.apply(update("m2", ANA_LID, text="two"), store(incoming("m1", ANA_LID, from_me=True)), KNOWN)
    memory.apply(update("m1", ANA_LID, status="read"), store(incoming("m2", ANA)))
    assert (memory.messages[ANA, "m1"].status, memory.messages[ANA, "m2"].text) == ("read", "two")


def test_split() -> None:
    """The messages of the hidden address are separate again, with right counters, and are not merged again."""
    memory = Memory()
    memory.apply(store(incoming("m1", ANA_LID), incoming("m2", ANA), incoming("m3", ANA_LID, sender=Sender(ANA_LID))))
    before = memory.shown()[1]
    memory.apply(KNOWN, store(incoming("m4", ANA_LID)))
    outcome = memory.apply(SplitChat(ANA, ANA_LID))
    assert [event.event for event in outcome.events] == ["chat_updated", "chat_updated"]
    assert set(memory.messages) == {(ANA_LID, "m1"), (ANA, "m2"), (ANA_LID, "m3"), (ANA_LID, "m4")}
    assert {memory.messages[ANA_LID, one].sender.id for one in ("m1", "m3", "m4")} == {ANA_LID}
    assert (memory.chats[ANA].unread_count, memory.chats[ANA_LID].unread_count) == (1, 3)
    assert (memory.chats[ANA].last_message.message_id, memory.chats[ANA_LID].last_seq) == ("m2", 5)  # type: ignore[union-attr]
    assert [one for one in memory.shown()[1] if one["messageId"] != "m4"] == before
    memory.apply(KNOWN, store(incoming("m5", ANA_LID), incoming("m6", ANA)))
    assert {(ANA_LID, "m5"), (ANA, "m6")} <= set(memory.messages)
    assert memory.apply(SplitChat(BOB, "70707@lid")).results == [None]


def test_split_of_many() -> None:
    """It takes steps as a merge does, also while that is not done."""
    memory = Memory()
    many = MOVE_AT_ONCE + 10
    memory.apply(store(incoming("k", ANA), *(incoming(f"m{n}", ANA_LID) for n in range(many))), KNOWN)
    memory.apply(SplitChat(ANA, ANA_LID))
    assert [len([1 for chat_id, _ in memory.messages if chat_id == one]) for one in (ANA, ANA_LID)] == [1, many]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_counters_while_messages_move(data: st.DataObject) -> None:
    """Whatever happens to two chats before, while and after they become one, counters are true at every moment, and in
    the end each message is there once, with its first number and its content."""
    ids = [f"m{n}" for n in range(5)]
    memory = Memory(patient=True)
    told: dict[str, int] = {}
    with (
        mock.patch.object(merges, "FEW", data.draw(st.sampled_from([0, 2]))),
        mock.patch.object(merges, "MOVE_AT_ONCE", 1),
    ):
        for _ in range(data.draw(st.integers(3, 14))):
            chat_id = data.draw(st.sampled_from([ANA, ANA_LID]))
            message_id = data.draw(st.sampled_from(ids))
            ours = message_id == "m4"
            text = data.draw(st.sampled_from(["one", "two", None]))
            kind = data.draw(st.sampled_from(["store", "store", "mark", "delete", "merge", "move", "move"]))
            if kind == "move" and memory.waiting:
                memory.apply(memory.waiting.pop(data.draw(st.integers(0, len(memory.waiting) - 1))))
            elif kind == "store":
                old = incoming(message_id, chat_id, text, from_me=ours, timestamp=NOW - timedelta(hours=1))
                (results,) = memory.apply(store(old)).results
                assert isinstance(results, list)
                told.setdefault(message_id, results[0].seq)
            elif kind == "mark":
                memory.apply(MarkRead(chat_id, data.draw(st.integers(1, max(1, memory.seq)))))
            elif kind == "delete":
                memory.apply(update(message_id, chat_id, deleted=True))
            elif kind == "merge":
                memory.apply(KNOWN)
        memory.apply(KNOWN)
        memory.patient = False
        memory.apply(KNOWN)
    assert [chat.also for chat in memory.chats.values()] in ([], [[]], [()])
    found = {message_id: message.seq for (chat_id, message_id), message in memory.messages.items()}
    assert found == told
    assert all(chat_id == ANA for chat_id, _ in memory.messages)
