"""Answering: agents' messages are sent once, in order, and are shown as delivered or failed."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from app.storage.deliveries import of_session
from app.storage.mongo import Store
from tests.answering import ALICE, Bot, reaches, states, text
from tests.support import SECRET, Client, Process, Site, command, message, mint, until

AGENT = ("read", "write", "send")
Connect = Callable[..., Awaitable[Client]]


async def ann_at(server: Process) -> Client:
    """An agent of the session, subscribed to it, on a server process."""
    ann = await Client(server.site).connect(mint("shop", scopes=AGENT, sub="ann"))
    await ann.subscribe("shop")
    return ann


async def agent(connect_client: Connect, sub: str = "ann", **more: Any) -> Client:
    client = await connect_client(mint("shop", scopes=AGENT, sub=sub), **more)
    await client.subscribe("shop")
    return client


@pytest.fixture
async def bots(site: Site) -> AsyncIterator[Callable[..., Awaitable[Bot]]]:
    made: list[Bot] = []

    async def make(to: Site | None = None, session: str = "shop") -> Bot:
        made.append(Bot(to or site))
        return await made[-1].serve(session)

    yield make
    await asyncio.gather(*(bot.close() for bot in made))


Bots = Callable[..., Awaitable[Bot]]


# by a bot


async def test_a_bot_delivers(site: Site, connect_client: Connect, bots: Bots) -> None:
    """A message is pending at once for everybody, goes to the bot, and is sent; the provider's changes find it."""
    await site.post("shop", message("is it there?", ALICE, messageId="q1"))
    bot, ann, ben = await bots(), await agent(connect_client), await agent(connect_client, "ben")
    answer = await ann.ask("send_message", **text("c1", replyTo="q1"))
    stored = answer["message"]
    assert (stored["status"], stored["clientId"], stored["fromMe"]) == ("pending", "c1", True)
    assert stored["author"] == {"id": "ann", "name": None}
    for client in (ann, ben):
        final = await reaches(client, stored["messageId"], "sent")
        assert states(client, stored["messageId"]) == ["pending", "sent"]
        assert (final["author"], final["error"]) == (stored["author"], None)
    (order,) = bot.delivered
    assert order.keys() == {"deliveryId", "sessionId", "chatId", "message"}
    assert (order["sessionId"], order["chatId"]) == ("shop", ALICE)
    assert order["message"] == stored
    await site.post("shop", {"updates": [{"messageId": stored["messageId"], "chatId": ALICE, "status": "read"}]})
    await reaches(ben, stored["messageId"], "read")
    chat = (await site.chats("shop"))[0]
    assert (chat["unreadCount"], chat["answered"], chat["lastMessage"]["text"]) == (0, True, "yes")


async def test_the_providers_id_is_kept(site: Site, connect_client: Connect, bots: Bots) -> None:
    """Updates, copies and quotes use the id from the bot, and there is one message."""
    bot, ann = await bots(), await agent(connect_client)
    bot.answer = lambda order: {"ok": True, "messageId": f"P-{order['message']['text']}"}
    first = (await ann.ask("send_message", **text("c1", "one")))["message"]
    await reaches(ann, first["messageId"], "sent")
    body = {"updates": [{"messageId": "P-one", "status": "delivered"}]}
    assert (await site.post("shop", body)).body["data"]["updates"][0]["state"] == "applied"
    copy = message("one", ALICE, messageId="P-one", fromMe=True)
    (result,) = (await site.post("shop", copy)).results
    assert (result["duplicate"], result["seq"]) == (True, first["seq"])
    second = (await ann.ask("send_message", **text("c2", "two", replyTo=first["messageId"])))["message"]
    await reaches(ann, second["messageId"], "sent")
    assert bot.delivered[1]["message"]["replyTo"]["messageId"] == "P-one"
    assert second["replyTo"]["messageId"] == first["messageId"]
    assert [one["text"] for one in await site.messages("shop", ALICE)] == ["one", "two"]


