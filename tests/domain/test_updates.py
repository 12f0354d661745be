"""Changes of stored messages: statuses, edits, deletions, reactions, receipts."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.commands import MarkRead, UpdateMessages
from app.domain.incoming import IncomingUpdate, ReactionChange, Receipt
from app.domain.models import Alias, MessageError, MessageStatus, Sender, UpdateResult
from tests.domain.memory import ANA, ANA_LID, GROUP, NOW, Memory, incoming, store, update


def at(seconds: int) -> Any:
    return NOW + timedelta(seconds=seconds)


def reaction(emoji: str | None, who: str = "bob", *, from_me: bool = False) -> ReactionChange:
    return ReactionChange(Sender(who, who.title()), from_me, emoji)


def states(memory: Memory, *commands: UpdateMessages) -> list[str]:
    return [one.state for result in memory.apply(*commands).results for one in result]  # type: ignore[union-attr]


STATUSES: tuple[MessageStatus, ...] = ("pending", "sent", "delivered", "read", "played", "failed")


@pytest.mark.parametrize(("first", "then"), [*itertools.product(STATUSES, STATUSES)])
def test_status_goes_forward_only(first: MessageStatus, then: MessageStatus) -> None:
    """Steps may be left out; `failed` follows what was not delivered, and late success wins over it."""
    memory = Memory()
    memory.apply(store(incoming(from_me=True, status=first)))
    order = STATUSES[:5]
    forward = (
        first in ("pending", "sent")
        if then == "failed"
        else then in ("delivered", "read", "played")
        if first == "failed"
        else order.index(then) > order.index(first)
    ) and first != then
    outcome = memory.apply(update(status=then))
    assert outcome.results == [[UpdateResult("m1", "applied", 2) if forward else UpdateResult("m1", "unchanged")]]
    assert [event.event for event in outcome.events] == (["message_updated"] if forward else [])
    assert memory.messages["a", "m1"].status == (then if forward else first)


def test_reason_of_failure_goes_with_success() -> None:
    """`error` is there as long as the message has failed."""
    memory = Memory()
    memory.apply(store(incoming(from_me=True)))
    (event,) = memory.apply(update(status="failed", error=MessageError("131026", "Not on WhatsApp"))).events
    assert event.data["message"]["error"] == {"code": "131026", "title": "Not on WhatsApp"}
    (event,) = memory.apply(update(status="delivered")).events
    assert event.data["message"]["error"] is None
    assert states(memory, update(error=MessageError("1", "Late"))) == ["unchanged"]


def test_status_of_others_messages() -> None:
    """What others wrote has no status but `received`."""
    memory = Memory()
    memory.apply(store(incoming()))
    assert states(memory, update(status="read")) == ["unchanged"]


def test_edit() -> None:
    """An edit changes the text, of the chat's preview too; an older one, or the same again, changes nothing."""
    memory = Memory()
    memory.apply(store(incoming(text="one")))
    (event,) = memory.apply(update(text="two", timestamp=at(5))).events
    assert (event.event, event.data["message"]["text"]) == ("message_updated", "two")
    assert event.data["message"]["editedAt"] == "2026-02-06T12:04:05.000Z"
    assert event.data["chat"]["lastMessage"]["text"] == "two"
    assert (event.data["chat"]["unreadCount"], event.data["chat"]["lastSeq"]) == (1, 1), "an edit is no new message"
    again = (update(text="older", timestamp=at(4)), update(text="two", timestamp=at(5)), update(text="two"))
    assert states(memory, *again) == ["unchanged"] * 3
    assert memory.messages["a", "m1"].text == "two"


