"""Faults while messages are sent: agents on both servers, a provider that misbehaves, a webhook and bots.

- S1: what was answered is delivered or has failed, and is seen to.
- S2: who knows a repeat by its id delivers once; others at least once, and twice only after a lease that ran out.
- S3: the messages of a chat are delivered in the order of their `seq`.
- S4: there is one message for each clientId, in each list and in the log, and the phone's messages are all there.
- S5: what was answered `conflict` was not sent.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import socketio

from tests.answering import HANG_UP, Bot, Provider, Request, provider
from tests.faults.mongods import HOST
from tests.faults.world import Round
from tests.support import Site, mint

KEY = "whsec_" + base64.b64encode(b"a key for the faults, of 32 bytes").decode()
AGENTS, SHORT_AGENTS = 20, 4
MESSAGES, SHORT_MESSAGES = 25, 6
"""Of each agent."""
CHATS = 8
"""Of each session."""
END_SECONDS = 240.0
"""How long after the fault the last message may take: all attempts but the last, and a lease."""
CALL_SECONDS = 3.0


class Agent:
    """Sends with a clientId and repeats until there is an answer, on either server."""

    def __init__(self, name: str, ports: list[int], sessions: list[str]) -> None:
        self.ports = ports
        self.token = mint(*sessions, scopes=("read", "send"), sub=name, lifetime=86_400)
        self.client: socketio.AsyncClient | None = None
        self.repeats = 0

    async def send(self, payload: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                if self.client is None or not self.client.connected:
                    await self._connect()
                assert self.client is not None
                answer = await self.client.call("send_message", payload, timeout=CALL_SECONDS)
                if answer["ok"] or answer["error"]["code"] == "conflict":
                    return answer  # type: ignore[no-any-return]
                assert answer["error"]["code"] in ("unavailable", "rate_limited"), answer
            except (socketio.exceptions.SocketIOError, aiohttp.ClientError, OSError, TimeoutError):
                await self.close()
            self.repeats += 1
            await asyncio.sleep(0.1)

    async def _connect(self) -> None:
        self.ports.reverse()
        self.client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        url = f"http://{HOST}:{self.ports[0]}"
        await self.client.connect(url, auth={"token": self.token}, transports=["websocket"], wait_timeout=CALL_SECONDS)

    async def close(self) -> None:
        if self.client is not None:
            with contextlib.suppress(Exception):
                await self.client.shutdown()
        self.client = None


class Answering:
    """One round."""

    def __init__(self, r: Round, stand_in: Provider) -> None:
        self.r, self.provider, self.random = r, stand_in, r.random
        self.evo, self.hook, self.bot_session = r.sessions
        self.agents: list[Agent] = []
        self.bots: list[Bot] = []
        self.delivered: list[tuple[str, str, str]] = []
        """(session, chat, clientId) of all that somebody took, in order; the clientId is the text."""
        self.ids: Counter[str] = Counter()
        """How often each delivery was taken by those who know it by its id."""
        self.answers: dict[str, dict[str, Any]] = {}
        self.conflicts: set[str] = set()
        self.phone: set[tuple[str, str]] = set()
        self.leases_may_end = False
        self.busy = 0.05
        """How often the provider and the webhook ask to try again."""
        self.sent = 0
        self._moved = asyncio.Event()
        self._echoes: list[asyncio.Task[None]] = []

    # the ways out

    def take(self, request: Request) -> Awaitable[Any]:
        return self._hook(request) if request.path == "/hook" else self._evolution(request)

    async def _evolution(self, request: Request) -> Any:
        session, chat, text = self.evo, request.body["number"] + "@s.whatsapp.net", request.body["text"]
        fate = self.random.random()
        if fate < 0.05:
            return 400, {"message": "something odd"}
        if fate < 0.05 + self.busy:
            return 503, {}
        self.delivered.append((session, chat, text))
        provider_id = f"EVO{len(self.delivered)}"
        echo = {"chatId": chat, "messageId": provider_id, "fromMe": True, "text": text}
        if fate < 0.3:
            await self._post(session, echo)
        elif fate < 0.8:
            self._echoes.append(asyncio.create_task(self._post_later(session, echo)))
        if fate < 0.15 or fate > 0.97:
            return HANG_UP
        if fate > 0.9:
            await asyncio.sleep(0.5)
        return 201, {"key": {"id": provider_id}}

    async def _hook(self, request: Request) -> Any:
        order = request.body["data"]
        name = request.headers["webhook-id"]
        fate = self.random.random()
        if fate < self.busy:
            return 503, {}
        self.ids[name] += 1
        if self.ids[name] == 1:  # a receiver remembers which it had
            self.delivered.append((self.hook, order["chatId"], order["message"]["text"]))
        if fate < 3 * self.busy:
            return HANG_UP
        return 200, {"messageId": order["message"]["messageId"]}

    async def add_bot(self, server: int, hold: asyncio.Event | None = None) -> Bot:
        bot = Bot(Site(f"http://{HOST}:{(await self.r.world.proxy(server, f'bot{len(self.bots)}')).port}", self.r.http))

        def answer(order: dict[str, Any]) -> dict[str, Any]:
            name = order["deliveryId"]
            self.ids[name] += 1
            if self.ids[name] == 1:  # whoever delivers by our id delivers once
                self.delivered.append((self.bot_session, order["chatId"], order["message"]["text"]))
            return {"ok": True}

        bot.answer, bot.hold = answer, hold
        self.bots.append(bot)
        for _ in range(50):
            with contextlib.suppress(Exception):
                await bot.serve(self.bot_session)
                return bot
            await asyncio.sleep(0.2)
        raise AssertionError("the bot cannot serve")

    async def _post_later(self, session: str, body: dict[str, Any]) -> None:
        await asyncio.sleep(self.random.uniform(0, 0.3))
        await self._post(session, body)

    async def _post(self, session: str, body: dict[str, Any]) -> None:
        """Until it is stored."""
        headers = {"Authorization": f"Bearer {mint(session, scopes=('ingest',))}"}
        for number in range(10_000):
            url = f"{self.r.world.servers[number % 2].url}/webhook/{session}"
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                timeout = aiohttp.ClientTimeout(total=5)
                async with self.r.http.post(url, json=body, headers=headers, timeout=timeout) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)

    # the load

    async def work(self) -> None:
        short = self.r.scale.short
        count, each = (SHORT_AGENTS, SHORT_MESSAGES) if short else (AGENTS, MESSAGES)
        self.total = count * each
        ports = [(await self.r.world.proxy(server, "agents")).port for server in (0, 1)]
        self.agents = [Agent(f"agent-{n}", ports[:: 1 if n % 2 else -1], self.r.sessions) for n in range(count)]
        await asyncio.gather(*(self._type(agent, number, each) for number, agent in enumerate(self.agents)))

    async def _type(self, agent: Agent, number: int, each: int) -> None:
        for n in range(each):
            session = self.r.sessions[(number + n) % 3]
            chat = f"1202555{self.random.randrange(CHATS):04}@s.whatsapp.net"
            client_id = f"c-{self.r.number}-{number}-{n}"
            payload: dict[str, Any] = {"sessionId": session, "chatId": chat, "clientId": client_id, "text": client_id}
            if self.random.random() < 0.2:
                payload["after"] = 0
            answer = await agent.send(payload)
            if answer["ok"]:
                self.answers[client_id] = answer["data"]["message"]
            else:
                self.conflicts.add(client_id)
            if self.random.random() < 0.1:
                name = f"phone-{client_id}"
                self.phone.add((session, name))
                body = {"chatId": chat, "messageId": name, "fromMe": True, "text": name}
                self._echoes.append(asyncio.create_task(self._post_later(session, body)))
            self.sent += 1
            self._moved.set()
            await asyncio.sleep(self.random.uniform(0, 0.05))

    async def reached(self, part: float) -> None:
        """Wait until this part of the messages has been answered."""
        async with asyncio.timeout(60):
            while self.sent < part * self.total:
                self._moved.clear()
                await self._moved.wait()

    # the end

    async def verify(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            stored = await self._stored()
            pending = [one for one in stored if one["status"] == "pending"]
            missing = self.phone - {(one["sessionId"], one["messageId"]) for one in stored}
            if not pending and not missing and all(echo.done() for echo in self._echoes):
                break
            if loop.time() - began > END_SECONDS:
                self.r.must(not pending, f"S1 {len(pending)} are still pending: {pending[:2]}")
                self.r.must(not missing, f"S4 messages of the phone are missing: {missing}")
                break
            await asyncio.sleep(0.2)
        self.r.figure("delivered or failed after (s)", loop.time() - began)
        await asyncio.gather(*self._echoes)
        stored = await self._stored()
        by_client: dict[str, list[dict[str, Any]]] = {}
        for one in stored:
            by_client.setdefault(one["clientId"], []).append(one)
        copies = [one for one in by_client.pop(None, []) if (one["sessionId"], one["messageId"]) not in self.phone]
        self.r.must(not copies, f"S4 copies of ours are messages of their own: {copies[:2]}")
        self.r.must(by_client.keys() == self.answers.keys(), "S1/S5 not what was answered is stored")
        self.r.must(not self.conflicts & {text for _, _, text in self.delivered}, "S5 a conflict was sent")
        takes = Counter(text for _, _, text in self.delivered)
        for client_id, found in by_client.items():
            self.r.must(len(found) == 1, f"S4 {client_id} is there {len(found)} times")
            self._judge(found[0], takes[client_id])
        self._judge_order(stored)
        await self._judge_log()
        self.r.counts["messages sent"] += len(self.answers)
        self.r.counts["conflicts"] += len(self.conflicts)
        self.r.counts["repeats by agents"] += sum(agent.repeats for agent in self.agents)
        self.r.counts["messages failed"] += sum(one["status"] == "failed" for one in stored)
        if self.r.violations:
            words = [line for server in self.r.world.servers for line in server.complaints()]
            raise AssertionError("\n".join([*self.r.violations[:20], *words[-20:]]))

    def _judge(self, message: dict[str, Any], takes: int) -> None:
        name, code = message["clientId"], (message["error"] or {}).get("code")
        if message["status"] != "failed":
            self.r.must(takes, f"S1 {name} is {message['status']}, and nobody took it")
        elif code != "unknown_outcome":
            self.r.must(not takes or self.leases_may_end, f"S1 {name} failed ({code}), and was taken")
        if takes > 1:
            self.r.must(self.leases_may_end, f"S2 {name} was taken {takes} times")
            self.r.counts["taken twice after a lease"] += 1

    def _judge_order(self, stored: list[dict[str, Any]]) -> None:
        seqs = {one["clientId"]: one["seq"] for one in stored}
        chats: dict[tuple[str, str], list[int]] = {}
        for session, chat, text in dict.fromkeys(self.delivered):
            if text in seqs:
                chats.setdefault((session, chat), []).append(seqs[text])
        for chat, order in chats.items():
            self.r.must(order == sorted(order), f"S3 {chat}: delivered in the order {order}")

    async def _judge_log(self) -> None:
        async with self.r.world.driver() as driver:
            query = {"sessionId": {"$in": self.r.sessions}, "event": "new_message"}
            events = driver[self.r.world.name].events.find(query, {"data.message.clientId": 1})
            shown = Counter([one["data"]["message"]["clientId"] async for one in events])
        del shown[None]
        self.r.must(all(count == 1 for count in shown.values()), "S4 a clientId has two bubbles in the log")

    async def _stored(self) -> list[dict[str, Any]]:
        async with self.r.world.driver() as driver:
            query = {"sessionId": {"$in": self.r.sessions}, "fromMe": True}
            return [one async for one in driver[self.r.world.name].messages.find(query)]


@contextlib.asynccontextmanager
async def answering(r: Round) -> AsyncIterator[Answering]:
    """A round with its ways out; both servers know the settings of its sessions."""
    async with provider() as stand_in:
        a = Answering(r, stand_in)
        stand_in.answer = a.take
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            settings = (
                f'[{a.evo}]\nsend.via = "evolution"\nsend.url = "{stand_in.url}"\nsend.key = "k"\nsend.instance = "i"\n'
                f'[{a.hook}]\nsend.via = "webhook"\nsend.url = "{stand_in.url}/hook"\nsend.key = "{KEY}"\n'
            )
            await asyncio.to_thread(Path(file.name).write_text, settings)
            r.world.environ["SESSIONS_FILE"] = file.name
            for server in r.world.servers:
                assert server.process is not None
                server.process.process.send_signal(signal.SIGKILL)
                await server.process.wait()
                await server.start()
            try:
                yield a
            finally:
                await asyncio.gather(*(one.close() for one in (*a.agents, *a.bots)), return_exceptions=True)


Fault = Callable[[Answering], Awaitable[None]]


async def play(r: Round, fault: Fault, *, bots: int = 1, leases: bool = False) -> None:
    """Agents work; in the midst of it the fault is done; in the end S1–S5 hold."""
    async with answering(r) as a:
        a.leases_may_end = leases
        for number in range(bots):
            await a.add_bot(number % 2)
        working = asyncio.create_task(a.work())
        try:
            while not a.agents:
                await asyncio.sleep(0.01)
            await a.reached(r.random.uniform(0.2, 0.6))
            await fault(a)
            async with asyncio.timeout(120):
                await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        await a.verify()


async def server_killed(a: Answering) -> None:
    server = a.random.choice(a.r.world.servers)
    await server.kill()
    bots = [bot for bot in a.bots if not bot.connected]
    await server.start()
    for _ in bots:
        await a.add_bot(server.number)


async def database_killed(a: Answering) -> None:
    mongod: Any = a.r.world.database.mongod  # type: ignore[union-attr]
    mongod.kill()
    await asyncio.sleep(2)
    mongod.start()
    await mongod.until_primary()


async def provider_away(a: Answering) -> None:
    a.busy = 0  # the attempts that are left after the outage are five minutes apart
    await a.provider.close()
    await asyncio.sleep(2 if a.r.scale.short else 60)
    await a.provider.open()


async def bot_killed(a: Answering) -> None:
    (bot,) = a.bots
    bot.hold = asyncio.Event()
    for proxy in [proxy for (_, group), proxy in a.r.world.proxies.items() if group.startswith("bot")]:
        proxy.drop(reset=True)
    await asyncio.sleep(0.5)
    bot.hold.set()
    await a.add_bot(1)


async def one_bot_killed(a: Answering) -> None:
    await asyncio.sleep(0.1)
    await a.bots[0].close()


async def network_cut(a: Answering) -> None:
    """Right after something was sent, again and again."""
    proxies = [proxy for (_, group), proxy in a.r.world.proxies.items() if group == "agents"]
    for n in range(4 if a.r.scale.short else 20):
        before = a.sent
        while a.sent == before and a.sent < a.total:
            await asyncio.sleep(0.001)
        proxies[n % 2].drop(reset=n % 4 < 2)
        await asyncio.sleep(a.random.uniform(0, 0.2))
