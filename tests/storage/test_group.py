"""Writing over a real database: a group in one transaction is its commands one by one, session by session."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import ConnectionFailure

from app.domain.commands import MarkRead, StoreMessages, UpdateMessages
from app.domain.deliveries import Report
from app.domain.incoming import IncomingUpdate
from app.domain.known import Command, Outcome, Result
from app.domain.models import Agent, Alias, Chat, IncomingMessage, MessageResult, Sender
from app.domain.reports import ReportDelivery
from app.domain.sending import SendMessage
from app.errors import Unavailable
from app.storage.mongo import Store
from app.storage.remembered import MAX_CHATS

NOW = datetime(2026, 2, 6, 12, 4, tzinfo=UTC)
CHATS = ["a", "85291234567@s.whatsapp.net", "5511999998888@s.whatsapp.net", "10101@lid", "20202@lid"]
ANA, BOB = CHATS[2], CHATS[1]


def incoming(message_id: str, chat_id: str, text: str | None = "hi", *, from_me: bool = False) -> IncomingMessage:
    kind, status = "text" if text else "unknown", "sent" if from_me else "received"
    sender = Sender(chat_id, "Ana")
    return IncomingMessage(message_id, chat_id, from_me, sender, kind, text, None, None, status, NOW)  # type: ignore[arg-type]


def store_messages(*messages: IncomingMessage, aliases: Sequence[Alias] = ()) -> StoreMessages:
    return StoreMessages(NOW, messages, aliases)


async def state(store: Store, session_id: str) -> str:
    """All that is stored of a session, but for the times of writing and the session's name."""
    found: dict[str, Any] = {"seq": await store.seq(session_id)}
    for name, collection, order in (
        ("events", store.events, [("seq", 1)]),
        ("messages", store.messages, [("chatId", 1), ("messageId", 1)]),
        ("chats", store.chats, [("chatId", 1)]),
        ("aliases", store.aliases, [("lid", 1)]),
    ):
        projection = {"_id": 0, "at": 0, "updatedAt": 0, "data.chat.updatedAt": 0}
        found[name] = [d async for d in collection.find({"sessionId": session_id}, projection).sort(order)]
    return json.dumps(found, default=str, indent=1).replace(session_id, "session")


def update(message_id: str, status: Any) -> UpdateMessages:
    return UpdateMessages(NOW, [IncomingUpdate(message_id, None, status=status)])


def told(results: Sequence[Result]) -> list[Any]:
    """The answers, but for the session's name and the time."""
    return [
        (one.chat_id, one.read_seq, one.unread_count, one.updated_seq) if isinstance(one, Chat) else one
        for one in results
    ]


class Writer:
    """Of one session."""

    def __init__(self, store: Store, session_id: str) -> None:
        self._group, self._session_id = store.writer(), session_id

    async def apply(self, commands: Sequence[Command], seconds: float = math.inf) -> Outcome:
        return (await self._group.apply({self._session_id: commands}, seconds))[self._session_id]

    async def end(self) -> None:
        await self._group.close()


async def apply(writer: Writer, *commands: Command) -> Outcome:
    """As a batch, and then what is still to be done."""
    outcome = await writer.apply(commands)
    for command in outcome.follow_up:
        await apply(writer, command)
    return outcome


async def test_a_batch_is_its_commands_one_by_one(store: Store) -> None:
    """However commands are gathered into transactions, by whomever, answers and all that is stored are the same."""
    seed = random.randrange(1_000_000)
    print("seed", seed)
    chance = random.Random(seed)

    def command() -> Command:
        if chance.random() < 0.35:
            return MarkRead(chance.choice(CHATS[:3]), chance.randrange(25))
        messages = []
        for _ in range(chance.randrange(6)):
            chat = chance.choice(CHATS)
            # Not in both chats of a person: whichever of two is kept is completed by an event after those of its batch.
            text = chance.choice([None, "one", "two"] if chat == "a" else ["one", "two"])
            messages.append(incoming(f"m{chance.randrange(12)}", chat, text, from_me=chance.random() < 0.3))
        aliases = [Alias(chance.choice(CHATS[3:]), chance.choice(CHATS[1:3]))]
        return store_messages(*messages, aliases=aliases if chance.random() < 0.2 else ())

    for number in range(12):
        commands = [command() for _ in range(14)]
        together, apart = f"together-{number}", f"apart-{number}"
        in_batches, one_by_one = Writer(store, together), Writer(store, apart)
        of_another_process = Writer(store, together)
        answers: list[Any] = []
        rest = commands
        while rest:
            size = chance.randrange(1, 9)
            writer = in_batches if chance.random() < 0.7 else of_another_process
            answers += told((await apply(writer, *rest[:size])).results)
            rest = rest[size:]
        expected = [told((await apply(one_by_one, one)).results)[0] for one in commands]
        assert answers == expected, commands
        assert await state(store, together) == await state(store, apart), commands
        for session_id in (together, apart):
            for chat in await store.lists.read_chats(session_id, None, 200):
                messages = await store.lists.read_messages(session_id, chat.chat_id, limit=200)
                unread = [one for one in messages if one.counts and one.content_seq > chat.read_seq]
                assert chat.unread_count == len(unread), (chat, messages)
        for writer in (in_batches, of_another_process, one_by_one):
            await writer.end()