async def test_a_copy_before_the_report(site: Site, connect_client: Connect, bots: Bots) -> None:
    """A copy that comes during the delivery waits for the report: there is one message, and one from the phone is
    kept."""
    bot, ann = await bots(), await agent(connect_client)
    bot.hold = asyncio.Event()
    bot.answer = lambda order: {"ok": True, "messageId": "P1"}
    stored = (await ann.ask("send_message", **text("c1")))["message"]
    await bot.wait_for(lambda me: bot.delivered)
    for message_id, words in (("P1", "yes"), ("phone", "yes")):
        (result,) = (await site.post("shop", message(words, ALICE, messageId=message_id, fromMe=True))).results
        assert (result["seq"], result["duplicate"]) == (None, False)
    bot.hold.set()
    await reaches(ann, stored["messageId"], "sent")
    await ann.wait_for(lambda me: states(me, "phone"))
    assert [one["messageId"] for one in await site.messages("shop", ALICE)] == [stored["messageId"], "phone"]


async def test_a_client_id_is_one_message(site: Site, connect_client: Connect, bots: Bots) -> None:
    """Repeated by any of the person's connections, and over HTTP, it is the same message, delivered once."""
    bot, one, two = await bots(), await agent(connect_client), await agent(connect_client)
    first = await one.ask("send_message", **text("c1"))
    again = await two.ask("send_message", **text("c1", "other words"))
    assert (again["message"]["messageId"], again["message"]["text"]) == (first["message"]["messageId"], "yes")
    path = f"/api/v1/sessions/shop/chats/{ALICE}/messages"
    body = {"clientId": "c1", "text": "yes"}
    answer = await site.request("POST", path, token=mint("shop", scopes=("send",), sub="ann"), json=body)
    assert answer.status == 200
    assert answer.body["data"]["message"]["messageId"] == first["message"]["messageId"]
    await reaches(one, first["message"]["messageId"], "sent")
    await one.ask("send_message", **text("c2", "next"))
    await bot.wait_for(lambda me: len(bot.delivered) > 1)
    assert bot.words() == ["yes", "next"]
    assert [event["event"] for event in two.durable()].count("new_message") == 2


async def test_over_http(site: Site, bots: Bots) -> None:
    """Programs send over HTTP; errors have their codes, and forbidden chats are 404."""
    bot = await bots()
    path = f"/api/v1/sessions/shop/chats/{ALICE}/messages"
    token = mint("shop", scopes=("send", "read"), sub="crm")
    media = {"url": "https://cdn.example.com/a.jpg", "mimeType": "image/jpeg"}
    answer = await site.request("POST", path, token=token, json={"clientId": "c1", "media": media})
    assert answer.status == 200
    assert answer.body["ok"] is True
    assert (answer.body["data"]["message"]["type"], answer.body["data"]["message"]["status"]) == ("image", "pending")
    await bot.wait_for(lambda me: bot.delivered)
    for body, code in (
        ({"text": "x"}, "invalid"),
        ({"clientId": "c2"}, "invalid"),
        ({"clientId": "c2", "text": " \n"}, "invalid"),
        ({"clientId": "c2", "text": "x", "more": 1}, "invalid"),
        ({"clientId": "c2", "text": "x", "replyTo": "nothing"}, "invalid"),
        ([], "invalid"),
    ):
        answer = await site.request("POST", path, token=token, json=body)
        assert (answer.status, answer.body["code"]) == (422, code), body
    answer = await site.request("POST", path, token=mint("shop"), json={"clientId": "c2", "text": "x"})
    assert answer.status == 404
    answer = await site.request("POST", path, json={"clientId": "c2", "text": "x"})
    assert answer.status == 401
    other = mint("shop", scopes=("send", "read"), sub="other")
    answer = await site.request("POST", path, token=other, json={"clientId": "c2", "text": "x", "after": 0})
    assert (answer.status, answer.body["code"]) == (409, "conflict")
    assert answer.body["details"]["message"]["clientId"] == "c1"
    blind = mint("shop", scopes=("send",), sub="other")
    answer = await site.request("POST", path, token=blind, json={"clientId": "c2", "text": "x", "after": 0})
    assert (answer.status, "details" in answer.body) == (409, False)
    assert len(bot.delivered) == 1


