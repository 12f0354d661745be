"""Updates, signals and contacts through the webhook, and what subscribers see of them."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from app.application import INGEST
from app.domain.incoming import PARKED_FOR
from app.storage.mongo import Store
from tests.support import SECRET, Client, Site, command, message, mint

CHAT = "alice@s.whatsapp.net"
ANA, ANA_LID = "5511999998888@s.whatsapp.net", "99887766554433@lid"


async def post(site: Site, *updates: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await site.post("shop", {"updates": [{"chatId": CHAT, **update} for update in updates]})
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = answer.body["data"]["updates"]
    return found


async def test_the_life_of_a_message(site: Site, connect_client: Any) -> None:
    """What happens to a message is stored, answered and pushed, and REST shows the same as the events."""
    client: Client = await connect_client()
    position = (await client.subscribe("shop"))["position"]
    await site.post("shop", message("one", messageId="m1", fromMe=True, status="pending"))
    assert await post(site, {"messageId": "m1", "error": {"code": "131026", "title": "Not on WhatsApp"}}) == [
        {"messageId": "m1", "seq": 2, "state": "applied"}
    ]
    assert await post(site, {"messageId": "m1", "status": "sent"}) == [
        {"messageId": "m1", "seq": None, "state": "unchanged"}
    ]
    reaction = {"sender": {"id": CHAT, "name": "Alice"}, "emoji": "👍"}
    assert await post(
        site,
        {"messageId": "m1", "status": "delivered"},
        {"messageId": "m1", "receipt": {"by": CHAT, "status": "read"}},
        {"messageId": "m1", "text": "two", "timestamp": "2026-02-06T12:04:00Z"},
        {"messageId": "m1", "reaction": reaction},
    ) == [
        {"messageId": "m1", "seq": 3, "state": "applied"},
        {"messageId": "m1", "seq": 3, "state": "applied"},
        {"messageId": "m1", "seq": 3, "state": "applied"},
        {"messageId": "m1", "seq": 4, "state": "applied"},
    ]
    assert await post(site, {"messageId": "m1", "reaction": reaction}) == [
        {"messageId": "m1", "seq": None, "state": "unchanged"}
    ]
    await client.has(1, 2, 3, 4)
    failed, edited, reacted = client.durable()[1:]
    assert failed["message"]["error"] == {"code": "131026", "title": "Not on WhatsApp"}
    assert (edited["message"]["status"], edited["message"]["error"], edited["message"]["text"]) == ("read", None, "two")
    assert edited["message"]["editedAt"] == "2026-02-06T12:04:00.000Z"
    assert edited["chat"]["lastMessage"]["text"] == "two"
    assert [one["emoji"] for one in reacted["message"]["reactions"]] == ["👍"]
    assert reacted["message"] == (await site.messages("shop"))[0]
    assert reacted["chat"] == (await site.chats("shop"))[0]
    await post(site, {"messageId": "m1", "deleted": True})
    (stored,) = await site.messages("shop")
    assert (stored["text"], stored["reactions"], stored["seq"], stored["updatedSeq"]) == (None, [], 1, 5)
    again: Client = await connect_client()
    await again.subscribe("shop", None, position)
    await again.has(1, 2, 3, 4, 5)
    await client.has(1, 2, 3, 4, 5)
    assert again.durable() == client.durable()


async def test_update_before_its_message(site: Site, store: Store, connect_client: Any) -> None:
    """It waits in the database, for a day at most, and is a part of the message from its first event on."""
    parked = store.sessions.database["parked"]
    client: Client = await connect_client()
    await client.subscribe("shop")
    early = {"messageId": "m1", "deleted": True}, {"messageId": "m1", "chatId": None, "status": "read"}
    assert [one["state"] for one in await post(site, *early, early[0])] == ["parked"] * 3
    index = (await parked.index_information())["at_1"]
    assert index["expireAfterSeconds"] == PARKED_FOR.total_seconds()
    assert await parked.count_documents({"sessionId": "shop"}) == 2
    await site.post("shop", message("secret", messageId="m1", fromMe=True))
    await client.has(1)
    (event,) = client.durable()
    assert (event["event"], event["message"]["status"], event["message"]["text"]) == ("new_message", "read", None)
    assert await parked.count_documents({}) == 0
    assert await post(site, *early) == [
        {"messageId": "m1", "seq": None, "state": "unchanged"},
        {"messageId": "m1", "seq": None, "state": "unchanged"},
    ]


async def test_signals_pass_by(app: web.Application, site: Site) -> None:
    """Signals alone are answered while nothing can be stored; they are counted, and stored nowhere."""
    signals = [
        {"type": "typing", "chatId": CHAT, "sender": {"id": CHAT}, "action": "typing"},
        {"type": "connection", "state": "connecting"},
    ]
    await app[INGEST].close(10)
    assert (await site.post("shop", {"signals": signals, "messages": [message()]})).status == 503
    answer = await site.post("shop", {"signals": signals})
    assert (answer.status, answer.body) == (200, {"ok": True, "data": {"results": []}})
    assert 'roomcast_signals_total{type="typing"} 2.0' in (await site.get("/metrics")).body.decode()
    wrong = await site.post("shop", {"signals": [{**signals[0], "action": "singing"}]})
    assert (wrong.status, wrong.body["errors"][0]["pointer"]) == (422, "#/signals/0/action")


async def test_a_burst_of_receipts_holds_up_nobody(app: web.Application, site: Site) -> None:
    """While thousands of receipts of one session wait, messages of others go through in their turn."""
    group = "120363041234567890@g.us"
    sent = [message(str(n), group, messageId=f"m{n}", fromMe=True) for n in range(100)]
    assert (await site.post("busy", {"messages": sent})).status == 200
    receipts = [
        {
            "messageId": f"m{n % 100}",
            "chatId": group,
            "receipt": {"by": f"55119{n // 100:06}@s.whatsapp.net", "status": "read"},
        }
        for n in range(10_000)
    ]
    bodies = [{"updates": receipts[n : n + 500]} for n in range(0, len(receipts), 500)]
    burst = [asyncio.create_task(site.post("busy", body)) for body in bodies]
    quiet = 0
    while not all(task.done() for task in burst):
        assert (await site.post(f"quiet{quiet % 5}", message("hi"))).status == 200
        quiet += 1
    assert quiet >= 3, "they did not wait until the burst was over"
    for answer in await asyncio.gather(*burst):
        assert {one["state"] for one in answer.body["data"]["updates"]} == {"applied"}
    found = await site.messages("busy", group)
    assert {tuple(one["receipts"].values()) for one in found} == {(100, 100, 0)}
    assert await site.seq("busy") <= 100 + 100 * len(bodies), "no more than one event for each message and transaction"


async def test_undoing_a_merge(site: Site, mongodb_uri: str, database: str) -> None:
    """`python -m app split` takes apart what was wrongly merged, while the server runs."""
    await site.post("shop", message("hidden", ANA_LID))
    await site.post("shop", message("known", ANA))
    await site.post("shop", {"contacts": [{"id": ANA, "aliases": [ANA_LID]}]})
    assert [chat["chatId"] for chat in await site.chats("shop")] == [ANA]

    where = {"MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": database, "AUTH_SECRET": SECRET}

    async def split() -> tuple[int, str]:
        code, out, err = await command("split", "--session", "shop", "--chat", ANA, "--from", ANA_LID, **where)
        return code, out + err

    code, words = await split()
    assert (code, f"{ANA_LID} is a separate chat again" in words) == (0, True), words
    await site.post("shop", {"contacts": [{"id": ANA, "aliases": [ANA_LID]}]})
    await site.post("shop", message("more", ANA_LID), token=mint())
    assert {chat["chatId"]: chat["unreadCount"] for chat in await site.chats("shop")} == {ANA: 1, ANA_LID: 2}
    assert [m["text"] for m in await site.messages("shop", ANA_LID)] == ["hidden", "more"]
