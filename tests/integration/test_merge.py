"""Two chats that prove to be one person's become one, under the eyes of those who read them."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from app.application import CONNECTIONS, ENGINE
from app.storage.mongo import Store
from tests.stock import stock_client
from tests.support import Client, Site, message, mint, until

ANA, ANA_LID = "5511999998888@s.whatsapp.net", "99887766554433@lid"
OTHER = "85291234567@s.whatsapp.net"
GROUP = "120363041234567890@g.us"
TOLD = {"contacts": [{"id": ANA, "name": "Ana", "aliases": [ANA_LID]}]}


async def two_chats(site: Site) -> None:
    """Six messages: three of each address, two of them in both chats."""
    for number, (chat, message_id) in enumerate(
        [(ANA_LID, "m1"), (ANA, "m2"), (ANA_LID, "both1"), (ANA, "both1"), (ANA, "both2"), (ANA_LID, "both2")], 1
    ):
        answer = await site.post("shop", message(message_id, chat, messageId=message_id))
        assert answer.results[0]["seq"] == number


def told(client: Client) -> list[tuple[str, str]]:
    return [(event["event"], event["chatId"]) for event in client.durable("shop")]


async def moved(store: Store) -> None:
    """Wait until nothing is stored under the old name any more."""

    async def left() -> int:
        return await store.messages.count_documents({"chatId": ANA_LID}) + len(await store.merging())

    while await left():
        pass


async def test_messages_and_counters(site: Site, store: Store) -> None:
    """One chat has all messages by their numbers, each once; counters are right at once and stay so."""
    await two_chats(site)
    client_seq = await site.seq("shop")
    answer = await site.post("shop", TOLD)
    assert answer.body == {"ok": True, "data": {"results": []}}
    for done in (False, True):
        if done:
            await moved(store)
        (chat,) = await site.chats("shop")
        assert (chat["chatId"], chat["name"], chat["unreadCount"]) == (ANA, "Ana", 4)
        assert (chat["lastMessage"]["messageId"], chat["lastSeq"], chat["readSeq"]) == ("both2", 6, 0)
    assert [(m["messageId"], m["seq"]) for m in await site.messages("shop", ANA)] == [
        ("m1", 1),
        ("m2", 2),
        ("both1", 3),
        ("both2", 5),
    ]
    assert {m["chatId"] for m in await site.messages("shop", ANA)} == {ANA}
    assert {m["sender"]["id"] for m in await site.messages("shop", ANA)} == {ANA}
    assert await site.messages("shop", ANA_LID) == await site.messages("shop", ANA), "the old name goes on as the new"
    assert await site.seq("shop") == client_seq + 2, "one event for the merge and one for the name"


async def test_marks_and_updates_under_the_old_name(site: Site, connect_client: Any) -> None:
    """mark_read, updates and messages that name the old chat are of the new one."""
    await two_chats(site)
    await site.post("shop", TOLD)
    client: Client = await connect_client()
    chat = (await client.ask("mark_read", sessionId="shop", chatId=ANA_LID, seq=3))["chat"]
    assert (chat["chatId"], chat["readSeq"], chat["unreadCount"]) == (ANA, 3, 1)
    update = {"messageId": "m1", "chatId": ANA_LID, "text": "edited"}
    answer = await site.post("shop", {"updates": [update]})
    assert answer.body["data"]["updates"][0]["state"] == "applied"
    assert (await site.messages("shop", ANA))[0]["text"] == "edited"
    assert (await site.post("shop", message("m1", ANA_LID, messageId="m1"))).results[0]["duplicate"]
    await site.post("shop", message("m7", ANA_LID, messageId="m7"))
    assert [chat["chatId"] for chat in await site.chats("shop")] == [ANA]


@pytest.mark.parametrize("batch", [False, True])
async def test_subscribers_go_on(site: Site, connect_client: Any, batch: bool) -> None:
    """Subscribers of the session and of both chats are told once; those of the old chat get what comes to the new."""
    await two_chats(site)
    named = {"whole": None, "old": ANA_LID, "new": ANA, "both": ANA, "other": OTHER}
    clients: dict[str, Client] = {}
    for name, chat_id in named.items():
        clients[name] = await connect_client()
        if batch:
            chat = {"chatId": chat_id} if chat_id else {}
            await clients[name].ask("subscribe", sessionId="shop", batch=True, **chat)
        else:
            await clients[name].subscribe("shop", chat_id)
    await clients["both"].subscribe("shop", ANA_LID)
    await site.post("shop", {"contacts": [{"id": ANA, "aliases": [ANA_LID]}]})
    await site.post("shop", message("later", ANA_LID))
    await site.post("shop", message("other", OTHER))
    for name, client in clients.items():
        expected = [("chat_merged", ANA), ("new_message", ANA)]
        if name in ("whole", "other"):
            expected = [*(expected if name == "whole" else []), ("new_message", OTHER)]
        events = [event for _, event in client.events]

        def got(client: Client = client, expected: list[Any] = expected) -> bool:
            return told_all(client) == expected

        await client.wait_for(lambda _, got=got: got())
        await client.fence()
        assert told_all(client) == expected, (name, events)
    await clients["old"].ask("unsubscribe", sessionId="shop", chatId=ANA_LID)
    await site.post("shop", message("after", ANA))
    await clients["new"].wait_for(lambda client: len(told_all(client)) == 3)
    await clients["old"].fence()
    assert len(told_all(clients["old"])) == 2


def told_all(client: Client) -> list[tuple[str, str]]:
    """What came singly and in lists."""
    found = []
    for event, data in client.events:
        for one in data if event == "events" else [{"event": event, "data": data}]:  # type: ignore[attr-defined]
            if "seq" in one["data"]:
                found.append((one["event"], one["data"]["chatId"]))
    return found


@pytest.mark.parametrize("chat_id", [ANA, ANA_LID])
async def test_catching_up_from_before(site: Site, connect_client: Any, chat_id: str) -> None:
    """A stream of the chat, under either name, that catches up from before the merge gets the events of both names."""
    client: Client = await connect_client()
    position = (await client.subscribe("shop"))["position"]
    await client.ask("unsubscribe", sessionId="shop")
    await two_chats(site)
    await site.post("shop", message("other", OTHER))
    await site.post("shop", {"contacts": [{"id": ANA, "aliases": [ANA_LID]}]})
    await site.post("shop", message("later", ANA))
    answer = await client.subscribe("shop", chat_id, position)
    assert answer["recovered"]
    await client.has(1, 2, 3, 4, 5, 6, 8, 9)
    assert told(client)[6:] == [("chat_merged", ANA), ("new_message", ANA)]


async def test_what_could_be_nobody_is_no_alias(site: Site) -> None:
    """Addresses that are nobody's bring no two people together."""
    for number, address in enumerate(
        ("undefined@s.whatsapp.net", "null@s.whatsapp.net", "0@s.whatsapp.net", "abc@s.whatsapp.net",
         "1234@s.whatsapp.net", "1234567890123456@s.whatsapp.net", "0123456789@s.whatsapp.net")
    ):  # fmt: skip
        first, second = f"{number}10101@lid", f"{number}20202@lid"
        for lid in (first, second):
            await site.post("shop", message("hi", lid))
        await site.post("shop", {"contacts": [{"id": address, "aliases": [first, second, "x@lid"]}]})
        assert {first, second} <= {chat["chatId"] for chat in await site.chats("shop")}