async def test_a_conflict(site: Site, connect_client: Connect, bots: Bots) -> None:
    """An agent who has not seen a colleague's answer gets it with the conflict, and nothing is sent."""
    bot, ann, ben = await bots(), await agent(connect_client), await agent(connect_client, "ben")
    seq = (await site.post("shop", message("hello?", ALICE))).results[0]["seq"]
    first = await ann.ask("send_message", **text("c1", after=seq))
    answer = await ben.call("send_message", text("c2", after=seq))
    assert (answer["ok"], answer["error"]["code"]) == (False, "conflict")
    assert answer["error"]["details"]["message"]["messageId"] == first["message"]["messageId"]
    second = await ann.ask("send_message", **text("c3", "more", after=seq))
    await reaches(ann, second["message"]["messageId"], "sent")
    assert bot.words() == ["yes", "more"]
    assert len(await site.messages("shop", ALICE)) == 3


async def test_the_scope_is_needed(connect_client: Connect) -> None:
    """Without `send` nothing is sent, without `write` nothing assigned, without `deliver` nothing served."""
    client = await connect_client(mint("shop", scopes=("read", "ingest")))
    for event, payload in (
        ("send_message", text("c1")),
        ("retry_message", {"sessionId": "shop", "chatId": ALICE, "messageId": "m"}),
        ("cancel_message", {"sessionId": "shop", "chatId": ALICE, "messageId": "m"}),
        ("assign_chat", {"sessionId": "shop", "chatId": ALICE, "assignee": None}),
        ("set_chat_state", {"sessionId": "shop", "chatId": ALICE, "state": "closed"}),
        ("typing", {"sessionId": "shop", "chatId": ALICE, "action": "typing"}),
        ("serve", {"sessionId": "shop"}),
    ):
        answer = await client.call(event, payload)
        assert (answer["ok"], answer["error"]["code"]) == (False, "forbidden"), event


async def test_in_order_one_at_a_time(connect_client: Connect, bots: Bots) -> None:
    """A chat's messages go one after another, in the order in which they were sent; other chats do not wait."""
    bot, ann = await bots(), await agent(connect_client)
    bot.hold = asyncio.Event()
    words = [f"{n}" for n in range(20)]
    for word in words:
        await ann.ask("send_message", **text(f"c{word}", word))
    other = await ann.ask("send_message", **text("d", "other chat") | {"chatId": "12025550123@s.whatsapp.net"})
    await bot.wait_for(lambda me: len(bot.delivered) == 2)
    assert sorted(bot.words()) == ["0", "other chat"]
    bot.hold.set()
    await bot.wait_for(lambda me: len(bot.delivered) == 21)
    assert [word for word in bot.words() if word != "other chat"] == words
    assert other["message"]["status"] == "pending"


async def test_refused_for_good_and_tried_again(connect_client: Connect, bots: Bots) -> None:
    """A message that the bot refuses permanently fails at once with the bot's reason; a person may retry it."""
    bot, ann = await bots(), await agent(connect_client)
    error = {"code": "not_on_whatsapp", "title": "This number is not on WhatsApp."}
    bot.answer = lambda order: {"ok": False, "error": error, "retry": False}
    stored = (await ann.ask("send_message", **text("c1")))["message"]
    failed = await reaches(ann, stored["messageId"], "failed")
    assert failed["error"] == error
    bot.answer = lambda order: {"ok": True}
    name = {"sessionId": "shop", "chatId": ALICE, "messageId": stored["messageId"]}
    again = (await ann.ask("retry_message", **name))["message"]
    assert (again["status"], again["error"]) == ("pending", None)
    await reaches(ann, stored["messageId"], "sent")
    assert len({order["deliveryId"] for order in bot.delivered}) == 1
    answer = await ann.call("retry_message", name)
    assert answer["error"]["code"] == "conflict"
    answer = await ann.call("cancel_message", name)
    assert answer["error"]["code"] == "conflict"


