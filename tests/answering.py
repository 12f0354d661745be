"""Agents, bots and stand-ins for providers, for the tests of answering."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support import Client, Site, mint

ALICE = "85291234567@s.whatsapp.net"


def text(client_id: str, words: str = "yes", **more: Any) -> dict[str, Any]:
    return {"sessionId": "shop", "chatId": ALICE, "clientId": client_id, "text": words, **more}


def states(client: Client, message_id: str) -> list[str]:
    """The statuses of a message that the client received."""
    events = [event["message"] for event in client.durable() if "message" in event]
    return [one["status"] for one in events if one["messageId"] == message_id]


async def reaches(client: Client, message_id: str, status: str) -> dict[str, Any]:
    """Wait until the message has had this status. Returns the last received message."""
    await client.wait_for(lambda me: status in states(me, message_id))
    return next(
        event["message"]
        for event in reversed(client.durable())
        if event.get("message", {}).get("messageId") == message_id
    )


class Bot(Client):
    """A bot that acknowledges with `answer(order)`, after `hold` is set."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.delivered: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], Any] = lambda order: {"ok": True}
        self.hold: asyncio.Event | None = None
        self._sio.on("deliver", self._deliver)

    async def _deliver(self, order: dict[str, Any]) -> Any:
        self.delivered.append(order)
        self._news.set()
        if self.hold is not None:
            await self.hold.wait()
        return self.answer(order)

    async def serve(self, session: str = "shop") -> Bot:
        await self.connect(mint(session, scopes=("deliver", "ingest"), sub="bot"))
        assert await self.ask("serve", sessionId=session) == {}
        return self

    def words(self) -> list[str]:
        return [order["message"]["text"] for order in self.delivered]


@dataclass(frozen=True)
class Request:
    """A request received by a provider."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


HANG_UP = "hang up"


@dataclass
class Provider:
    """A stand-in for a provider. `answer` returns the answer to each request: (status, JSON) or HANG_UP."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], Any] = lambda request: (200, {})
    news: asyncio.Event = field(default_factory=asyncio.Event)
    headers: dict[str, str] = field(default_factory=dict)
    """Of the answers."""
    runner: web.AppRunner | None = None
    site: web.TCPSite | None = None

    async def open(self) -> None:
        """Take connections, after `close` on the same port."""
        assert self.runner is not None
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self.site = web.TCPSite(self.runner, "127.0.0.1", port, reuse_address=True)
        await self.site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def close(self) -> None:
        """Take no more connections: the provider is away."""
        assert self.site is not None
        await self.site.stop()

    async def take(self, request: web.Request) -> web.StreamResponse:
        taken = Request(request.path, dict(request.headers), await request.read())
        self.requests.append(taken)
        self.news.set()
        answer = self.answer(taken)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer == HANG_UP:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, body = answer
        return web.json_response(body, status=status, headers=self.headers)


@contextlib.asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    stand_in = Provider()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stand_in.take)
    stand_in.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await stand_in.runner.setup()
    try:
        await stand_in.open()
        yield stand_in
    finally:
        await stand_in.runner.cleanup()
