"""The ledger: what a batch of commands makes of a session, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.commands import MarkRead
from app.domain.events import render_chat
from app.domain.known import Command, Outcome, Result
from app.domain.models import PREVIEW_LENGTH, Alias, Chat, IncomingMessage, MessageResult, Sender
from tests.domain.memory import ANA, ANA_LID, NOW, Memory, incoming, store


def test_numbers_are_dense_and_follow_what_is_known() -> None:
    """Numbers go on from the last one given, one for each event, without a hole."""
    memory = Memory(seq=41)
    outcome = memory.apply(store(incoming("m1"), incoming("m2", "b")), store(incoming("m3")))
    assert outcome.results == [
        [MessageResult("m1", 42, False), MessageResult("m2", 43, False)],
        [MessageResult("m3", 44, False)],
    ]
    assert [event.seq for event in outcome.events] == [42, 43, 44]
    assert outcome.seq == 44
    assert [(m.seq, m.updated_seq) for m in outcome.new_messages.values()] == [(42, 42), (43, 43), (44, 44)]


def test_event_carries_message_and_chat_as_they_were_after_it() -> None:
    """Of several messages in a batch, each event shows the chat as it stood after that one, not after the last."""
    first, second = Memory().apply(store(incoming("m1", text="one"), incoming("m2", text="two"))).events
    assert first.data["chat"]["lastMessage"]["text"] == "one"
    assert (first.data["chat"]["unreadCount"], first.data["chat"]["updatedSeq"]) == (1, 1)
    assert second.data["chat"]["lastMessage"]["text"] == "two"
    assert (second.data["chat"]["unreadCount"], second.data["chat"]["lastSeq"]) == (2, 2)


def test_repeat_changes_nothing() -> None:
    """A repeat, in the batch or later, is answered with the message's number and makes no event."""
    memory = Memory()
    outcome = memory.apply(store(incoming(text="one"), incoming(text="other")), store(incoming(text="third")))
    assert outcome.results == [
        [MessageResult("m1", 1, False), MessageResult("m1", 1, True)],
        [MessageResult("m1", 1, True)],
    ]
    again = memory.apply(store(incoming(text="fourth")))
    assert again == Outcome(1, results=[[MessageResult("m1", 1, True)]])
    assert memory.messages["a", "m1"].text == "one"


def test_same_id_in_another_chat_is_another_message() -> None:
    """A message is known by chat and id together."""
    outcome = Memory().apply(store(incoming("m1", "a"), incoming("m1", "b")))
    assert [one.duplicate for one in outcome.results[0]] == [False, False]  # type: ignore[union-attr]


def test_content_completes_what_had_none() -> None:
    """A repeat with content completes a stub: a number and event of its own, while the message's number stays."""
    memory = Memory()
    memory.apply(store(incoming("m1", text=None), incoming("m2")))
    outcome = memory.apply(store(incoming("m1", text="Please do!", sender=Sender("a", "Alice"))))
    assert outcome.results == [[MessageResult("m1", 3, False)]]
    (event,) = outcome.events
    assert (event.event, event.seq) == ("message_updated", 3)
    assert (event.data["message"]["seq"], event.data["message"]["updatedSeq"]) == (1, 3)
    assert event.data["message"]["text"] == "Please do!"
    assert event.data["message"]["contentSeq"] == 3
    assert event.data["chat"]["lastMessage"]["messageId"] == "m1", "content that comes late moves the chat up"
    assert (event.data["chat"]["unreadCount"], event.data["chat"]["lastSeq"]) == (2, 3)
    again = memory.apply(store(incoming("m1", text="Again"), incoming("m1", text=None)))
    assert again.results == [[MessageResult("m1", 1, True), MessageResult("m1", 1, True)]]
    assert again.events == []


def test_completion_of_the_last_message_shows_in_the_chat() -> None:
    """Completing a chat's newest message completes its lastMessage too."""
    memory = Memory()
    outcome = memory.apply(store(incoming("m1", text=None), incoming("m1", text="now")))
    assert [event.event for event in outcome.events] == ["new_message", "message_updated"]
    assert outcome.events[0].data["message"]["type"] == "unknown"
    last = memory.chats["a"].last_message
    assert last is not None
    assert last.text == "now"
    assert outcome.changed_messages == {}, "what is new in the batch is inserted once, in its last state"
    assert outcome.new_messages["a", "m1"].text == "now"


def test_stub_repeated_without_content_is_a_repeat() -> None:
    """What brings no content completes nothing."""
    memory = Memory()
    memory.apply(store(incoming(text=None)))
    assert memory.apply(store(incoming(text=None))).results == [[MessageResult("m1", 1, True)]]