async def test_a_cancelled_message_is_not_delivered(site: Site, connect_client: Connect, bots: Bots) -> None:
    """A waiting message can be cancelled; it is never sent, and the chat is as if it had never been written."""
    ann = await agent(connect_client)
    await site.post("shop", message("hello?", ALICE))
    stored = (await ann.ask("send_message", **text("c1")))["message"]
    name = {"sessionId": "shop", "chatId": ALICE, "messageId": stored["messageId"]}
    cancelled = (await ann.ask("cancel_message", **name))["message"]
    assert (cancelled["status"], cancelled["error"]["code"], cancelled["text"]) == ("failed", "cancelled", None)
    assert cancelled["deletedAt"] is not None
    bot = await bots()
    last = (await ann.ask("send_message", **text("c2", "last")))["message"]
    await reaches(ann, last["messageId"], "sent")
    assert bot.words() == ["last"]


async def test_a_bot_that_comes_later(connect_client: Connect, bots: Bots) -> None:
    """Messages sent without a bot go to the first one that serves the session."""
    ann = await agent(connect_client)
    first = (await ann.ask("send_message", **text("c1", "one")))["message"]
    second = (await ann.ask("send_message", **text("c2", "two")))["message"]
    bot = await bots()
    await reaches(ann, first["messageId"], "sent")
    await reaches(ann, second["messageId"], "sent")
    assert bot.words() == ["one", "two"]


async def test_a_bot_that_goes_loses_its_message(connect_client: Connect, bots: Bots) -> None:
    """If a bot disconnects without an answer, the next one gets the message with the same ids."""
    bot, ann = await bots(), await agent(connect_client)
    bot.hold = asyncio.Event()
    stored = (await ann.ask("send_message", **text("c1")))["message"]
    await bot.wait_for(lambda me: bot.delivered)
    await bot.close()
    other = await bots()
    await reaches(ann, stored["messageId"], "sent")
    assert [order["deliveryId"] for order in other.delivered] == [bot.delivered[0]["deliveryId"]]
    assert other.delivered[0]["message"]["messageId"] == stored["messageId"]
    bot.hold.set()


async def test_bots_share_the_work(connect_client: Connect, bots: Bots) -> None:
    """Two bots of a session share its chats, and each message goes to one of them."""
    one, two, ann = await bots(), await bots(), await agent(connect_client)
    one.hold = two.hold = asyncio.Event()
    for number in range(6):
        chat = f"1202555010{number}@s.whatsapp.net"
        await ann.ask("send_message", **text(f"c{number}", str(number)) | {"chatId": chat})
    await ann.wait_for(lambda me: len(one.delivered) + len(two.delivered) == 6)
    assert sorted(one.words() + two.words()) == list("012345")
    assert len(one.delivered) == len(two.delivered) == 3
    one.hold.set()


async def test_assigning_and_closing(site: Site, connect_client: Connect) -> None:
    """Chats are taken and closed by compare and set, and everybody is told."""
    ann, ben = await agent(connect_client), await agent(connect_client, "ben")
    name = {"sessionId": "shop", "chatId": ALICE}
    answer = await ann.call("assign_chat", {**name, "assignee": {"id": "ann", "name": "Ann"}})
    assert answer["error"]["code"] == "forbidden"
    await site.post("shop", message("hello?", ALICE))
    mine = {"id": "ann", "name": "Ann"}
    answer = await ann.ask("assign_chat", **name, assignee=mine, expected=None)
    assert answer["chat"]["assignee"] == mine
    refused = await ben.call("assign_chat", {**name, "assignee": {"id": "ben"}, "expected": None})
    assert refused["error"]["code"] == "conflict"
    assert refused["error"]["details"]["chat"]["assignee"] == mine
    answer = await ben.ask("set_chat_state", **name, state="closed")
    assert answer["chat"]["state"] == "closed"
    await site.post("shop", message("and?", ALICE))
    await ben.wait_for(lambda me: len(me.seqs()) == 4)
    chat = ben.durable()[-1]["chat"]
    assert (chat["state"], chat["assignee"]) == ("open", mine)
    assert ann.durable() == ben.durable()


# several servers