def test_deletion() -> None:
    """A deleted message keeps its place, type and sender, counts as unread no more, and is not edited."""
    memory = Memory()
    memory.apply(store(incoming(text="one")), update(reaction=reaction("👍")))
    (event,) = memory.apply(update(deleted=True, timestamp=at(1))).events
    message = event.data["message"]
    assert (message["seq"], message["type"], message["sender"]["id"]) == (1, "text", "a")
    assert (message["text"], message["media"], message["replyTo"], message["reactions"]) == (None, None, None, [])
    assert message["deletedAt"] == "2026-02-06T12:04:01.000Z"
    assert (event.data["chat"]["unreadCount"], event.data["chat"]["lastMessage"]["text"]) == (0, None)
    assert event.data["chat"]["lastMessage"]["deletedAt"] == "2026-02-06T12:04:01.000Z"
    later = (
        update(text="two", timestamp=at(9)),
        update(reaction=reaction("🙏"), timestamp=at(9)),
        update(deleted=True),
    )
    assert states(memory, *later) == ["unchanged"] * 3
    assert memory.apply(store(incoming(text="one"))).results[0][0].duplicate  # type: ignore[index,union-attr]


def test_deletion_that_keeps_what_was_said() -> None:
    """With KEEP_DELETED the words stay, and what was changed before the deletion is still taken."""
    memory = Memory(keep_deleted=True)
    memory.apply(store(incoming(text="one")), update(deleted=True, timestamp=at(5)))
    assert memory.messages["a", "m1"].text == "one"
    assert states(memory, update(text="two", timestamp=at(3)), update(text="three", timestamp=at(7))) == [
        "applied",
        "unchanged",
    ]
    assert memory.messages["a", "m1"].text == "two"
    assert memory.chats["a"].unread_count == 0


def test_reactions() -> None:
    """Each person has one at most, in the order in which they came; one is changed and taken back by its time."""
    memory = Memory()
    memory.apply(store(incoming()))
    memory.apply(
        update(reaction=reaction("👍", "bob"), timestamp=at(1)),
        update(reaction=reaction("❤️", "ann"), timestamp=at(2)),
        update(reaction=reaction("🙏", "shop", from_me=True), timestamp=at(3)),
        update(reaction=reaction("😂", "bob"), timestamp=at(4)),
    )

    def shown() -> list[tuple[str, str]]:
        return [(one["sender"]["id"], one["emoji"]) for one in memory.shown()[1][0]["reactions"]]

    assert shown() == [("ann", "❤️"), ("shop", "🙏"), ("bob", "😂")]
    assert states(memory, update(reaction=reaction("👍", "bob"), timestamp=at(3))) == ["unchanged"]
    assert states(memory, update(reaction=reaction(None, "bob"), timestamp=at(5))) == ["applied"]
    assert states(memory, update(reaction=reaction("👍", "bob"), timestamp=at(4))) == ["unchanged"]
    assert shown() == [("ann", "❤️"), ("shop", "🙏")]
    assert memory.chats["a"].unread_count == 1, "a reaction is nothing to read"
    assert memory.chats["a"].last_seq == 1


def test_receipts_of_a_group() -> None:
    """Receipts count people; one person's moves the message to `delivered` at most; all of a batch are one event."""
    memory = Memory()
    memory.apply(store(incoming("m1", GROUP, from_me=True), incoming("m2", GROUP)))
    assert memory.events[0].data["message"]["receipts"] == {"delivered": 0, "read": 0, "played": 0}
    assert memory.events[1].data["message"]["receipts"] is None
    receipts = [
        IncomingUpdate("m1", GROUP, receipt=Receipt(who, status))  # type: ignore[arg-type]
        for who, status in (("bob", "delivered"), ("ann", "read"), ("bob", "played"), ("ann", "delivered"))
    ]
    outcome = memory.apply(UpdateMessages(NOW, receipts), store(incoming("m3", GROUP)))
    assert [event.event for event in outcome.events] == ["new_message", "message_updated"]
    message = outcome.events[1].data["message"]
    assert message["receipts"] == {"delivered": 2, "read": 2, "played": 1}
    assert message["status"] == "delivered"
    assert outcome.results[0] == [
        UpdateResult("m1", "applied", 4),
        UpdateResult("m1", "applied", 4),
        UpdateResult("m1", "applied", 4),
        UpdateResult("m1", "unchanged"),
    ]