async def test_a_group_of_sessions_is_its_sessions_one_by_one(store: Store) -> None:
    """Whichever sessions share a transaction, and whoever writes them, each ends as if it had been written alone."""
    seed = random.randrange(1_000_000)
    print("seed", seed)
    chance = random.Random(seed)
    names = [f"s{n}" for n in range(12)]
    writers = [store.writer(), store.writer()]
    expected = {name: Writer(store, f"alone-{name}") for name in names}

    def command() -> Command:
        if chance.random() < 0.2:
            return MarkRead(chance.choice(CHATS[:3]), chance.randrange(9))
        aliases = [Alias(chance.choice(CHATS[3:]), chance.choice(CHATS[1:3]))] if chance.random() < 0.1 else []
        messages = [incoming(f"m{chance.randrange(30)}", chance.choice(CHATS)) for _ in range(chance.randrange(1, 4))]
        return store_messages(*messages, aliases=aliases)

    for _ in range(25):
        group = {name: [command() for _ in range(chance.randrange(1, 4))] for name in chance.sample(names, 5)}
        outcomes = await chance.choice(writers).apply(group)
        for name, commands in group.items():
            alone = await expected[name].apply(commands)
            assert told(outcomes[name].results) == told(alone.results), name
            for one in outcomes[name].follow_up:
                await apply(Writer(store, name), one)
            for one in alone.follow_up:
                await apply(expected[name], one)
    for name in names:
        assert await state(store, name) == (await state(store, f"alone-{name}")).replace("alone-session", "session")
    for writer in writers:
        await writer.close()


@pytest.fixture
def raw(mongodb_uri: str, database: str) -> Iterator[Database[Any]]:
    """The store's database, by the driver."""
    with MongoClient[Any](mongodb_uri) as client:
        yield client[database]


async def aborted(raw: Database[Any]) -> int:
    """Transactions that were aborted so far."""
    answer = await asyncio.to_thread(raw.command, "serverStatus")
    return int(answer["transactions"]["totalAborted"])


async def test_a_repeat_aborts_nothing(store: Store, raw: Database[Any]) -> None:
    """What a sender repeats is answered as a repeat in the group's one transaction, new messages beside it."""
    writer = store.writer()
    for number in range(20):
        await writer.apply({f"s{n}": [store_messages(incoming(f"m{number}", "a"))] for n in range(10)})
    before = await aborted(raw)
    outcomes = await writer.apply(
        {f"s{n}": [store_messages(incoming("m5" if n % 3 else "new", "a"))] for n in range(10)}
    )
    for n in range(10):
        expected = MessageResult("m5", 6, duplicate=True) if n % 3 else MessageResult("new", 21, duplicate=False)
        assert told(outcomes[f"s{n}"].results) == [[expected]]
    assert await aborted(raw) == before
    await writer.close()


async def test_one_session_that_another_has_written(store: Store, raw: Database[Any]) -> None:
    """It costs its group one more attempt, and nothing of the others is read again."""
    writer, other = store.writer(), store.writer()
    first = {f"s{n}": [store_messages(incoming("m1", "a"))] for n in range(10)}
    await writer.apply(first)
    await other.apply({"s3": [store_messages(incoming("other", "a"))]})
    before = await aborted(raw)
    outcomes = await writer.apply({name: [store_messages(incoming("m2", "a"))] for name in first})
    assert {name: outcome.seq for name, outcome in outcomes.items()} == dict.fromkeys(first, 2) | {"s3": 3}
    assert await aborted(raw) == before + 1
    await writer.close()
    await other.close()


