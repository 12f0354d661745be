"""Two servers on one database, behind a proxy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from tests.config.proxies import Front
from tests.support import PATIENCE, Process, serve


@dataclass
class Deployment:
    """Two servers on one database, behind a proxy."""

    front: Front
    ports: list[int]
    environ: dict[str, str]
    servers: list[Process]
    stack: contextlib.AsyncExitStack
    http: aiohttp.ClientSession
    """Of this machine, for the servers themselves."""

    async def client(self, address: str = "127.0.0.1") -> aiohttp.ClientSession:
        """An HTTP client of this address."""
        return await self.stack.enter_async_context(self.front.http(address))

    async def restart(self, number: int) -> None:
        assert await self.servers[number].stop() == 0
        self.servers[number] = await self.stack.enter_async_context(
            serve(self.http, port=self.ports[number], **self.environ)
        )
        async with asyncio.timeout(PATIENCE):
            while (await self.servers[number].site.request("GET", "/readyz")).status != 200:
                await asyncio.sleep(0.02)


Deploy = Callable[..., Awaitable[Deployment]]