def test_a_broadcast_list_that_is_read() -> None:
    """10,000 receipts of a hundred messages in one batch are a hundred events, with every person in the counts."""
    memory = Memory()
    memory.apply(store(*(incoming(f"m{n}", GROUP, from_me=True) for n in range(100))))
    receipts = [IncomingUpdate(f"m{n % 100}", GROUP, receipt=Receipt(f"p{n // 100}", "read")) for n in range(10_000)]
    outcome = memory.apply(*(UpdateMessages(NOW, receipts[n : n + 500]) for n in range(0, 10_000, 500)))
    assert len(outcome.events) == 100
    assert {event.data["message"]["receipts"]["read"] for event in outcome.events} == {100}


def test_receipt_of_a_person_is_the_status() -> None:
    """In a chat with one person their receipt speaks for the message."""
    memory = Memory()
    memory.apply(store(incoming("m1", ANA, from_me=True)), update("m1", ANA, receipt=Receipt(ANA, "read")))
    assert memory.messages[ANA, "m1"].status == "read"


def test_receipts_go_with_the_next_event_of_the_message() -> None:
    """A change of the same batch that has an event of its own tells of the receipts, too."""
    memory = Memory()
    memory.apply(store(incoming(from_me=True)))
    outcome = memory.apply(update(status="delivered"), update(text="two", timestamp=at(1)), update(status="read"))
    assert [event.data["message"]["status"] for event in outcome.events] == ["delivered", "read"]
    assert [result[0].seq for result in outcome.results] == [2, 2, 3]  # type: ignore[index,union-attr]


def test_late_content_is_unread_again_and_moves_the_chat_up() -> None:
    """A placeholder that was read and is completed counts from then on, and its chat moves to the top."""
    memory = Memory()
    memory.apply(store(incoming("m1", text=None), incoming("m2", "b")), MarkRead("a", 1))
    assert memory.chats["a"].unread_count == 0
    (event,) = memory.apply(store(incoming("m1", text="now"))).events
    assert (event.event, event.data["message"]["contentSeq"], event.data["message"]["seq"]) == ("message_updated", 4, 1)
    chat = event.data["chat"]
    assert (chat["unreadCount"], chat["lastSeq"], chat["lastMessage"]["text"], chat["answered"]) == (1, 4, "now", False)
    memory.apply(MarkRead("a", 4))
    assert memory.chats["a"].unread_count == 0


def test_a_placeholder_without_anything_to_read_goes() -> None:
    """It counts as nothing, and the chat shows the message before it; content that comes brings it back."""
    memory = Memory()
    memory.apply(store(incoming("m1", text="hi")), store(incoming("m2", text=None)))
    assert memory.chats["a"].unread_count == 2
    (event,) = memory.apply(update("m2", nothing_to_read=True)).events
    assert event.data["message"]["deletedAt"] is not None
    assert (event.data["chat"]["unreadCount"], event.data["chat"]["lastMessage"]["messageId"]) == (1, "m1")
    assert not memory.apply(update("m1", nothing_to_read=True)).events, "there is something to read"
    memory.apply(store(incoming("m2", text="after all")))
    assert memory.messages["a", "m2"].deleted_at is None
    assert (memory.chats["a"].unread_count, memory.chats["a"].last_message.text) == (2, "after all")  # type: ignore[union-attr]


def test_update_before_its_message_is_parked() -> None:
    """It is parked once, however often it comes, and is applied to its message, and no other, when that is stored."""
    memory = Memory()
    early = update(status="read"), update(status="read"), update(deleted=True, timestamp=at(1))
    assert states(memory, *early) == ["parked"] * 3
    assert (memory.seq, len(memory.parked)) == (0, 2)
    memory.apply(store(incoming("m1", "b", from_me=True)))
    assert memory.messages["b", "m1"].status == "sent"
    (event,) = memory.apply(store(incoming("m1", "a", from_me=True, text="secret"))).events
    assert (event.event, event.data["message"]["status"], event.data["message"]["text"]) == (
        "new_message",
        "read",
        None,
    )
    assert memory.parked == {}


