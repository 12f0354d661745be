"""Sending, as the ledger decides it: one message for a clientId, conflicts, the order of deliveries, copies."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.domain.assigning import AssignChat, SetChatState
from app.domain.commands import MarkRead
from app.domain.deliveries import RETRY_SECONDS, Delivery, Report
from app.domain.known import Refusal
from app.domain.models import Agent, Alias, Chat, Message, MessageError, MessageResult
from app.domain.reports import ReleaseCopies, ReportDelivery
from app.domain.sending import CancelMessage, RetryMessage, SendMessage
from tests.domain.memory import ANA, ANA_LID, NOW, Memory, incoming, store, update

ANN, BEN = Agent("ann", "Ann"), Agent("ben", "Ben")
REFUSED = MessageError("rejected", "The provider refused it.")


def send(client_id: str = "c1", chat_id: str = "a", text: str = "yes", **more: Any) -> SendMessage:
    return SendMessage(NOW, chat_id, more.pop("author", ANN), client_id, text, holder=more.pop("holder", "me"), **more)


def sent(memory: Memory, command: SendMessage) -> Message:
    (message,) = memory.apply(command).results
    assert isinstance(message, Message), message
    return message


def delivery_of(memory: Memory, message: Message) -> Delivery:
    return next(one for one in memory.deliveries.values() if one.message_id == message.message_id)


def report(memory: Memory, message: Message, state: Any, provider_id: str | None = None, **more: Any) -> None:
    told = Report(state, provider_id, more.pop("error", None), more.pop("retry_seconds", 0.0))
    memory.apply(ReportDelivery(delivery_of(memory, message), told, holder=more.pop("holder", None)))


def echo(message_id: str, text: str = "yes", **more: Any) -> Any:
    return store(incoming(message_id, "a", text, from_me=True, **more))


def test_a_message_and_its_delivery_are_stored_together() -> None:
    """A message is pending, ours, its author's; the chat is answered and read; the delivery is begun."""
    memory = Memory()
    memory.apply(store(incoming("m1")))
    message = sent(memory, send())
    assert (message.status, message.from_me, message.author, message.client_id) == ("pending", True, ANN, "c1")
    assert [event.event for event in memory.events] == ["new_message", "new_message"]
    assert memory.events[1].data["message"]["author"] == {"id": "ann", "name": "Ann"}
    chat = memory.chats["a"]
    assert (chat.answered, chat.unread_count, chat.last_message and chat.last_message.text) == (True, 0, "yes")
    delivery = delivery_of(memory, message)
    assert (delivery.state, delivery.attempt, delivery.lease and delivery.lease.holder) == ("sending", 1, "me")


def test_a_chat_waits_since_the_first_message_that_nobody_has_answered() -> None:
    """More messages do not make the wait shorter, an answer ends it, and an answer that is given up does not."""
    memory = Memory()
    first, second = NOW - timedelta(minutes=9), NOW - timedelta(minutes=3)
    memory.apply(store(incoming("m1", timestamp=first), incoming("m2", timestamp=second)))
    assert memory.chats["a"].waiting_since == first
    message = sent(memory, send())
    assert memory.chats["a"].waiting_since is None
    report(memory, message, "failed", error=REFUSED)
    memory.apply(CancelMessage("a", message.message_id))
    assert (memory.chats["a"].answered, memory.chats["a"].waiting_since is None) == (False, False)


def test_a_client_id_is_sent_once() -> None:
    """The same clientId of the same author again changes nothing, whatever else is in it; another author's does."""
    memory = Memory()
    first = sent(memory, send())
    seq = memory.seq
    assert sent(memory, send(text="other words", chat_id="b", after=0)) == first
    assert memory.seq == seq
    assert len(memory.deliveries) == 1
    assert sent(memory, send(author=BEN)).message_id != first.message_id
    both = Memory().apply(send(), send())
    assert both.results[0] == both.results[1]
    assert len(both.events) == 1