async def test_a_commit_whose_answer_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for again, so that the sender is told 200, and nothing is stored twice."""
    commit, lost = ClientSession.commit_transaction, []

    def lossy(client_session: ClientSession) -> None:
        commit(client_session)
        if not lost:
            lost.append(ConnectionFailure("the answer is lost", error_labels=["UnknownTransactionCommitResult"]))
            raise lost[0]

    monkeypatch.setattr(ClientSession, "commit_transaction", lossy)
    writer = await writer_with(store, store_messages(incoming("m1", "a")))
    assert lost
    outcome = await writer.apply([store_messages(incoming("m1", "a"), incoming("m2", "a"))])
    assert told(outcome.results) == [[MessageResult("m1", 1, True), MessageResult("m2", 2, False)]]
    await writer.end()


async def test_a_group_reads_by_indexes_alone(store: Store, raw: Database[Any]) -> None:
    """Whatever a group reads of its sessions, it looks at no document that it does not need."""
    names = [f"s{n}" for n in range(64)]
    learned = [Alias("10101@lid", ANA), Alias("20202@lid", BOB)]
    for part in range(3):
        many = [incoming(f"{part}-{n}", f"chat{n}") for n in range(30)]
        await store.writer().apply({name: [store_messages(*many, aliases=learned)] for name in names[:20]})
    await asyncio.to_thread(raw.command, "profile", 2)
    try:
        new = store_messages(incoming("1-3", "chat3"), incoming("new", "10101@lid"), incoming("new", "other"))
        outcomes = await store.writer().apply({name: [new] for name in names})
    finally:
        await asyncio.to_thread(raw.command, "profile", 0)
    assert {outcome.seq for outcome in outcomes.values()} == {92, 3}
    reads = await asyncio.to_thread(lambda: list(raw["system.profile"].find({"op": "query"})))
    assert {one["ns"].split(".")[1] for one in reads} >= {"sessions", "aliases", "messages", "chats"}
    for one in reads:
        assert "COLLSCAN" not in one["planSummary"], one["command"]
        assert one["docsExamined"] <= 1.2 * max(1, one["nreturned"]), one["command"]


async def writer_with(store: Store, *commands: Command) -> Writer:
    writer = Writer(store, "shop")
    for command in commands:
        await writer.apply([command])
    return writer


async def test_two_marks_in_one_batch(store: Store) -> None:
    """A mark that changes nothing does not spoil the count of the one after it in the same batch."""
    ten = store_messages(*(incoming(f"m{n}", "a") for n in range(10)))
    writer = await writer_with(store, ten, MarkRead("a", 5))
    outcome = await writer.apply([MarkRead("a", 3), MarkRead("a", 7)])
    assert told(outcome.results) == [("a", 5, 5, 11), ("a", 7, 3, 12)]
    await writer.end()


async def test_a_copy_of_what_is_stored_is_not_held(store: Store) -> None:
    """While a message is being delivered, repeats of others are known as such, and what had to wait is stored once."""
    ann = Agent("ann")
    writer = await writer_with(store, store_messages(incoming("m1", "a", from_me=True)))
    sent = await writer.apply([SendMessage(NOW, "a", ann, "c1", "yes", holder="me")])
    (delivery,) = sent.deliveries.values()
    outcome = await writer.apply([store_messages(incoming("m1", "a", from_me=True))])
    assert told(outcome.results) == [[MessageResult("m1", 1, duplicate=True)]]
    outcome = await writer.apply([store_messages(incoming("p1", "a", from_me=True), incoming("m2", "a", from_me=True))])
    assert told(outcome.results) == [[MessageResult(name, None, duplicate=False) for name in ("p1", "m2")]]
    await writer.apply([ReportDelivery(delivery, Report("sent", "p1"))])
    outcome = await writer.apply([store_messages(*(incoming(name, "a", from_me=True) for name in ("m2", "p1", "m1")))])
    assert all(result.duplicate for result in outcome.results[0])  # type: ignore[union-attr]
    outcome = await writer.apply([update("p1", "read")])
    assert [one.status for one in outcome.changed_messages.values()] == ["read"]
    await writer.end()


async def test_a_person_who_was_another_for_a_moment(store: Store) -> None:
    """What a batch brings together and takes apart again finds the messages of everybody who was concerned."""
    writer = await writer_with(store, store_messages(incoming("m1", BOB)))
    told_twice = [store_messages(aliases=[Alias("10101@lid", one)]) for one in (BOB, ANA)]
    outcome = await apply(writer, store_messages(incoming("m1", "10101@lid")), *told_twice)
    assert told(outcome.results)[0] == [MessageResult("m1", 2, duplicate=False)]
    assert [(m.message_id, m.seq) for m in await store.lists.read_messages("shop", BOB, limit=9)] == [("m1", 1)]
    await writer.end()


async def test_aliases_that_contradict_each_other_in_one_batch(store: Store) -> None:
    """A person who is told to be another within a batch leaves the first one's chat as it was."""
    writer = await writer_with(
        store,
        store_messages(incoming("m1", "10101@lid"), aliases=[Alias("10101@lid", ANA)]),
        MarkRead(ANA, 1),
    )
    before = store_messages(incoming("m2", "10101@lid"))
    after = store_messages(incoming("m3", "10101@lid"), aliases=[Alias("10101@lid", BOB)])
    outcome = await writer.apply([before, after])
    assert [event.chat_id for event in outcome.events] == [ANA, BOB]
    chat = next(chat for chat in await store.lists.read_chats("shop", None, 10) if chat.chat_id == ANA)
    assert (chat.read_seq, chat.unread_count, chat.last_seq) == (1, 1, 3)
    await writer.end()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (MarkRead("a", 1), ("a", 1, 1, 3)),
        (MarkRead("a", 3), ("a", 3, 0, 5)),
        (store_messages(incoming("m2", "a")), [MessageResult("m2", 3, duplicate=True)]),
        (store_messages(incoming("m4", "a")), [MessageResult("m4", 5, duplicate=False)]),
    ],
)
async def test_nothing_is_made_of_a_state_that_another_has_changed(
    store: Store, command: Command, expected: Any
) -> None:
    """What a writer remembers decides nothing once another has written, not even that there is nothing to do."""
    writer = await writer_with(store, store_messages(incoming("m1", "a")), MarkRead("a", 1))
    other = await writer_with(store, store_messages(incoming("m2", "a"), incoming("m3", "b")))
    assert told((await writer.apply([command])).results) == [expected]
    await writer.end()
    await other.end()