async def test_large_chats(site: Site, store: Store, connect_client: Any) -> None:
    """While the messages of a long chat move, all of it can be read, and others and the person go on."""
    for number in range(0, 3000, 500):
        body = {"messages": [message(str(n), ANA_LID, messageId=f"l{n}") for n in range(number, number + 500)]}
        assert (await site.post("shop", body)).status == 200
    await site.post("shop", message("known", ANA, messageId="k"))
    client: Client = await connect_client(mint())
    await client.subscribe("shop", ANA)
    await site.post("shop", TOLD)
    while await store.merging():
        assert len(await site.messages("shop", ANA)) == 200
        (chat,) = await site.chats("shop")
        assert chat["unreadCount"] >= 3001
        assert (await site.post("shop", message("meanwhile", ANA_LID))).status == 200
    (chat,) = await site.chats("shop")
    assert await store.messages.count_documents({"chatId": ANA}) == chat["unreadCount"]
    assert await store.messages.count_documents({"chatId": ANA_LID}) == 0
    await until(lambda: client.durable("shop")[0]["event"] == "chat_merged" if client.durable("shop") else False)


def receipt(by: str, status: str = "read", message_id: str = "g1") -> dict[str, Any]:
    return {"updates": [{"messageId": message_id, "chatId": GROUP, "receipt": {"by": by, "status": status}}]}