def test_chat_has_the_known_address() -> None:
    """A hidden address is replaced by the known one, in the chat, the sender, and from the same command on."""
    memory = Memory()
    outcome = memory.apply(store(incoming("m1", ANA_LID), aliases=(Alias(ANA_LID, ANA),)))
    assert outcome.new_aliases == [Alias(ANA_LID, ANA)]
    message = outcome.new_messages[ANA, "m1"]
    assert (message.chat_id, message.sender.id) == (ANA, ANA)
    later = memory.apply(store(incoming("m2", ANA_LID), incoming("m3", ANA), aliases=(Alias(ANA_LID, ANA),)))
    assert later.new_aliases == []
    assert set(memory.chats) == {ANA}
    assert memory.chats[ANA].last_seq == 3


def test_alias_is_learned_from_its_command_on() -> None:
    """What a command tells of a person does not change the events of the commands before it."""
    memory = Memory()
    memory.apply(store(incoming("m1", ANA_LID)), store(aliases=(Alias(ANA_LID, ANA),)), store(incoming("m2", ANA_LID)))
    assert [(event.event, event.chat_id) for event in memory.events] == [
        ("new_message", ANA_LID),
        ("chat_merged", ANA),
        ("new_message", ANA),
    ]


def test_repeat_is_found_under_either_address() -> None:
    """What was stored under the hidden address is found by its repeats, whichever address they name."""
    memory = Memory()
    memory.apply(store(incoming("m1", ANA_LID), incoming("stub", ANA_LID, text=None)))
    memory.apply(store(aliases=(Alias(ANA_LID, ANA),)))
    outcome = memory.apply(store(incoming("m1", ANA), incoming("m1", ANA_LID), incoming("stub", ANA, text="now")))
    assert outcome.results == [
        [MessageResult("m1", 1, True), MessageResult("m1", 1, True), MessageResult("stub", 4, False)]
    ]
    assert set(memory.chats) == {ANA}


def test_mark_read_is_cut_and_goes_forward_only() -> None:
    """mark_read stops at the chat's last message, never goes back, and makes no event without a change."""
    memory = Memory()
    memory.apply(
        store(incoming("m1"), incoming("m2"), incoming("m3", "b"), incoming("m4", from_me=True), answers_read=False)
    )
    outcome = memory.apply(MarkRead("a", 1), MarkRead("a", 1), MarkRead("a", 0), MarkRead("a", 99), MarkRead("a", 2))
    chats = [chat for chat in outcome.results if isinstance(chat, Chat)]
    assert [(chat.read_seq, chat.unread_count) for chat in chats] == [(1, 1), (1, 1), (1, 1), (4, 0), (4, 0)]
    assert [(event.event, event.seq) for event in outcome.events] == [("chat_updated", 5), ("chat_updated", 6)]
    assert memory.chats["a"].last_seq == 4, "an event that is no message does not move the chat"
    assert memory.chats["b"].unread_count == 1


def test_mark_read_of_nothing() -> None:
    """A chat without messages cannot be marked, and is not created."""
    outcome = Memory().apply(MarkRead("nowhere", 1))
    assert outcome == Outcome(0, results=[None])


def test_own_messages_are_not_unread() -> None:
    """Only messages of others count as unread."""
    memory = Memory()
    ours = (incoming("m1", from_me=True), incoming("m2"), incoming("m3", from_me=True))
    memory.apply(store(*ours, answers_read=False))
    assert memory.chats["a"].unread_count == 1
    memory.apply(MarkRead("a", 2), store(incoming("m4"), incoming("m5")), MarkRead("a", 5))
    assert memory.chats["a"].unread_count == 1


def test_our_answer_marks_read() -> None:
    """A message of ours marks its chat as read, unless it is older than what has come since, or nobody wants it."""
    memory = Memory()
    later = NOW + timedelta(minutes=1)
    memory.apply(store(incoming("m1"), incoming("m2", "b"), incoming("m3", from_me=True)))
    assert (memory.chats["a"].unread_count, memory.chats["a"].read_seq, memory.chats["b"].unread_count) == (0, 3, 1)
    memory.apply(store(incoming("m4", timestamp=later), incoming("old", from_me=True)))
    assert memory.chats["a"].unread_count == 1
    memory.apply(store(incoming("m5", from_me=True, timestamp=later, type="system")))
    assert memory.chats["a"].unread_count == 1
    memory.apply(store(incoming("m6", from_me=True, timestamp=later), answers_read=False))
    assert memory.chats["a"].unread_count == 1
    memory.apply(store(incoming("m7", from_me=True, timestamp=later)))
    assert memory.chats["a"].unread_count == 0