def test_a_conflict_sends_nothing() -> None:
    """If another answer was not seen, the result is a conflict and nothing is stored. One's own answers do not
    conflict."""
    memory = Memory()
    memory.apply(store(incoming("m1")))
    mine = sent(memory, send("c1", after=1))
    assert isinstance(sent(memory, send("c2", after=1)), Message)
    (refusal,) = memory.apply(send("c3", author=BEN, after=1)).results
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.details and refusal.details["message"]["clientId"]) == ("conflict", "c2")
    assert len(memory.deliveries) == 2
    seen = memory.chats["a"].last_seq
    assert isinstance(sent(memory, send("c3", author=BEN, after=seen)), Message)
    memory.apply(echo("from-the-phone", "hello"))  # which waits until it is known that it is no copy
    assert isinstance(sent(memory, send("c4", author=BEN, after=seen + 1)), Message)
    report(memory, mine, "sent")
    (refusal,) = memory.apply(send("c5", author=BEN, after=seen + 2)).results
    assert isinstance(refusal, Refusal)
    assert refusal.details is not None
    assert refusal.details["message"]["messageId"] == "from-the-phone"


def test_two_agents_in_one_batch_conflict() -> None:
    """If two agents answer at the same time, the second one gets a conflict."""
    memory = Memory()
    memory.apply(store(incoming("m1")))
    first, second = memory.apply(send("c1", after=1), send("c1", author=BEN, after=1)).results
    assert isinstance(first, Message)
    assert isinstance(second, Refusal)


def test_what_had_not_been_seen_stays_unread() -> None:
    """An answer marks the chat as read only if its author had seen all of it."""
    memory = Memory()
    memory.apply(store(incoming("m1"), incoming("m2")))
    sent(memory, send(after=1))
    assert memory.chats["a"].unread_count == 2
    memory.apply(MarkRead("a", None))
    memory.apply(store(incoming("m3")))
    sent(memory, send("c2", after=memory.chats["a"].last_seq))
    assert memory.chats["a"].unread_count == 0


def test_a_quote_must_exist() -> None:
    """replyTo names a message of the chat; its sender and words are taken from there."""
    memory = Memory()
    memory.apply(store(incoming("m1", text="the blue one?")))
    message = sent(memory, send(reply_to="m1"))
    assert message.reply_to is not None
    assert (message.reply_to.message_id, message.reply_to.text) == ("m1", "the blue one?")
    (refusal,) = memory.apply(send("c2", reply_to="m2")).results
    assert isinstance(refusal, Refusal)
    assert refusal.code == "invalid"


def test_a_chat_is_delivered_in_order() -> None:
    """The next of a chat is due when the one before it has ended, well or not; other chats do not wait."""
    memory = Memory()
    first, second, third = (sent(memory, send(f"c{n}")) for n in range(3))
    other = sent(memory, send("d", "b"))
    assert delivery_of(memory, other).state == "sending"
    assert [delivery_of(memory, one).next_at is not None for one in (first, second, third)] == [True, False, False]
    report(memory, first, "retry")
    assert delivery_of(memory, second).next_at is None
    memory.deliveries[delivery_of(memory, first).id] = replace(delivery_of(memory, first), state="sending", attempt=2)
    report(memory, first, "failed", error=REFUSED, holder="me")
    assert memory.messages[first.key].error == REFUSED
    assert delivery_of(memory, second).state == "sending"
    report(memory, second, "sent", "p2")
    assert memory.messages[second.key].status == "sent"
    assert (delivery_of(memory, third).state, delivery_of(memory, third).next_at) == ("waiting", NOW)