def test_update_without_a_chat() -> None:
    """It applies to the message with that id if there is exactly one, or to the first one that comes."""
    memory = Memory()
    assert states(memory, update("m1", None, text="two", timestamp=at(1))) == ["parked"]
    memory.apply(store(incoming("m1", "a"), incoming("m2", "a"), incoming("m2", "b")))
    assert memory.messages["a", "m1"].text == "two"
    assert states(memory, update("m1", None, text="three", timestamp=at(2))) == ["applied"]
    assert states(memory, update("m2", None, text="three", timestamp=at(2))) == ["unchanged"], "nobody knows which"


def test_update_finds_the_message_under_either_address() -> None:
    """Whether the provider names the person by the hidden or the known address."""
    memory = Memory(aliases={ANA_LID: ANA})
    memory.apply(store(incoming("m1", ANA, from_me=True)), update("m1", ANA_LID, status="read"))
    assert memory.messages[ANA, "m1"].status == "read"
    assert states(memory, update("m2", ANA_LID, status="read")) == ["parked"]
    memory.apply(store(incoming("m2", ANA, from_me=True)))
    assert memory.messages[ANA, "m2"].status == "read"


_updates = st.builds(
    IncomingUpdate,
    st.just("m1"),
    st.just(GROUP),
    st.integers(0, 6).map(at),
    st.sampled_from([None, None, *STATUSES]),
    st.sampled_from([None, None, MessageError("1", "One"), MessageError("2", "Two")]),
    st.sampled_from([None, None, "two", "three"]),
    st.sampled_from([False, False, False, True]),
    st.none() | st.builds(reaction, st.sampled_from([None, "👍", "❤️"]), st.sampled_from(["bob", "ann"])),
    st.none() | st.builds(Receipt, st.sampled_from(["bob", "ann"]), st.sampled_from(["delivered", "read", "played"])),
    st.sampled_from([False, False, False, True]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_updates, min_size=1, max_size=4), st.booleans(), st.booleans(), st.data())
def test_all_orders_end_the_same(updates: list[IncomingUpdate], from_me: bool, stub: bool, data: st.DataObject) -> None:
    """Each update twice, in any order, before and after its message, in any batches: the result is the same."""
    message = incoming("m1", GROUP, None if stub else "one", from_me=from_me, sender=Sender("bob"))
    ends = []
    for order in itertools.permutations(updates):
        memory = Memory()
        before = data.draw(st.integers(0, len(order)))
        together = data.draw(st.booleans())
        commands = [
            *(UpdateMessages(NOW, [one]) for one in order[:before]),
            store(message),
            *(UpdateMessages(NOW, [one]) for one in (*order[before:], *order)),
        ]
        for batch in [commands] if together else [[command] for command in commands]:
            memory.apply(*batch)
        assert memory.parked == {}
        ends.append(memory.shown())
    assert all(end == ends[0] for end in ends)


@pytest.mark.parametrize("hidden", ["update", "message"])
def test_what_waits_under_another_address_is_applied_when_both_are_known(hidden: str) -> None:
    """An update under one address of a person finds the message under the other as soon as they are one person's."""
    memory = Memory()
    chats = (ANA_LID, ANA) if hidden == "update" else (ANA, ANA_LID)
    assert states(memory, update("m1", chats[0], text="edited", timestamp=NOW)) == ["parked"]
    memory.apply(store(incoming("m1", chats[1], text="hi")))
    assert memory.messages[chats[1], "m1"].text == "hi"
    memory.apply(store(aliases=(Alias(ANA_LID, ANA),)))
    assert memory.messages[ANA, "m1"].text == "edited"
    assert memory.parked == {}
    assert memory.events[-1].data["message"]["text"] == "edited"


def test_a_message_under_three_addresses_is_kept_once() -> None:
    """Also where the last address is learned while the message is on its way to the chat of the first merge."""
    memory = Memory()
    memory.apply(store(incoming("m1", ANA_LID)))
    other = "10101@lid"
    learned = store(incoming("m1", other), aliases=(Alias(ANA_LID, ANA),))
    memory.apply(learned, store(aliases=(Alias(other, ANA),)), MarkRead(ANA, 1))
    assert [(message.chat_id, message.seq) for message in memory.messages.values()] == [(ANA, 1)]
    assert memory.chats[ANA].unread_count == 0
