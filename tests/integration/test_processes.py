"""Real server processes: several on one database, killed, stopped, started again."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.storage.mongo import Store
from tests.stock import Stock, stock_client
from tests.support import PATIENCE, SECRET, Client, Process, Site, message, serve

Start = Callable[..., Awaitable[Process]]


async def stored(site: Site, chat: str = "a") -> list[dict[str, Any]]:
    """All messages of the chat, in order."""
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["seq"] if found else 0
        page = await site.messages("shop", chat, f"&after={after}")
        if not page:
            return found
        found += page


async def test_the_same_message_to_two_servers(processes: Start, connect_client: Any) -> None:
    """The same message 20 times at once to two servers is one message, one seq, and 20 answers of 200."""
    one, two = await asyncio.gather(processes(), processes())
    client: Client = await connect_client(to=two.site)
    await client.subscribe("shop")
    for number in range(1, 4):
        same = message("again", "a", messageId=f"m{number}")
        sites = [one.site, two.site] * 10
        answers = await asyncio.gather(*(site.post("shop", same) for site in sites))
        results = [answer.results[0] for answer in answers]
        assert {result["seq"] for result in results} == {number}
        assert sum(not result["duplicate"] for result in results) == 1
    await client.has(1, 2, 3)
    await client.fence()
    await client.has(1, 2, 3)
    assert [m["messageId"] for m in await stored(one.site)] == ["m1", "m2", "m3"]


async def test_many_senders_to_two_servers(processes: Start, connect_client: Any) -> None:
    """200 messages from 8 senders at once to two servers: dense, answered with what is stored, and in order on both."""
    one, two = await asyncio.gather(processes(), processes())
    clients: list[Client] = [await connect_client(to=process.site) for process in (one, two)]
    for client in clients:
        await client.subscribe("shop")
    answered: dict[str, int] = {}

    async def sender(number: int) -> None:
        for part in range(25):
            name = f"{number}-{part}"
            (result,) = (await (one, two)[number % 2].site.post("shop", message(name, "a", messageId=name))).results
            assert not result["duplicate"]
            answered[name] = result["seq"]

    await asyncio.gather(*(sender(number) for number in range(8)))
    messages = await stored(one.site)
    assert [m["seq"] for m in messages] == list(range(1, 201))
    assert {m["messageId"]: m["seq"] for m in messages} == answered
    for client in clients:
        await client.has(*range(1, 201))
        assert [event["message"] for event in client.durable()] == messages


async def test_a_write_reaches_the_other_server(processes: Start, connect_client: Any) -> None:
    """What one server wrote is on the sockets of the other, marks included."""
    one, two = await asyncio.gather(processes(), processes())
    here: Client = await connect_client(to=one.site)
    there: Client = await connect_client(to=two.site)
    await here.subscribe("shop")
    await there.subscribe("shop", "a")
    await one.site.post("shop", message("warm up", "a"))
    await there.has(1)
    await one.site.post("shop", message("now", "a"))
    await there.has(1, 2)
    await there.ask("mark_read", sessionId="shop", chatId="a", seq=2)
    await here.has(1, 2, 3)
    await there.has(1, 2, 3)
    assert here.durable() == there.durable()


class Senders:
    """Post without end, and repeat what was not answered 200 until it is, wherever `site` is by then."""

    def __init__(self, site: Site, count: int = 8) -> None:
        self.site = site
        self.answered: dict[str, list[int]] = {}
        self._names = itertools.count(1)
        self._stop = False
        self._tasks = [asyncio.create_task(self._send()) for _ in range(count)]

    async def _send(self) -> None:
        while not self._stop:
            name = f"m{next(self._names)}"
            while True:
                try:
                    answer = await self.site.post("shop", message(name, "a", messageId=name))
                except (aiohttp.ClientError, ConnectionError):
                    await asyncio.sleep(0.02)
                    continue
                if answer.status == 200:
                    self.answered.setdefault(name, []).append(answer.results[0]["seq"])
                    break
                assert answer.status == 503, answer
                await asyncio.sleep(0.02)

    async def sent(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.answered) < count:
                await asyncio.sleep(0.005)

    async def finish(self) -> None:
        self._stop = True
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._tasks)

    async def check(self) -> None:
        """Everything that was answered 200 is there, once, under the number of its answer, and there is no hole."""
        messages = await stored(self.site)
        seqs = [m["seq"] for m in messages]
        assert seqs == list(range(1, len(seqs) + 1))
        names = [m["messageId"] for m in messages]
        assert len(names) == len(set(names))
        by_name = {m["messageId"]: m["seq"] for m in messages}
        for name, answers in self.answered.items():
            assert {by_name[name]} == set(answers)
        assert by_name.keys() == self.answered.keys(), "all were repeated until they were answered"


@pytest.mark.parametrize("database", ["shared", "private"])
async def test_killed_in_the_middle_of_ingest(
    http: aiohttp.ClientSession, mongodb_uri: str, database: str, tmp_path: Path
) -> None:
    """After kill -9 and a restart all that was answered is there once, and the first message is taken by its deadline,
    though the database would keep a killed server's transaction for longer."""
    if database == "private":
        environ = {"DATA_DIR": str(tmp_path), "AUTH_SECRET": SECRET}
    else:
        environ = {"MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": f"killed_{os.getpid()}_{time.time_ns()}"}
    async with serve(http, **environ) as first:
        senders = Senders(first.site)
        await senders.sent(150)
        await first.kill()
        async with serve(http, **environ) as second:
            before = len(senders.answered)
            senders.site = second.site
            (result,) = (await second.site.post("shop", message("new", "b", messageId="new"))).results
            assert not result["duplicate"]
            await senders.sent(before + 50)
            await senders.finish()
            b = await stored(second.site, "b")
            assert [m["messageId"] for m in b] == ["new"]
            everything = sorted([m["seq"] for m in await stored(second.site)] + [b[0]["seq"]])
            assert everything == list(range(1, len(everything) + 1))
            by_name = {m["messageId"]: m["seq"] for m in await stored(second.site)}
            assert by_name == {name: seqs[0] for name, seqs in senders.answered.items()}
            assert await second.stop() == 0