def test_what_the_chat_says_of_its_messages() -> None:
    """`answered` is about the last message that is no system one; a contact's message opens a closed chat."""
    memory = Memory()
    memory.apply(store(incoming("m1")))
    assert not memory.chats["a"].answered
    memory.apply(store(incoming("m2", from_me=True), incoming("m3", type="system")))
    assert memory.chats["a"].answered
    assert memory.chats["a"].unread_count == 0, "a system line is nothing to read"
    for message, state in ((incoming("m4", type="system"), "closed"), (incoming("m5", from_me=True), "closed"),
                           (incoming("m6"), "open")):  # fmt: skip
        memory.chats["a"] = replace(memory.chats["a"], state="closed")
        memory.apply(store(message))
        assert memory.chats["a"].state == state
    assert not memory.chats["a"].answered


def test_chat_name() -> None:
    """The last chatName given; else the sender's name where the sender is the chat and not us; else null."""
    memory = Memory()

    def name_after(*messages: IncomingMessage) -> str | None:
        memory.apply(store(*messages))
        return memory.chats["a"].name

    assert name_after(incoming("1")) is None
    assert name_after(incoming("2", sender=Sender("someone else", "Bob"))) is None
    assert name_after(incoming("3", from_me=True, sender=Sender("a", "Me"))) is None
    assert name_after(incoming("4", sender=Sender("a", "Alice"))) == "Alice"
    assert name_after(incoming("5", sender=Sender("a", "Alice B."))) == "Alice B."
    assert name_after(incoming("6", sender=Sender("a"))) == "Alice B."
    assert name_after(incoming("7", chat_name="Given")) == "Given"
    assert name_after(incoming("8", sender=Sender("a", "Alice"))) == "Given"
    assert name_after(incoming("9", from_me=True, chat_name="Later")) == "Later"


def test_last_message_is_by_number_not_by_time() -> None:
    """lastMessage is the message with the highest seq, however old it says it is; its text is cut."""
    memory = Memory()
    memory.apply(store(incoming("new"), incoming("old", text="x" * 500, timestamp=datetime(2001, 1, 1, tzinfo=UTC))))
    last = memory.chats["a"].last_message
    assert last is not None
    assert (last.message_id, last.text) == ("old", "x" * PREVIEW_LENGTH)


_ids = st.sampled_from(["m1", "m2", "m3", "m4"])
BOB, BOB_LID = "85291234567@s.whatsapp.net", "10101@lid"

_chats = st.sampled_from(["a", BOB, ANA, ANA_LID, BOB_LID])
_messages = st.builds(
    lambda message_id, chat_id, from_me, text, name, chat_name: incoming(
        message_id, chat_id, text, from_me=from_me, sender=Sender(chat_id, name), chat_name=chat_name
    ),
    _ids,
    _chats,
    st.booleans(),
    st.sampled_from([None, "one", "two"]),
    st.sampled_from([None, "Ana", "Bob"]),
    st.sampled_from([None, None, "Given"]),
)
_aliases = st.builds(Alias, st.sampled_from([ANA_LID, BOB_LID]), st.sampled_from([ANA, BOB, "a", "0@s.whatsapp.net"]))
_commands = st.one_of(
    st.builds(
        lambda messages, aliases: store(*messages, aliases=tuple(aliases)),
        st.lists(_messages, max_size=4),
        st.lists(_aliases, max_size=1),
    ),
    st.builds(MarkRead, _chats, st.integers(0, 20)),
)


def told(results: list[Result]) -> list[Any]:
    """The results in comparable form."""
    return [render_chat(result) if isinstance(result, Chat) else result for result in results]


@settings(max_examples=400, deadline=None)
@given(st.lists(_commands, max_size=8), st.lists(_commands, max_size=8))
def test_a_batch_is_its_commands_one_by_one(before: list[Command], commands: list[Command]) -> None:
    """Events, results and state do not depend on how commands are batched."""
    together, apart = Memory(), Memory()
    together.apply(*before)
    apart.apply(*before)
    outcome = together.apply(*commands)
    results = [result for command in commands for result in apart.apply(command).results]
    learns = any(command.aliases for command in commands)
    if not (learns and any(isinstance(command, MarkRead) for command in commands)):
        # Else an event that comes after those of its batch shifts the numbers, and a mark is about another message.
        assert together.shown() == apart.shown()
    if not learns:
        # A message that was in both chats of a person may be completed by an event, after those of its batch.
        assert told(outcome.results) == told(results)
        assert together == apart
    for chat in together.chats.values():
        mine = [m for m in together.messages.values() if m.chat_id == chat.chat_id]
        assert chat.last_message is not None
        assert chat.last_message.message_id in {m.message_id for m in mine}
        assert not chat.also
