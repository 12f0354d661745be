"""What a subscriber may rely on (contract.md, Socket.IO), over the whole server in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from app.application import EDGES
from app.services import edge
from app.storage.mongo import Store
from tests.support import Client, Site, failing_once, message, mint


async def test_message_reaches_subscriber(site: Site, connect_client: Any) -> None:
    """A posted message is stored and pushed to the session's subscriber, as the contract shows it."""
    client: Client = await connect_client()
    answer = await client.subscribe("shop")
    assert answer["position"]["seq"] == 0
    assert answer["recovered"] is False
    sent = message("Is it there?", messageId="m1", sender={"id": "alice@s.whatsapp.net", "name": "Alice"})
    posted = await site.post("shop", sent | {"timestamp": "2026-02-06T12:04:00Z"})
    assert posted.results == [{"messageId": "m1", "seq": 1, "duplicate": False}]
    await client.has(1)
    (event,) = client.durable()
    stored = (await site.messages("shop"))[0]
    assert event["event"] == "new_message"
    assert event["message"] == stored
    assert event["chat"] == (await site.chats("shop"))[0]
    received_at = stored.pop("receivedAt")
    assert received_at.endswith("Z")
    assert stored == {
        "messageId": "m1",
        "sessionId": "shop",
        "chatId": "alice@s.whatsapp.net",
        "seq": 1,
        "updatedSeq": 1,
        "fromMe": False,
        "sender": {"id": "alice@s.whatsapp.net", "name": "Alice"},
        "type": "text",
        "text": "Is it there?",
        "media": None,
        "replyTo": None,
        "status": "received",
        "timestamp": "2026-02-06T12:04:00.000Z",
        "author": None,
        "clientId": None,
        "editedAt": None,
        "deletedAt": None,
        "reactions": [],
        "receipts": None,
        "error": None,
        "contentSeq": 1,
    }


async def test_each_gets_exactly_what_its_streams_hold(site: Site, connect_client: Any) -> None:
    """Two agents, two sessions, three chats: each gets its own, and the others get nothing of it."""
    ann: Client = await connect_client(mint("one", sub="ann"))
    bob: Client = await connect_client(mint("one", "two", sub="bob"))
    idle: Client = await connect_client(mint("one", "two"))
    await ann.subscribe("one", "a")
    await bob.subscribe("two")
    await bob.subscribe("one", "b")
    for session, chat in (("one", "a"), ("one", "b"), ("one", "c"), ("two", "a"), ("two", "b")):
        await site.post(session, message(f"{session} {chat}", chat))
    await bob.wait_for(lambda me: len(me.durable()) >= 3)
    await asyncio.gather(ann.fence(), bob.fence(), idle.fence())
    assert [(e["sessionId"], e["chatId"]) for e in ann.durable()] == [("one", "a")]
    assert [(e["sessionId"], e["chatId"]) for e in bob.durable("one")] == [("one", "b")]
    assert [(e["sessionId"], e["chatId"]) for e in bob.durable("two")] == [("two", "a"), ("two", "b")]
    assert idle.events == []


async def test_session_and_chat_is_one_stream(site: Site, connect_client: Any) -> None:
    """A connection that has the session and one of its chats gets each event once."""
    client: Client = await connect_client()
    await client.subscribe("shop", "a")
    await client.subscribe("shop")
    await site.post("shop", {"messages": [message("1", "a"), message("2", "b")]})
    await client.has(1, 2)
    await client.ask("unsubscribe", sessionId="shop")
    await site.post("shop", {"messages": [message("3", "b"), message("4", "a")]})
    await client.has(1, 2, 4)
    await client.ask("unsubscribe", sessionId="shop", chatId="a")
    await site.post("shop", message("5", "a"))
    await client.fence()
    await client.has(1, 2, 4)


async def test_catch_up_from_position(site: Site, connect_client: Any) -> None:
    """A subscriber with a position gets all after it, oldest first, running on into the live ones."""
    await site.post("shop", {"messages": [message(str(n)) for n in range(300)]})
    client: Client = await connect_client()
    epoch = (await client.subscribe("other"))["position"]["epoch"]
    answer = await client.subscribe("shop", position={"epoch": epoch, "seq": 10})
    assert answer == {"position": {"epoch": epoch, "seq": 300}, "recovered": True}
    await site.post("shop", message("live"))
    await client.has(*range(11, 302))


async def test_mark_read_tells_everybody(site: Site, connect_client: Any) -> None:
    """mark_read moves readSeq forward only, cut to lastSeq, and is an event for all who watch the chat."""
    one: Client = await connect_client()
    two: Client = await connect_client()
    await one.subscribe("shop")
    await two.subscribe("shop", "alice@s.whatsapp.net")
    await site.post("shop", {"messages": [message(str(n)) for n in range(3)]})
    chat = (await one.ask("mark_read", sessionId="shop", chatId="alice@s.whatsapp.net", seq=2))["chat"]
    assert (chat["unreadCount"], chat["readSeq"], chat["updatedSeq"]) == (1, 2, 4)
    chat = (await one.ask("mark_read", sessionId="shop", chatId="alice@s.whatsapp.net", seq=99))["chat"]
    assert (chat["unreadCount"], chat["readSeq"]) == (0, 3)
    again = (await one.ask("mark_read", sessionId="shop", chatId="alice@s.whatsapp.net", seq=1))["chat"]
    assert again == chat
    await one.has(1, 2, 3, 4, 5)
    await two.has(1, 2, 3, 4, 5)
    assert [e["event"] for e in two.durable()][3:] == ["chat_updated", "chat_updated"]


async def test_what_is_read_for_and_comes_directly_meanwhile(
    app: web.Application,
    site: Site,
    store: Store,
    processes: Any,
    connect_client: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two servers write one session: events that arrive before the reply to their read do not count as missing."""
    for name, value in {"FILL_EVENTS": 1, "HOLE_READS": 3, "HOLE_SECONDS": 0.001}.items():
        monkeypatch.setattr(edge, name, value)
    other = await processes()
    client: Client = await connect_client()
    await client.subscribe("shop")
    read, overtaken = store.read_events, []

    async def overtaking(session_id: str, *args: Any) -> Any:
        events = await read(session_id, *args)
        app[EDGES].publish(session_id, events)
        overtaken.extend(events)
        return events

    monkeypatch.setattr(store, "read_events", overtaking)
    await other.site.post("shop", {"messages": [message(str(n)) for n in range(10)]})
    await client.has(*range(1, 11))
    assert len(overtaken) == 10
    await client.fence()
    assert client.connected


@pytest.mark.parametrize("failure", [RuntimeError, asyncio.CancelledError])
async def test_a_failure_while_the_log_is_read(
    site: Site,
    store: Store,
    processes: Any,
    connect_client: Any,
    monkeypatch: pytest.MonkeyPatch,
    failure: type[BaseException],
) -> None:
    """Another server's message is pushed within seconds, even if reading it fails at first."""
    other = await processes()
    client: Client = await connect_client()
    await client.subscribe("shop")
    failures = failing_once(monkeypatch, store, "read_events", failure("of any kind"))
    await other.site.post("shop", message("1"))
    await client.has(1)
    assert not failures