async def test_abandoned_transaction(processes: Start, connect_client: Any) -> None:
    """A server that freezes while it writes does not hold its session up until another's deadline."""
    frozen, other = await asyncio.gather(processes(), processes())
    senders = Senders(frozen.site, 4)
    await senders.sent(60)
    frozen.process.send_signal(signal.SIGSTOP)
    try:
        (result,) = (await other.site.post("shop", message("new", "b", messageId="new"))).results
        assert not result["duplicate"]
        senders.site = other.site
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    await senders.finish()
    messages = await stored(other.site)
    b = await stored(other.site, "b")
    everything = sorted(m["seq"] for m in [*messages, *b])
    assert everything == list(range(1, len(everything) + 1))
    assert {m["messageId"]: m["seq"] for m in messages} == {n: seqs[0] for n, seqs in senders.answered.items()}


async def test_stopped_under_load(http: aiohttp.ClientSession, mongodb_uri: str, database: str) -> None:
    """SIGTERM under load: gone within 10 s, code 0, nothing lost, and stock clients come back by themselves."""
    environ = {"MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": database}
    async with stock_client() as stock, stock_client() as polling:
        async with serve(http, **environ) as first:
            port = int(first.site.url.rpartition(":")[2])
            await stock.open(first.site)
            await polling.open(first.site, transports=["polling"])
            for client in (stock, polling):
                await client.ask("subscribe", sessionId="shop")
            senders = Senders(first.site)
            await senders.sent(100)
            begun = time.monotonic()
            assert await first.stop() == 0
            assert time.monotonic() - begun < 10
        async with serve(http, port=port, **environ) as second:
            senders.site = second.site
            for client in (stock, polling):
                await client.connects(2)
                await _catch_up(client, second.site)
            await senders.sent(len(senders.answered) + 50)
            await senders.finish()
            await senders.check()
            last = await second.site.seq("shop")
            for client in (stock, polling):
                await client.wait_for(lambda me: me.seqs()[-1:] == [last])
                assert client.seqs() == list(range(1, last + 1))
            assert await second.stop() == 0


async def _catch_up(client: Stock, site: Site) -> None:
    epoch = (await site.get("/api/v1/sessions/shop/chats")).body["position"]["epoch"]
    seq = client.seqs()[-1] if client.seqs() else 0
    assert (await client.ask("subscribe", sessionId="shop", position={"epoch": epoch, "seq": seq}))["recovered"]


async def test_stopped_with_nothing_to_do(processes: Start) -> None:
    """A quiet server ends well, by SIGINT too."""
    one, two = await asyncio.gather(processes(), processes())
    one.process.send_signal(signal.SIGINT)
    assert await asyncio.gather(one.wait(), two.stop()) == [0, 0]


async def test_a_merge_goes_on_after_its_server_was_killed(processes: Start, store: Store) -> None:
    """Another server that runs moves the rest of the messages; meanwhile and after it lists are whole."""
    one, two = await asyncio.gather(processes(), processes())
    for number in itertools.count():
        lid, known = f"7070{number}70@lid", f"8529123456{number}@s.whatsapp.net"
        for first in range(0, 3000, 500):
            body = {"messages": [message(str(n), lid, messageId=f"m{n}") for n in range(first, first + 500)]}
            assert (await one.site.post("shop", body)).status == 200
        assert (await one.site.post("shop", message("known", known))).status == 200
        assert (await one.site.post("shop", {"contacts": [{"id": known, "aliases": [lid]}]})).status == 200
        await one.kill()
        if await store.merging():
            break
        one = await processes()  # it was too quick
    async with asyncio.timeout(2 * PATIENCE):
        while await store.merging():
            first_page = await two.site.messages("shop", known, "&after=0")
            assert [m["messageId"] for m in first_page] == [f"m{n}" for n in range(200)]
            await asyncio.sleep(0.05)
    found = [m["messageId"] for m in await stored(two.site, known)]
    assert found[:3000] == [f"m{n}" for n in range(3000)]
    assert len(found) == 3001
    assert await store.messages.count_documents({"chatId": lid}) == 0