async def test_a_bot_on_another_server(processes: Callable[..., Awaitable[Process]], bots: Bots) -> None:
    """What one server stores goes to a bot of another one at once; the agent sees it sent."""
    one, two = await asyncio.gather(processes(), processes())
    bot = await bots(two.site)
    ann = await ann_at(one)
    for number in range(5):
        stored = (await ann.ask("send_message", **text(f"c{number}", str(number))))["message"]
        await reaches(ann, stored["messageId"], "sent")
    assert bot.words() == list("01234")
    await ann.close()


async def test_a_stopping_server_leaves_nothing_behind(
    processes: Callable[..., Awaitable[Process]], bots: Bots
) -> None:
    """A server that is stopped waits for what it is delivering; what it had not begun, others deliver."""
    one, two = await asyncio.gather(processes(), processes())
    bot = await bots(one.site)
    bot.hold = asyncio.Event()
    ann = await ann_at(two)
    first = (await ann.ask("send_message", **text("c1", "one")))["message"]
    second = (await ann.ask("send_message", **text("c2", "two")))["message"]
    await bot.wait_for(lambda me: bot.delivered)
    stopping = asyncio.create_task(one.stop())
    other = await bots(two.site)
    bot.hold.set()
    await reaches(ann, first["messageId"], "sent")
    await reaches(ann, second["messageId"], "sent")
    assert bot.words() + other.words() == ["one", "two"]
    assert await stopping == 0
    await ann.close()


async def test_the_command_line_lists_and_retries(
    site: Site, connect_client: Connect, bots: Bots, mongodb_uri: str, database: str
) -> None:
    """`deliveries` lists what waits and what has failed; --retry delivers that again."""

    where = {"MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": database, "AUTH_SECRET": SECRET}
    run = functools.partial(command, "deliveries", "--session", "shop", **where)

    bot, ann = await bots(), await agent(connect_client)
    error = {"code": "odd", "title": "Odd."}
    bot.answer = lambda order: {"ok": False, "error": error, "retry": order["message"]["text"] == "waits"}
    failed = (await ann.ask("send_message", **text("c1", "fails")))["message"]["messageId"]
    waits = (await ann.ask("send_message", **text("c2", "waits")))["message"]["messageId"]
    await reaches(ann, failed, "failed")
    await bot.wait_for(lambda me: "waits" in bot.words())
    await bot.close()
    code, out, err = await run()
    assert (code, err) == (0, "deliveries 1\n")
    assert out.startswith(f"{waits} to {ALICE}: ")
    code, out, err = await run("--failed", "--retry")
    assert (code, err) == (0, "deliveries 1, to be delivered again 1\n")
    assert out == f"{failed} to {ALICE}: failed, attempts 1: odd (Odd.)\n"
    await bots()
    await reaches(ann, failed, "sent")
    await reaches(ann, waits, "sent")
    assert (await run("--failed"))[1:] == ("", "deliveries 0\n")
    assert (await run("--retry"))[0] == 2


async def test_figures(site: Site, connect_client: Connect, bots: Bots) -> None:
    """The metrics show deliveries, their duration, and failures by reason."""
    bot, ann = await bots(), await agent(connect_client)
    bot.answer = lambda order: {"ok": order["message"]["text"] == "yes", "error": {"code": "strange", "title": ""}}
    for number, words in enumerate(("yes", "no")):
        stored = (await ann.ask("send_message", **text(f"c{number}", words)))["message"]
        await reaches(ann, stored["messageId"], "sent" if words == "yes" else "failed")
    told = (await site.request("GET", "/metrics")).body.decode()
    for line in (
        "roomcast_delivered_total 1.0",
        'roomcast_deliveries_failed_total{reason="other"} 1.0',
        "roomcast_deliveries_under_way 0.0",
        "roomcast_delivery_seconds_count 1.0",
        "roomcast_deliveries_due 0.0",
    ):
        assert line in told.splitlines(), line


