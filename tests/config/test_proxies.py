"""config/nginx.conf and config/haproxy.cfg in front of two servers, over TLS, with real clients."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.config.proxies import KINDS, Certificate, free_ports, front, missing
from tests.support import PATIENCE, Site, message, serve

RATE = 200
"""Messages a second during a rolling restart."""


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    why = missing(request.param)
    if why:
        pytest.skip(why)
    return str(request.param)


@contextlib.asynccontextmanager
async def trusting(certificate: Certificate, address: str = "127.0.0.1") -> AsyncIterator[aiohttp.ClientSession]:
    """HTTP from an address of this machine, trusting the certificate."""
    connector = aiohttp.TCPConnector(ssl=certificate.context(), local_addr=(address, 0), limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


@dataclass
class Stream:
    """Posts messages one after the other, at a rate, each once; every answer must be 200."""

    site: Site
    name: str
    rate: float
    answers: dict[str, int]
    failures: list[str]
    _under_way: set[asyncio.Task[None]]

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


async def _ready(site: Site) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await site.request("GET", "/readyz")).status != 200:
            await asyncio.sleep(0.02)


async def test_rolling_restart(
    kind: str, certificate: Certificate, tmp_path: Path, http: aiohttp.ClientSession, mongodb_uri: str, database: str
) -> None:
    """Under 200 messages a second both servers are restarted, one after the other: every request is answered 200, at
    the first attempt, and every message is stored once."""
    ports = free_ports(2)
    environ = {"MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": database, "TRUSTED_PROXIES": "127.0.0.1"}
    failures: list[str] = []
    answers: dict[str, int] = {}
    async with contextlib.AsyncExitStack() as stack:
        running = [await stack.enter_async_context(serve(http, port=port, **environ)) for port in ports]
        proxy = await stack.enter_async_context(front(kind, tmp_path, ports, certificate))
        # Clients of several addresses, so that both servers have some.
        sessions = [
            await stack.enter_async_context(trusting(certificate, address))
            for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
        ]
        streams = [
            Stream(Site(proxy.url, session), f"s{n}", RATE / len(sessions), answers, failures, set())
            for n, session in enumerate(sessions)
        ]
        stop = asyncio.Event()
        tasks = [asyncio.create_task(stream.run(stop)) for stream in streams]
        for number, process in enumerate(running):
            before = len(answers)
            while len(answers) + len(failures) < before + RATE:
                await asyncio.sleep(0.01)
            assert await process.stop() == 0
            running[number] = await stack.enter_async_context(serve(http, port=ports[number], **environ))
            await _ready(running[number].site)
        stop.set()
        await asyncio.gather(*tasks)
        assert failures == []
        assert sorted(answers.values()) == list(range(1, len(answers) + 1))
        assert await running[0].site.seq("shop") == len(answers)
