"""The lines about answering: from an agent's send_message to the hands of the bot that delivers it."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import socketio

from app.auth import SCOPES, Tokens
from tests.bench import servers, table
from tests.bench.lines import REFERENCE, US, Bench, alternating, percentile
from tests.bench.servers import SECRET, Process

SESSION = "shop"
AGENTS = 20
RATE = 20.0
CHATS = 200
PATIENCE = 20.0
UNLIMITED = {"EVENT_RATE": "100000", "EVENT_BURST": "100000", "MAX_WAITING_EVENTS": "10000"}
"""One connection stands for many agents."""


class Desk:
    """Agents and a bot, signed in at one server."""

    def __init__(self) -> None:
        self.agents: list[socketio.AsyncClient] = []
        self.arrived: dict[str, float] = {}
        """When each message came to the bot, by its text."""
        self.sent = 0

    @contextlib.asynccontextmanager
    async def at(self, server: Process, agents: int) -> AsyncIterator[Desk]:
        url = f"http://127.0.0.1:{server.port}"
        token = Tokens(SECRET).mint("desk", sessions=[SESSION], scopes=SCOPES, lifetime=86_400)
        clients = [socketio.AsyncClient(reconnection=False, handle_sigint=False) for _ in range(agents + 1)]
        try:
            for client in clients:
                await client.connect(url, auth={"token": token}, transports=["websocket"])
            *self.agents, bot = clients
            bot.on("deliver", self._deliver)
            answer = await bot.call("serve", {"sessionId": SESSION}, timeout=PATIENCE)
            assert answer["ok"], answer
            yield self
        finally:
            for client in clients:
                await client.shutdown()

    def _deliver(self, order: dict[str, Any]) -> dict[str, Any]:
        self.arrived[order["message"]["text"]] = time.monotonic()
        return {"ok": True}

    async def send(self, agent: socketio.AsyncClient) -> str:
        """Send one message; its text."""
        self.sent += 1
        text = f"message-{id(self)}-{self.sent}"
        payload = {"sessionId": SESSION, "chatId": f"{12025550100 + self.sent % CHATS}@s.whatsapp.net"}
        answer = await agent.call("send_message", payload | {"clientId": text, "text": text}, timeout=PATIENCE)
        assert answer["ok"], answer
        return text

    async def settle(self) -> None:
        """Wait until all that was sent has come to the bot."""
        deadline = time.monotonic() + PATIENCE
        while len(self.arrived) < self.sent and time.monotonic() < deadline:
            await asyncio.sleep(0.02)


async def answers(bench: Bench) -> None:
    """From send_message to the bot's hands, at a modest rate; against Node with socket.io and insertOne."""
    line = table.line(bench, "answers", agents=AGENTS, rate=RATE)
    seconds = bench.seconds(12.0, 2.0)
    pooled: dict[str, list[float]] = {US: [], REFERENCE: []}
    async with AsyncExitStack() as stack:
        peers = {
            US: await stack.enter_async_context(servers.application(bench.uri, bench.database(), **UNLIMITED)),
            REFERENCE: await stack.enter_async_context(servers.node_ingest(bench.uri, bench.database())),
        }
        desks = {name: await stack.enter_async_context(Desk().at(peers[name], AGENTS)) for name in peers}
        for number in range(bench.rounds):
            bench.say(f"{line.title}: round {number + 1} of {bench.rounds}")
            round_: dict[str, Any] = {}
            for name in alternating(number, list(peers)):
                delays = await _delays(desks[name], seconds)
                if len(delays) < int(seconds * RATE):
                    bench.problem(f"{line.title}, {name}: {len(delays)} messages arrived of {int(seconds * RATE)}")
                pooled[name] += delays
                round_[name] = 1000 * percentile(delays, 0.99)
            line.rounds.append(round_)
    line.more["all_rounds_ms"] = {
        name: {
            "median": 1000 * statistics.median(found),
            "p99": 1000 * percentile(found, 0.99),
            "most": 1000 * max(found),
            "messages": len(found),
        }
        for name, found in pooled.items()
    }


async def _delays(desk: Desk, seconds: float) -> list[float]:
    began = {}
    tasks: list[asyncio.Task[str]] = []
    start = time.monotonic()
    for number in range(int(seconds * RATE)):
        await asyncio.sleep(max(0.0, start + number / RATE - time.monotonic()))
        task = asyncio.create_task(desk.send(desk.agents[number % AGENTS]))
        began[task] = time.monotonic()
        tasks.append(task)
    texts = {await task: began[task] for task in tasks}
    await desk.settle()
    return [desk.arrived[text] - since for text, since in texts.items() if text in desk.arrived]


async def deliveries(bench: Bench) -> None:
    """Messages a second that are sent, delivered by a bot that takes them at once, and reported on."""
    line = table.line(bench, "deliveries", chats=CHATS)
    seconds = bench.seconds(5.0, 1.0)
    async with (
        servers.application(bench.uri, bench.database(), **UNLIMITED) as server,
        Desk().at(server, AGENTS) as desk,
    ):
        for number in range(bench.rounds):
            bench.say(f"{line.title}: round {number + 1} of {bench.rounds}")
            before, start, cpu = len(desk.arrived), time.monotonic(), server.cpu()
            until = start + seconds

            async def sender(agent: socketio.AsyncClient, until: float = until) -> None:
                while time.monotonic() < until:
                    await desk.send(agent)

            await asyncio.gather(*(sender(agent) for agent in desk.agents for _ in range(CHATS // AGENTS)))
            await desk.settle()
            spent = time.monotonic() - start
            count = len(desk.arrived) - before
            if len(desk.arrived) < desk.sent:
                bench.problem(f"{line.title}: {desk.sent - len(desk.arrived)} messages never came to the bot")
            line.rounds.append({US: count / spent, "cpu": {US: count / max(0.001, server.cpu() - cpu)}})
