"""config/nginx.conf and config/haproxy.cfg in front of two servers, over TLS, with real clients."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import socketio

from tests.config.deployment import Deploy, Deployment
from tests.config.proxies import Certificate, put
from tests.stock import stock_client
from tests.support import PATIENCE, Site, message, mint

RATE = 200
"""Messages a second during a rolling restart."""
MEBIBYTE = 2**20


# Clients


class Python:
    """python-socketio's client, as it comes, over an HTTP client of its own."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.seqs: asyncio.Queue[int] = asyncio.Queue()
        self.client = socketio.AsyncClient(http_session=http, reconnection_delay=0.1, reconnection_delay_max=0.5)
        self.client.on("new_message", self._take)

    async def _take(self, event: dict[str, Any]) -> None:
        self.seqs.put_nowait(event["seq"])

    async def open(self, url: str, transports: list[str]) -> None:
        headers = {"Origin": url}
        await self.client.connect(
            url, headers=headers, auth={"token": mint()}, transports=transports, wait_timeout=PATIENCE
        )
        answer = await self.client.call("subscribe", {"sessionId": "shop"}, timeout=PATIENCE)
        assert answer["ok"], answer

    async def has(self, seq: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.seqs.get() < seq:
                pass

    async def close(self) -> None:
        await self.client.disconnect()
        await self.client.shutdown()


TRANSPORTS = (["websocket"], ["polling"], ["polling", "websocket"])


async def test_python_and_javascript(deploy: Deploy, certificate: Certificate) -> None:
    """WebSocket, polling and the upgrade, on a port of its own and under the name on the default port: each client
    gets what either server stored. Pages of the proxy's origins are the server's own."""
    deployment = await deploy()
    ca = certificate.certificate.read_text()
    posted = 0
    for url in (deployment.front.url, deployment.front.public):
        async with contextlib.AsyncExitStack() as stack:
            pythons: list[Python] = []
            for transports in TRANSPORTS:
                python = Python(await deployment.client())
                stack.push_async_callback(python.close)
                await python.open(url, transports)
                pythons.append(python)
            stocks = [await stack.enter_async_context(stock_client()) for _ in TRANSPORTS]
            for stock, transports in zip(stocks, TRANSPORTS, strict=True):
                more: dict[str, Any] = {"ca": ca, "extraHeaders": {"Origin": url}, "transports": transports}
                if url == deployment.front.public:
                    more["at"] = deployment.front.port
                await stock.open(Site(url, deployment.http), **more)
                await stock.ask("subscribe", sessionId="shop")
            for server in deployment.servers:
                assert (await server.site.post("shop", message())).status == 200
                posted += 1
            for python in pythons:
                await python.has(posted)
            for stock in stocks:
                await stock.has(posted - 1, posted)
            assert [python.client.transport() for python in pythons] == ["websocket", "polling", "websocket"]
            for stock, transports in zip(stocks, TRANSPORTS, strict=True):
                await stock.transport(transports[-1])


async def test_polls_come_back_to_their_server(deploy: Deploy) -> None:
    """Polling clients of many addresses, each at the server that it began with; both servers have some."""
    deployment = await deploy()
    served = []
    for number in range(2, 10):
        http = await deployment.client(f"127.0.0.{number}")
        site = Site(deployment.front.url, http)
        opened = await site.request("GET", "/socket.io/?EIO=4&transport=polling")
        path = f"/socket.io/?EIO=4&transport=polling&sid={json.loads(opened.body[1:])['sid']}"
        for packet in ("40" + json.dumps({"token": mint()}), '42["nothing"]', '42["nothing"]'):
            told = await site.request("POST", path, data=packet)
            assert (told.status, told.body) == (200, b"ok")
        for process in deployment.servers:
            if (await process.site.request("POST", path, data='42["nothing"]')).status == 200:
                served.append(process)
    assert len(served) == 8
    assert {id(process) for process in served} == {id(process) for process in deployment.servers}


async def test_addresses_are_the_clients(deploy: Deploy) -> None:
    """Limits for each address hold for the clients' own: one that is at its limit, whatever it says in
    X-Forwarded-For, is refused, and another is not."""
    deployment = await deploy(count=1, MAX_UNAUTHENTICATED_PER_ADDRESS="2")
    first, second = [Site(deployment.front.url, await deployment.client(f"127.0.0.{n}")) for n in (2, 3)]
    path = "/socket.io/?EIO=4&transport=polling"
    claims: list[dict[str, str]] = [{}, {"X-Forwarded-For": "203.0.113.7"}, {"X-Forwarded-For": "203.0.113.8"}]
    statuses = [(await first.request("GET", path, headers=claim)).status for claim in claims]
    assert statuses == [200, 200, 429]
    assert (await second.request("GET", path)).status == 200


async def test_what_else_the_proxies_do(deploy: Deploy, certificate: Certificate) -> None:
    """A body of 16 MB comes through and a larger one is refused; /metrics is hidden; browsers are sent to https, and
    told to stay there; an upgrade with no server behind it is a 502 or 503."""
    deployment = await deploy()
    http = await deployment.client()
    site = Site(deployment.front.url, http)
    empty = json.dumps({"event": "messages.update", "data": []}).encode()
    assert await _body(site, empty.ljust(16 * MEBIBYTE)) == 200
    assert await _body(site, empty.ljust(16 * MEBIBYTE + 1)) in (413, None)
    assert (await site.request("GET", "/metrics")).status == 404
    assert (await deployment.servers[0].site.request("GET", "/metrics")).status == 200
    page = await site.request("GET", "/healthz")
    assert page.headers["Strict-Transport-Security"] == "max-age=31536000"
    plain = f"http://127.0.0.1:{deployment.front.plain_port}/x?y=1"
    async with http.get(plain, headers={"Host": "chat.example.com"}, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, "https://chat.example.com/x?y=1")
    for server in deployment.servers:
        await server.kill()
    assert (await site.request("GET", "/healthz")).status in (502, 503)


async def _body(site: Site, body: bytes) -> int | None:
    """The status; None where the connection was closed before all was sent."""
    headers = {"Authorization": f"Bearer {mint()}", "Content-Type": "application/json"}
    try:
        async with site.http.post(f"{site.url}/webhook/shop/baileys", data=io.BytesIO(body), headers=headers) as answer:
            return answer.status
    except aiohttp.ClientOSError:
        return None


async def test_silence(deploy: Deploy, kind: str) -> None:
    """A connection on which nothing happens is kept, by heartbeats, for longer than the proxy's time limits."""

    def quicker(text: str) -> str:
        if kind == "nginx":
            return put(text, ("proxy_read_timeout 75s", "proxy_read_timeout 2s"))
        return put(text, ("timeout client 75s", "timeout client 2s"), ("timeout server 75s", "timeout server 2s"))

    deployment = await deploy(edit=quicker, PING_INTERVAL="0.5", PING_TIMEOUT="1")
    await _keeps(deployment, 4)


@pytest.mark.long
async def test_100_seconds_of_silence(deploy: Deploy) -> None:
    """The same with the files of config/ and the server's heartbeats as they are."""
    await _keeps(await deploy(), 100)


async def _keeps(deployment: Deployment, seconds: float) -> None:
    clients = [Python(await deployment.client()) for _ in range(2)]
    gone: list[str] = []
    for client, transport in zip(clients, ("websocket", "polling"), strict=True):
        await client.open(deployment.front.url, [transport])
        client.client.on("disconnect", lambda *reason: gone.append(str(reason)))
    await asyncio.sleep(seconds)
    assert gone == []
    assert (await deployment.servers[0].site.post("shop", message())).status == 200
    for client in clients:
        await client.has(1)
        await client.close()


# Restarts


@dataclass
class Stream:
    """Posts messages at a rate, each once, whether or not the ones before are answered."""

    site: Site
    name: str
    rate: float
    answers: dict[str, int]
    failures: list[str]
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            task = asyncio.create_task(self._post(f"{self.name}-{number}"))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            number += 1
            await asyncio.sleep(1 / self.rate)
        await asyncio.gather(*self._under_way)

    async def _post(self, name: str) -> None:
        try:
            answer = await self.site.post("shop", message(name, "a", messageId=name))
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failures.append(f"{name}: {error!r}")
            return
        if answer.status == 200 and not answer.results[0]["duplicate"]:
            self.answers[name] = answer.results[0]["seq"]
        else:
            self.failures.append(f"{name}: {answer}")


async def test_rolling_restart(deploy: Deploy) -> None:
    """Under 200 messages a second both servers are restarted, one after the other: every request is answered 200, at
    the first attempt, every message is stored once, and a client of each transport gets them all."""
    deployment = await deploy()
    failures: list[str] = []
    answers: dict[str, int] = {}
    addresses = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")  # of several, so that both servers have some
    streams = [
        Stream(Site(deployment.front.url, await deployment.client(address)), address, RATE / 4, answers, failures)
        for address in addresses
    ]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(stream.run(stop)) for stream in streams]
    for number in range(2):
        before = len(answers)
        while len(answers) + len(failures) < before + RATE:
            await asyncio.sleep(0.01)
        await deployment.restart(number)
    stop.set()
    await asyncio.gather(*tasks)
    assert failures == []
    assert sorted(answers.values()) == list(range(1, len(answers) + 1))
    assert await deployment.servers[0].site.seq("shop") == len(answers)
