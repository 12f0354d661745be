"""Catching up from a position: everything, in order, once, or nothing. Every stream is compared with the log."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from app.application import METRICS, assemble
from app.settings import Settings
from app.storage.mongo import Store
from tests.support import TOKENS, Client, Site, message, mint, until

RunApp = Callable[[web.Application], Awaitable[Site]]


async def fill(site: Site, count: int, *chats: str, session: str = "shop") -> None:
    """Store `count` messages, in the chats in turn."""
    chats = chats or ("a",)
    numbers = range(count)
    for start in range(0, count, 500):
        several = [message(f"text {n}", chats[n % len(chats)]) for n in numbers[start : start + 500]]
        assert (await site.post(session, {"messages": several})).status == 200


async def epoch_of(site: Site) -> str:
    return (await site.get("/api/v1/sessions/shop/chats")).body["position"]["epoch"]  # type: ignore[no-any-return]


async def log(store: Store, after: int = 0, chats: set[str] | None = None) -> list[dict[str, Any]]:
    """The log as a client would have it."""
    upto = await store.seq("shop")
    events = await store.read_events("shop", after, upto, 100_000, chats)
    return [{"event": event.event, **event.data} for event in events]


async def subscribe_exactly(client: Client, more: dict[str, Any]) -> int:
    """Subscribe to `shop`; how many durable events were here when the answer came."""
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def take(answer: Any) -> None:
        assert answer["ok"], answer
        answered.set_result(len(client.durable()))

    await client.emit("subscribe", {"sessionId": "shop"} | more, take)
    async with asyncio.timeout(15):
        return await answered


@pytest.mark.parametrize("missed", [0, 1, 99, 100, 101, 350])
async def test_missed(site: Site, store: Store, connect_client: Any, missed: int) -> None:
    """A client gets exactly the events it missed (none, one or many), as they were sent, and then the live ones."""
    await fill(site, 400)
    client: Client = await connect_client()
    position = {"epoch": await epoch_of(site), "seq": 400 - missed}
    answer = await client.subscribe("shop", position=position)
    assert answer == {"position": {"epoch": position["epoch"], "seq": 400}, "recovered": True}
    await site.post("shop", message("live"))
    await client.has(*range(401 - missed, 402))
    assert client.durable() == await log(store, 400 - missed)


async def test_caught_up_is_the_same_as_live(site: Site, connect_client: Any) -> None:
    """For every kind of event, a client that caught up has the same as one that was live."""
    live: Client = await connect_client()
    epoch = (await live.subscribe("shop"))["position"]["epoch"]
    media = {"url": "https://example.com/a.jpg", "mimeType": "image/jpeg", "size": 1, "durationSeconds": 1.5}
    await site.post("shop", message("é ‮ <b>\x00 👪", media=media, replyTo={"messageId": "m0"}, chatName="N"))
    stub = {"key": {"remoteJid": "a@s.whatsapp.net", "fromMe": False, "id": "s1"}, "messageTimestamp": 1770379440}
    for entry in (stub | {"messageStubType": 2}, stub | {"message": {"conversation": "now"}}):
        await site.post("shop", {"event": "messages.upsert", "data": {"messages": [entry]}}, source="baileys")
    await live.ask("mark_read", sessionId="shop", chatId="a@s.whatsapp.net", seq=2)
    await live.has(1, 2, 3, 4)
    late: Client = await connect_client(transport="polling")
    await late.subscribe("shop", position={"epoch": epoch, "seq": 0})
    await late.has(1, 2, 3, 4)
    assert late.durable() == live.durable()
    kinds = [event["event"] for event in late.durable()]
    assert kinds == ["new_message", "new_message", "message_updated", "chat_updated"]


async def test_how_many_at_most(settings: Settings, store: Store, run_app: RunApp, connect_client: Any) -> None:
    """RECOVERY_MAX_EVENTS are replayed; one more is not, and then none is: never a part."""
    site = await run_app(assemble(replace(settings, recovery_max_events=250), TOKENS, store))
    await fill(site, 300)
    epoch = await epoch_of(site)
    exactly: Client = await connect_client(to=site)
    over: Client = await connect_client(to=site)
    assert (await exactly.subscribe("shop", position={"epoch": epoch, "seq": 50}))["recovered"] is True
    answer = await over.subscribe("shop", position={"epoch": epoch, "seq": 49})
    assert answer == {"position": {"epoch": epoch, "seq": 300}, "recovered": False}
    await site.post("shop", message("live"))
    await exactly.has(*range(51, 302))
    await over.has(301)


@pytest.mark.parametrize("position", [{"epoch": "another", "seq": 5}, {"seq": 21}, {"seq": 2**53 - 1}])
async def test_positions_that_are_none_of_ours(site: Site, connect_client: Any, position: dict[str, Any]) -> None:
    """From another epoch, or a position not reached yet, nothing is replayed; the stream starts from the answer."""
    await fill(site, 20)
    epoch = await epoch_of(site)
    client: Client = await connect_client()
    answer = await client.subscribe("shop", position={"epoch": epoch} | position)
    assert answer == {"position": {"epoch": epoch, "seq": 20}, "recovered": False}
    await fill(site, 3)
    await client.fence()
    await client.has(21, 22, 23)


async def test_from_the_beginning(site: Site, connect_client: Any) -> None:
    """Position 0 is everything; of an empty session it is nothing, and that is recovered too."""
    epoch = await epoch_of(site)
    early: Client = await connect_client()
    answer = await early.subscribe("shop", position={"epoch": epoch, "seq": 0})
    assert answer == {"position": {"epoch": epoch, "seq": 0}, "recovered": True}
    await fill(site, 5)
    late: Client = await connect_client()
    assert (await late.subscribe("shop", position={"epoch": epoch, "seq": 0}))["recovered"] is True
    await early.has(1, 2, 3, 4, 5)
    await late.has(1, 2, 3, 4, 5)


async def test_older_than_what_is_kept(site: Site, store: Store, connect_client: Any) -> None:
    """Where the log is no longer whole nothing is replayed, from its start on, or from before a hole."""
    await fill(site, 30)
    epoch = await epoch_of(site)
    await store.events.delete_many({"sessionId": "shop", "seq": {"$lte": 10}})
    outcomes = {}
    for seq in (0, 9, 10, 11):
        client: Client = await connect_client()
        outcomes[seq] = (await client.subscribe("shop", position={"epoch": epoch, "seq": seq}))["recovered"]
        chat: Client = await connect_client()
        same = await chat.subscribe("shop", "a", position={"epoch": epoch, "seq": seq})
        assert same["recovered"] == outcomes[seq]
        await client.fence()
        if outcomes[seq]:
            await client.has(*range(seq + 1, 31))
            await chat.has(*range(seq + 1, 31))
        else:
            assert client.durable() == []
            assert chat.durable() == []
    assert outcomes == {0: False, 9: False, 10: True, 11: True}


async def test_answer_comes_first(site: Site, connect_client: Any) -> None:
    """The answer comes before the events that it brings, also in the middle of a burst."""
    await fill(site, 150)
    position = {"epoch": await epoch_of(site), "seq": 0}
    posting = asyncio.create_task(fill(site, 100))
    for chat in ({}, {"chatId": "a"}):
        for start in ({"position": position}, {}):
            client: Client = await connect_client()
            assert await subscribe_exactly(client, chat | start) == 0
    await posting


async def test_again_on_the_same_connection(app: web.Application, site: Site, connect_client: Any) -> None:
    """A position starts the stream anew for all that it holds, as often as one asks, even while it is catching up."""
    await fill(site, 300, "a", "b", "c")
    epoch = await epoch_of(site)
    client: Client = await connect_client()
    await client.subscribe("shop", "a")
    await client.subscribe("shop", "b", position={"epoch": epoch, "seq": 200})
    in_two = [seq for seq in range(201, 301) if seq % 3 != 0]
    await client.wait_for(lambda me: len(me.seqs()) >= len(in_two))
    assert client.seqs() == in_two
    client.events.clear()
    for start in (0, 100, 250):
        await client.subscribe("shop", position={"epoch": epoch, "seq": start})
    registry = app[METRICS].registry  # an earlier start may have come to 300 as well
    await until(lambda: registry.get_sample_value("roomcast_streams", {"state": "catching_up"}) == 0)
    await client.fence()
    assert client.seqs()[-50:] == list(range(251, 301))
    client.events.clear()
    await fill(site, 6, "a", "b", "c")
    await client.fence()
    await client.has(*range(301, 307))


async def test_second_chat_while_catching_up(site: Site, store: Store, connect_client: Any) -> None:
    """A chat added to a catching-up stream is in it from then on; the first one loses nothing."""
    await fill(site, 2000, "a", "b")
    epoch = await epoch_of(site)
    client: Client = await connect_client()
    await client.subscribe("shop", "a", position={"epoch": epoch, "seq": 0})
    added = (await client.subscribe("shop", "b"))["position"]["seq"]
    assert added == 2000
    await fill(site, 10, "a", "b", "c")
    wanted = [seq for seq in range(1, 2001) if seq % 2] + [
        event["seq"] for event in await log(store, 2000, {"a", "b"}) if event["seq"] > added
    ]
    await client.wait_for(lambda me: len(me.seqs()) >= len(wanted))
    await client.fence()
    assert client.seqs() == wanted


async def test_whole_session_added_and_taken_away(site: Site, connect_client: Any) -> None:
    """The session added to chats gives every number from then on; taken away, the chats go on without a hole."""
    await fill(site, 1000, "a", "b")
    epoch = await epoch_of(site)
    client: Client = await connect_client()
    await client.subscribe("shop", "a", position={"epoch": epoch, "seq": 0})
    assert (await client.subscribe("shop"))["position"]["seq"] == 1000
    await fill(site, 6, "a", "b", "c")
    expected = [*range(1, 1001, 2), *range(1001, 1007)]
    await client.has(*expected)
    await client.ask("unsubscribe", sessionId="shop")
    await fill(site, 6, "a", "b", "c")
    expected += [1007, 1010]
    await client.fence()
    await client.has(*expected)
    await client.ask("unsubscribe", sessionId="shop", chatId="a")
    await fill(site, 3, "a", "b", "c")
    await client.fence()
    await client.has(*expected)


async def test_unsubscribed_while_catching_up(site: Site, connect_client: Any) -> None:
    """After unsubscribe was answered nothing more comes."""
    await fill(site, 3000)
    client: Client = await connect_client()
    await client.subscribe("shop", position={"epoch": await epoch_of(site), "seq": 0})
    await client.ask("unsubscribe", sessionId="shop")
    had = client.seqs()
    assert had == list(range(1, len(had) + 1))
    await fill(site, 3)
    await client.fence()
    assert client.seqs() == had


async def test_position_ends_a_filtered_catch_up(site: Site, connect_client: Any) -> None:
    """When the last events were of other chats, `position` tells how far the stream has come."""
    await site.post("shop", message(chat="a"))
    await fill(site, 250, "b")
    epoch = await epoch_of(site)
    client: Client = await connect_client()
    await client.subscribe("shop", "a", position={"epoch": epoch, "seq": 0})
    await client.wait_for(lambda me: any(event == "position" for event, _ in me.events))
    assert client.seqs() == [1]
    expected = {"sessionId": "shop", "position": {"epoch": epoch, "seq": 251}}
    assert [data for event, data in client.events if event == "position"] == [expected]
    assert client.events[-1][0] == "position"
    again: Client = await connect_client()
    await again.subscribe("shop", "a", position=expected["position"])
    await again.fence()
    assert again.durable() == []


async def test_two_at_once(site: Site, connect_client: Any) -> None:
    """Two clients that catch up from different places at once each get their own."""
    await fill(site, 900)
    epoch = await epoch_of(site)
    one: Client = await connect_client()
    two: Client = await connect_client(transport="polling")
    await asyncio.gather(
        one.subscribe("shop", position={"epoch": epoch, "seq": 0}),
        two.subscribe("shop", position={"epoch": epoch, "seq": 450}),
        fill(site, 50),
    )
    await one.has(*range(1, 951))
    await two.has(*range(451, 951))


async def test_rights_end_a_catch_up(site: Site, connect_client: Any) -> None:
    """Rights that are lost while catching up end it: nothing comes after the answer."""
    await fill(site, 3000)
    client: Client = await connect_client(mint("shop"))
    await client.subscribe("shop", position={"epoch": await epoch_of(site), "seq": 0})
    await client.ask("authenticate", token=mint("other"))
    had = client.seqs()
    await fill(site, 3)
    await client.fence()
    assert client.seqs() == had
    assert len(had) < 3000


async def test_streams_end_equal_to_the_log(site: Site, store: Store, connect_client: Any) -> None:
    """While 200 messages a second come in, clients come from everywhere, go and come back: each ends as the log."""
    seed = random.randrange(1_000_000)
    print("seed", seed)
    chance = random.Random(seed)
    chats = ["a", "b", "c", "d"]
    await fill(site, 800, *chats)
    epoch = await epoch_of(site)
    posted = 0

    async def keep_posting() -> None:
        nonlocal posted
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while posted < 800:
            await asyncio.gather(*(site.post("shop", message(str(n), chance.choice(chats))) for n in range(10)))
            posted += 10
            await asyncio.sleep(max(0.0, begun + posted / 200 - loop.time()))

    async def follow(number: int, poster: asyncio.Task[None]) -> None:
        """Connect, read for a while, disconnect, and continue from the position, until everything is posted."""
        chance = random.Random(seed + number)
        wanted = None if number % 2 else set(chance.sample(chats, 2))
        start = seq = chance.randrange(800)
        got: list[dict[str, Any]] = []
        while True:
            client: Client = await connect_client(transport=chance.choice(["websocket", "websocket", "polling"]))
            for chat in wanted or ():
                await client.subscribe("shop", chat)
            one = {"chatId": chance.choice(sorted(wanted))} if wanted else {}
            # For all that the stream holds; what came of it before the answer is not counted.
            before = await subscribe_exactly(client, one | {"position": {"epoch": epoch, "seq": seq}})
            last_time = poster.done()
            if last_time:
                end = (await log(store, 0, wanted))[-1]["seq"]
                await client.wait_for(lambda me, end=end, before=before: end in me.seqs()[before:] or end == seq)  # noqa: B023
            else:
                enough = before + chance.randrange(1, 120)
                reader = asyncio.create_task(client.wait_for(lambda me, enough=enough: len(me.seqs()) >= enough))
                await asyncio.wait({reader, poster}, return_when=asyncio.FIRST_COMPLETED)
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
            await client.close()
            got += client.durable()[before:]
            seq = got[-1]["seq"] if got else start
            if last_time:
                break
        assert got == await log(store, start, wanted)

    poster = asyncio.create_task(keep_posting())
    await asyncio.gather(poster, *(follow(number, poster) for number in range(6)))
    assert await site.seq("shop") == 1600