def test_attempts_are_bounded() -> None:
    """The next attempts come after the times of the contract, and then the message has failed."""
    memory = Memory()
    message = sent(memory, send())
    for wait in RETRY_SECONDS:
        report(memory, message, "retry", error=REFUSED)
        delivery = delivery_of(memory, message)
        assert delivery.next_at == NOW + timedelta(seconds=wait)
        assert memory.messages[message.key].status == "pending"
        memory.deliveries[delivery.id] = replace(delivery, state="sending", attempt=delivery.attempt + 1)
    report(memory, message, "retry", error=REFUSED)
    assert memory.messages[message.key].status == "failed"
    assert memory.messages[message.key].error == REFUSED


def test_a_report_that_lost_its_lease() -> None:
    """A late report only counts if the message was sent."""
    memory = Memory()
    message = sent(memory, send())
    old = delivery_of(memory, message)
    memory.deliveries[old.id] = replace(old, attempt=2)
    memory.apply(ReportDelivery(old, Report("failed", error=REFUSED)))
    assert memory.messages[message.key].status == "pending"
    memory.apply(ReportDelivery(old, Report("sent", "p1")))
    assert memory.messages[message.key].status == "sent"
    assert delivery_of(memory, message).state == "sent"
    report(memory, message, "failed", error=REFUSED)
    assert memory.messages[message.key].status == "sent"


def test_updates_find_a_message_by_the_providers_id() -> None:
    """What names the provider's id is of our message, also if it came before the report, with a chat or without."""
    memory = Memory()
    message = sent(memory, send())
    memory.apply(update("p1", "a", status="delivered"))
    report(memory, message, "sent", "p1")
    assert memory.messages[message.key].status == "delivered"
    assert not memory.parked
    memory.apply(update("p1", None, status="read"))
    assert memory.messages[message.key].status == "read"
    assert memory.apply(echo("p1")).results == [[MessageResult(message.message_id, message.seq, duplicate=True)]]


def test_a_copy_waits_for_the_report() -> None:
    """A copy that comes before the report joins its message; what was written on the phone is a message of its own."""
    memory = Memory()
    message = sent(memory, send())
    assert memory.apply(echo("p1")).results == [[MessageResult("p1", None, duplicate=False)]]
    assert memory.apply(echo("p1")).results == [[MessageResult("p1", None, duplicate=True)]]
    memory.apply(echo("phone", "yes"))
    assert len(memory.messages) == 1
    report(memory, message, "sent", "p1")
    assert sorted(one.message_id for one in memory.messages.values()) == sorted([message.message_id, "phone"])
    assert memory.messages[message.key].status == "sent"


def test_a_message_that_waited_marks_as_read_as_it_would_have() -> None:
    """Where the phone's answers do not mark a chat as read, those that had to wait do not either."""
    for marks in (True, False):
        memory = Memory()
        message = sent(memory, send())
        memory.apply(store(incoming("m1")))
        memory.apply(store(incoming("phone", "a", "later", from_me=True), answers_read=marks))
        report(memory, message, "sent", "p1")
        assert memory.messages["a", "phone"].text == "later"
        assert memory.chats["a"].unread_count == (0 if marks else 1)


def test_a_copy_tells_of_an_unknown_outcome() -> None:
    """After an unknown outcome, a copy with the same text shows that the message was sent; other texts do not."""
    for early in (True, False):
        memory = Memory()
        message = sent(memory, send())
        if early:
            memory.apply(echo("p1"))
        report(memory, message, "unknown")
        if not early:
            failed = memory.messages[message.key]
            assert (failed.status, failed.error and failed.error.code) == ("failed", "unknown_outcome")
            memory.apply(echo("p0", "other words"))
            memory.apply(echo("p1", "  yes "))
        assert memory.messages[message.key].status == "sent"
        assert memory.messages[message.key].error is None
        assert len([one for one in memory.messages.values() if one.text != "other words"]) == 1
        memory.apply(update("p1", "a", status="read"))
        assert memory.messages[message.key].status == "read"
        memory.apply(echo("p2"))  # of the same words, and nobody's copy
        assert ("a", "p2") in memory.messages