async def test_an_alias_that_another_learned_is_known_at_once(store: Store) -> None:
    """A writer that has known no alias so far finds one that another learned without storing a message."""
    writer = await writer_with(store, store_messages(incoming("m1", "10101@lid")))
    other = await writer_with(store, store_messages(aliases=[Alias("10101@lid", "5511999998888@s.whatsapp.net")]))
    outcome = await writer.apply([store_messages(incoming("m2", "10101@lid"))])
    assert [event.chat_id for event in outcome.events] == ["5511999998888@s.whatsapp.net"]
    await writer.end()
    await other.end()


async def test_a_new_session_of_two_writers(store: Store) -> None:
    """Two writers of a session of which nothing is stored: the second finds what the first has made, with or without
    an event."""
    for number, first in enumerate(
        (store_messages(incoming("m1", "a")), store_messages(aliases=[Alias("10101@lid", ANA)]))
    ):
        one, two = Writer(store, f"new-{number}"), Writer(store, f"new-{number}")
        assert (await two.apply([MarkRead("a", 1)])).results == [None]
        await one.apply([first])
        (result,) = (await two.apply([store_messages(incoming("m2", "a"))])).results
        assert result == [MessageResult("m2", await store.seq(f"new-{number}"), duplicate=False)]
        await one.end()
        await two.end()


async def test_a_session_of_before_versions(store: Store) -> None:
    """A session that an earlier version stored, without a `version`, goes on."""
    writer = await writer_with(store, store_messages(incoming("m1", "a")))
    await store.sessions.update_one({"_id": "shop"}, {"$unset": {"version": 1}})
    for number in (2, 3):
        assert (await writer.apply([store_messages(incoming(f"m{number}", "a"))])).seq == number
    await writer.end()


async def test_more_chats_than_a_writer_remembers(store: Store) -> None:
    """A chat that a writer has forgotten goes on where it was."""
    writer = Writer(store, "shop")
    chats = [f"c{n}" for n in range(MAX_CHATS + 5)]
    for n in range(2):
        for start in range(0, len(chats), 20):
            part = chats[start : start + 20]
            await writer.apply([store_messages(*(incoming(f"m{n}", chat) for chat in part))])
    assert {chat.unread_count for chat in await store.lists.read_chats("shop", None, 200)} == {2}
    await writer.end()


async def test_an_attempt_ends_when_its_time_is_over(store: Store) -> None:
    """What is left of a sender's time is all that an attempt gets, and the next one is none the worse for it."""
    writer = await writer_with(store, store_messages(incoming("m1", "a")))
    with pytest.raises(Unavailable):
        await writer.apply([store_messages(incoming("m2", "a"))], 1e-6)
    outcome = await writer.apply([store_messages(incoming("m2", "a"))])
    assert told(outcome.results) == [[MessageResult("m2", 2, duplicate=False)]]
    await writer.end()