async def test_a_stopping_server_takes_a_message_from_a_silent_bot(
    processes: Callable[..., Awaitable[Process]], bots: Bots
) -> None:
    """A server that stops does not wait for a bot that is silent: another server's bot has the message at once."""
    one, two = await asyncio.gather(processes(), processes())
    silent = await bots(one.site)
    silent.hold = asyncio.Event()
    ann = await ann_at(two)
    stored = (await ann.ask("send_message", **text("c1")))["message"]
    await silent.wait_for(lambda me: silent.delivered)
    other = await bots(two.site)
    assert await one.stop() == 0
    await reaches(ann, stored["messageId"], "sent")
    assert [order["deliveryId"] for order in other.delivered] == [silent.delivered[0]["deliveryId"]]
    silent.hold.set()
    await ann.close()


async def test_quick_replies(site: Site) -> None:
    """A session's quick replies are replaced as a list; what is not valid changes nothing."""
    path = "/api/v1/sessions/shop/quick-replies"
    reader, writer = mint("shop", scopes=("read",)), mint("shop", scopes=("write",))
    assert (await site.get(path, token=reader)).body == {"ok": True, "data": []}
    replies = [{"shortcut": "thanks", "text": "Thank you, {name}!"}, {"shortcut": "早", "text": "早安"}]
    answer = await site.request("PUT", path, token=writer, json=replies)
    assert (answer.status, answer.body["data"]) == (200, replies)
    for wrong in (
        {"shortcut": "a", "text": "b"},
        [{"shortcut": "a"}],
        [{"shortcut": "a b", "text": "c"}],
        [{"shortcut": "/a", "text": "c"}],
        [{"shortcut": "a", "text": ""}],
        [{"shortcut": "a", "text": "b"}, {"shortcut": "a", "text": "c"}],
        [{"shortcut": "a", "text": "b", "more": 1}],
        [{"shortcut": f"a{n}", "text": "b"} for n in range(201)],
    ):
        answer = await site.request("PUT", path, token=writer, json=wrong)
        assert (answer.status, answer.body["code"]) == (422, "invalid"), wrong
    assert (await site.request("PUT", path, token=reader, json=[])).status == 404
    assert (await site.get(path, token=mint("other", scopes=("read",)))).status == 404
    assert (await site.get(path, token=reader)).body["data"] == replies


async def test_one_client_id_in_two_sessions(connect_client: Connect, site: Site) -> None:
    """A clientId is one of its session: what waits in several sessions is delivered where it belongs."""
    ann = await connect_client(mint(scopes=AGENT, sub="ann"))
    for session in ("one", "two"):
        await ann.subscribe(session)
        await ann.ask("send_message", **(text("c1", f"to {session}") | {"sessionId": session}))
    bot = Bot(site)
    await bot.connect(mint(scopes=("deliver",), sub="bot"))
    served = await asyncio.gather(*(bot.ask("serve", sessionId=session) for session in ("one", "two")))
    assert served == [{}, {}]
    await bot.wait_for(lambda me: len(bot.delivered) == 2)
    assert {order["sessionId"]: order["message"]["text"] for order in bot.delivered} == {
        "one": "to one",
        "two": "to two",
    }
    assert len({order["deliveryId"] for order in bot.delivered}) == 2
    await bot.close()


async def test_retries_keep_their_times(processes: Callable[..., Awaitable[Process]], bots: Bots, store: Store) -> None:
    """Whoever of two servers takes it, a message that waits for its next attempt is not tried early, also while copies
    wait for it."""
    one, two = await asyncio.gather(processes(), processes())
    ann = await Client(one.site).connect(mint("shop", scopes=AGENT, sub="ann"))
    busy = [await bots(server.site) for server in (one, two)]
    for bot in busy:
        bot.answer = lambda order: {"ok": False, "retry": True, "error": {"code": "busy", "title": "Busy."}}
    await ann.ask("send_message", **text("c1"))
    for number in range(2):  # phone messages, each of which might be the copy
        await one.site.post("shop", message(f"{number}", ALICE, messageId=f"phone-{number}", fromMe=True))
        await until(lambda number=number: sum(len(bot.delivered) for bot in busy) > number)
    (delivery,) = await store.ask(of_session, "shop", failed=False, limit=9)
    assert (delivery.attempt, len(delivery.held)) == (2, 2)
    assert sum(len(bot.delivered) for bot in busy) == 2
    await ann.close()