def test_copies_wait_so_long_and_no_longer() -> None:
    """After its time a copy of the same words is taken for the message, which is then sent; others are stored."""
    memory = Memory()
    message = sent(memory, send())
    memory.apply(echo("phone", "from the phone"), echo("p1"))
    memory.apply(ReleaseCopies(delivery_of(memory, message)))
    assert memory.messages[message.key].status == "sent"
    assert delivery_of(memory, message).state == "sent"
    assert ("a", "phone") in memory.messages
    assert ("a", "p1") not in memory.messages


def test_a_dead_servers_delivery_is_due_again() -> None:
    """A delivery without a copy is made again."""
    memory = Memory()
    message = sent(memory, send())
    memory.apply(echo("phone", "from the phone"))
    memory.apply(ReleaseCopies(delivery_of(memory, message), again=True))
    delivery = delivery_of(memory, message)
    assert (delivery.state, delivery.next_at, delivery.lease) == ("waiting", NOW, None)
    assert ("a", "phone") in memory.messages


def test_retry_and_cancel() -> None:
    """Only what has failed is tried again; only what is not under way is cancelled, and then it is as if never sent."""
    memory = Memory()
    memory.apply(store(incoming("m1")))
    first, second = sent(memory, send("c1")), sent(memory, send("c2", text="two"))
    for command in (RetryMessage("a", first.message_id), CancelMessage("a", first.message_id)):
        (refusal,) = memory.apply(command).results
        assert isinstance(refusal, Refusal)
        assert refusal.code == "conflict"
    (cancelled,) = memory.apply(CancelMessage("a", second.message_id)).results
    assert isinstance(cancelled, Message)
    assert (cancelled.status, cancelled.error and cancelled.error.code, cancelled.text) == ("failed", "cancelled", None)
    assert delivery_of(memory, second).state == "cancelled"
    assert memory.apply(CancelMessage("a", second.message_id)).results == [cancelled]
    report(memory, first, "failed", error=REFUSED)
    (again,) = memory.apply(RetryMessage("a", first.message_id, "me")).results
    assert isinstance(again, Message)
    assert (again.status, again.error) == ("pending", None)
    assert delivery_of(memory, first).state == "sending"
    report(memory, first, "failed", error=REFUSED)
    memory.apply(CancelMessage("a", first.message_id))
    chat = memory.chats["a"]
    assert (chat.answered, chat.last_message and chat.last_message.message_id) == (False, "m1")
    assert memory.apply(RetryMessage("a", "m1"), CancelMessage("a", "nothing")).results == [None, None]


def test_a_merge_takes_the_deliveries_along() -> None:
    """A message that waits under a hidden address is reported on, and queued behind, under the known one."""
    memory = Memory()
    message = sent(memory, send(chat_id=ANA_LID))
    memory.apply(store(incoming("m1", ANA), aliases=(Alias(ANA_LID, ANA),)))
    later = sent(memory, send("c2", ANA))
    assert delivery_of(memory, later).next_at is None
    memory.apply(ReportDelivery(delivery_of(memory, message), Report("sent", "p1"), holder="me"))
    moved = next(one for one in memory.messages.values() if one.message_id == message.message_id)
    assert (moved.status, moved.chat_id) == ("sent", ANA)
    assert delivery_of(memory, later).state == "sending"


def test_assigning_compares() -> None:
    """A chat is taken if nobody else has it; what changes nothing makes no event."""
    memory = Memory()
    assert memory.apply(AssignChat("a", ANN)).results == [None]
    memory.apply(store(incoming("m1")))
    (chat,) = memory.apply(AssignChat("a", ANN, True, None)).results
    assert isinstance(chat, Chat)
    assert chat.assignee == ANN
    seq = memory.seq
    assert memory.apply(AssignChat("a", ANN, True, None)).results == [chat]
    (refusal,) = memory.apply(AssignChat("a", BEN, True, None)).results
    assert isinstance(refusal, Refusal)
    assert refusal.details is not None
    assert refusal.details["chat"]["assignee"] == {"id": "ann", "name": "Ann"}
    assert memory.seq == seq
    memory.apply(AssignChat("a", BEN, True, "ann"), AssignChat("a", None))
    assert memory.chats["a"].assignee is None
    assert [event.event for event in memory.events][1:] == ["chat_updated"] * 3


