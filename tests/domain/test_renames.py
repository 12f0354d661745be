"""One person under several addresses in a group: one receipt and one reaction, as soon as that is known."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.commands import UpdateMessages
from app.domain.incoming import IncomingUpdate, Receipt
from app.domain.known import Command
from app.domain.models import Alias
from app.domain.renames import RENAME_AT_ONCE
from tests.domain.memory import ANA, ANA_LID, GROUP, NOW, Memory, incoming, store, update
from tests.domain.test_updates import at, reaction

SECOND_LID, BOB = "10101010101@lid", "85291234567@s.whatsapp.net"
FIRST, SECOND = store(aliases=(Alias(ANA_LID, ANA),)), store(aliases=(Alias(SECOND_LID, ANA),))


def test_receipts_of_one_person_count_once() -> None:
    """Until the alias is known they are two people's; then the count is corrected, by one event, and stays right."""
    memory = Memory()
    memory.apply(store(incoming("m1", GROUP, from_me=True)))
    for who in (ANA_LID, ANA, BOB):
        memory.apply(update("m1", GROUP, receipt=Receipt(who, "delivered" if who == ANA else "read")))
    assert memory.events[-1].data["message"]["receipts"] == {"delivered": 3, "read": 2, "played": 0}
    (event,) = memory.apply(FIRST).events
    assert (event.event, event.chat_id) == ("message_updated", GROUP)
    assert event.data["message"]["receipts"] == {"delivered": 2, "read": 2, "played": 0}
    assert memory.apply(FIRST, update("m1", GROUP, receipt=Receipt(ANA_LID, "read"))).events == []


def test_no_event_where_nobody_sees_a_difference() -> None:
    """A person who was known by one address alone counts as before."""
    memory = Memory()
    memory.apply(store(incoming("m1", GROUP, from_me=True)), update("m1", GROUP, receipt=Receipt(ANA_LID, "read")))
    assert memory.apply(FIRST).events == []
    assert memory.apply(update("m1", GROUP, receipt=Receipt(ANA, "read"))).events == []
    assert memory.apply(SECOND, update("m1", GROUP, receipt=Receipt(SECOND_LID, "delivered"))).events == []


def test_reactions_of_one_person_become_one() -> None:
    """The later one stands."""
    memory = Memory()
    memory.apply(store(incoming("m1", GROUP)))
    memory.apply(update("m1", GROUP, reaction=reaction("👍", ANA), timestamp=at(2)))
    memory.apply(update("m1", GROUP, reaction=reaction("❤️", ANA_LID), timestamp=at(1)))
    (event,) = memory.apply(FIRST).events
    assert [(one["sender"]["id"], one["emoji"]) for one in event.data["message"]["reactions"]] == [(ANA, "👍")]


def test_many_messages_in_steps() -> None:
    """However many messages know the person by the hidden address, all are corrected, in bounded transactions."""
    memory = Memory()
    many = RENAME_AT_ONCE + 10
    memory.apply(store(*(incoming(f"m{n}", GROUP, from_me=True) for n in range(many))))
    for who in (ANA, ANA_LID):
        memory.apply(
            UpdateMessages(NOW, [IncomingUpdate(f"m{n}", GROUP, receipt=Receipt(who, "read")) for n in range(many)])
        )
    assert len(memory.apply(FIRST).events) == RENAME_AT_ONCE
    assert {len(message.people) for message in memory.messages.values()} == {1}


_updates = st.builds(
    IncomingUpdate,
    st.just("m1"),
    st.just(GROUP),
    st.integers(0, 4).map(at),
    reaction=st.none()
    | st.builds(reaction, st.sampled_from([None, "👍", "❤️"]), st.sampled_from([ANA, ANA_LID, SECOND_LID])),
    receipt=st.none()
    | st.builds(
        Receipt, st.sampled_from([ANA, ANA_LID, SECOND_LID, BOB]), st.sampled_from(["delivered", "read", "played"])
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_updates, min_size=1, max_size=3), st.data())
def test_any_order_counts_the_same(updates: list[IncomingUpdate], data: st.DataObject) -> None:
    """Receipts and reactions under three addresses, the message and both aliases, in any order and in any batches."""
    things: list[Command] = [
        store(incoming("m1", GROUP, from_me=True)),
        FIRST,
        SECOND,
        *(UpdateMessages(NOW, [one]) for one in updates),
    ]
    ends = []
    for order in itertools.permutations(things):
        memory = Memory()
        cut = data.draw(st.integers(0, len(order)))
        for batch in ([*order[:cut]], *([one] for one in order[cut:])):
            memory.apply(*batch)
        (message,) = memory.shown()[1]
        reactions = [(one["sender"]["id"], one["emoji"]) for one in message["reactions"]]
        ends.append((message["receipts"], message["status"], reactions))
        assert memory.parked == {}
    assert all(end == ends[0] for end in ends)
    assert ends[0][0]["delivered"] == len({BOB if one.receipt.by == BOB else ANA for one in updates if one.receipt})