async def test_one_person_counts_once_in_a_group(site: Site, store: Store, connect_client: Any) -> None:
    """Receipts under two addresses are two people's until the alias is told; lists and events then agree on one."""
    client: Client = await connect_client()
    await client.subscribe("shop")
    await site.post("shop", message("ours", GROUP, messageId="g1", fromMe=True))
    for who in (ANA, ANA_LID, OTHER):
        await site.post("shop", receipt(who))
    assert (await site.messages("shop", GROUP))[0]["receipts"]["read"] == 3
    await site.post("shop", {"contacts": [{"id": ANA, "aliases": [ANA_LID]}]})
    await client.has(1, 2, 3, 4, 5)
    (listed,) = await site.messages("shop", GROUP)
    assert listed["receipts"] == client.durable()[-1]["message"]["receipts"] == {"delivered": 2, "read": 2, "played": 0}
    assert await store.messages.count_documents({"hidden": {"$exists": True}}) == 0


async def test_what_waits_is_counted_by_the_known_address(site: Site) -> None:
    """A receipt that came before its message, and before or after the alias, is that person's."""
    await site.post("shop", receipt(ANA_LID, message_id="g1"))
    await site.post("shop", {"contacts": [{"id": ANA, "aliases": [ANA_LID]}]})
    await site.post("shop", receipt(ANA_LID, message_id="g2"))
    for message_id in ("g1", "g2"):
        await site.post("shop", message("ours", GROUP, messageId=message_id, fromMe=True))
        await site.post("shop", receipt(ANA, message_id=message_id))
    assert [one["receipts"]["read"] for one in await site.messages("shop", GROUP)] == [1, 1]


@pytest.mark.parametrize("subscribed", [(None,), (ANA_LID,), (ANA,), (ANA_LID, ANA)], ids=["all", "old", "new", "both"])
async def test_socket_io_recovers_across_a_merge(
    app: web.Application, site: Site, subscribed: tuple[str | None, ...]
) -> None:
    """A stock client that is away while its chats become one comes back recovered, with everything once, in order."""
    named = {name: {"chatId": name} if name else {} for name in subscribed}
    async with stock_client() as stock:
        await stock.open(site, recovery=True)
        for chat in named.values():
            await stock.ask("subscribe", sessionId="shop", **chat)
        await two_chats(site)
        of_chats = {None: range(1, 7), ANA_LID: (1, 3, 6), ANA: (2, 4, 5)}
        before = sorted(seq for name in named for seq in of_chats[name])
        await stock.has(*before)
        for sid in app[CONNECTIONS].sids:
            app[ENGINE].close(sid, "cut by the test")
        await stock.wait_for(lambda me: me.all("disconnect"))
        await site.post("shop", message("m7", ANA_LID))
        await site.post("shop", {"contacts": [{"id": ANA, "aliases": [ANA_LID]}]})
        await site.post("shop", {"messages": [message("m9", ANA_LID), message("m10", ANA), message("m11", OTHER)]})
        assert await stock.connects(2), "recovered"
        await site.post("shop", message("live", ANA_LID))
        missed = [8, 9, 10, 12]
        if ANA not in named or ANA_LID in named:
            missed.insert(0, 7)
        if None in named:
            missed.insert(-1, 11)
        await stock.has(*before, *missed)
        (merged,) = stock.events("chat_merged")
        assert (merged[1]["chatId"], merged[1]["from"], merged[1]["seq"]) == (ANA, ANA_LID, 8)