def test_a_closed_chat_is_opened_by_a_contact() -> None:
    """A new message of a contact opens a chat, which stays its agent's; an answer does not."""
    memory = Memory()
    memory.apply(store(incoming("m1")), AssignChat("a", ANN), SetChatState("a", "closed"))
    assert memory.chats["a"].state == "closed"
    sent(memory, send())
    assert memory.chats["a"].state == "closed"
    memory.apply(store(incoming("m2")))
    assert (memory.chats["a"].state, memory.chats["a"].assignee) == ("open", ANN)
    seq = memory.seq
    memory.apply(SetChatState("a", "open"))
    assert memory.seq == seq


def test_whatever_happens_each_chat_has_one_that_is_next() -> None:
    """However sends, reports, copies, retries and cancellations come: of a chat's open deliveries exactly one is due or
    under way, a message is pending just while its delivery is open, and nobody's copy is lost or doubled."""
    seed = random.randrange(1_000_000)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(40):
        memory, written = Memory(), 0
        for _ in range(60):
            sent_ones = [one for one in memory.messages.values() if one.client_id is not None]
            under_way = [one for one in memory.deliveries.values() if one.state == "sending"]
            what = chance.choice(("send", "send", "report", "report", "copy", "phone", "retry", "cancel", "release"))
            if what == "send":
                memory.apply(send(f"c{chance.randrange(40)}", chance.choice("ab"), chance.choice(("yes", "no"))))
            elif what == "report" and under_way:
                one = chance.choice(under_way)
                state = chance.choice(("sent", "retry", "failed", "unknown"))
                told = Report(state, f"p-{one.message_id}" if state == "sent" else None, REFUSED)
                memory.apply(ReportDelivery(one, told, holder=chance.choice(("me", None))))
            elif what == "copy" and under_way:
                one = chance.choice(under_way)
                text = memory.messages[one.chat_id, one.message_id].text
                memory.apply(store(incoming(f"p-{one.message_id}", one.chat_id, text, from_me=True)))
            elif what == "phone":
                written += 1
                memory.apply(store(incoming(f"phone-{written}", chance.choice("ab"), f"{written}", from_me=True)))
            elif what in ("retry", "cancel") and sent_ones:
                message = chance.choice(sent_ones)
                command = RetryMessage if what == "retry" else CancelMessage
                memory.apply(command(message.chat_id, message.message_id))
            elif what == "release" and under_way:
                memory.apply(ReleaseCopies(chance.choice(under_way), again=chance.random() < 0.5))
            for one in memory.deliveries.values():  # whoever looks takes what is due
                if one.state == "waiting" and one.next_at is not None and chance.random() < 0.5:
                    memory.deliveries[one.id] = replace(one, state="sending", attempt=one.attempt + 1)
            for chat_id in "ab":
                mine = [d for d in memory.deliveries.values() if d.chat_id == chat_id]
                waiting = [d for d in mine if d.state in ("waiting", "sending")]
                assert sum(d.next_at is not None for d in waiting) == bool(waiting)
                first = min(waiting, key=lambda one: one.order, default=None)
                assert first is None or first.next_at is not None
            for message in memory.messages.values():
                if message.client_id is not None:
                    is_open = delivery_of(memory, message).state in ("waiting", "sending")
                    assert is_open == (message.status == "pending"), message
        for delivery in list(memory.deliveries.values()):
            memory.apply(ReleaseCopies(delivery))
        assert {f"phone-{n + 1}" for n in range(written)} <= {one.message_id for one in memory.messages.values()}
