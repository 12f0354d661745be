"""Two server processes on one database, proxies in front and behind, and a round's load, faults and checks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from pymongo import AsyncMongoClient
from pymongo.read_concern import ReadConcern

from tests.faults.fleet import KINDS, Fleet, Report
from tests.faults.ledger import Ledger, Truth
from tests.faults.lists import Part, Stored
from tests.faults.mongods import HOST, Driver, Single, Three
from tests.proxy import Proxy, Wire
from tests.support import SECRET, Process, mint, start

HEAL_SECONDS = 10.0
"""I4: how long after the repair every client has what was stored by then, and after the last message everything."""
LATER_SECONDS = 30.0
"""For the error message: whether messages that were late came at all."""
DAY = 86_400.0
# I6, of a process that has lived through the round.
TASKS_MORE = 2
DEFECTS = (
    *("catching_up_failed", "stream_left_behind", "events_missing_in_log", "log_not_read", "recovery_failed"),
    *("log_trimmed_while_catching_up", "connect_handler_failed", "event_handler_failed", "job_failed"),
)
"""Log events that only a bug, or a restored database, can cause."""
DESCRIPTORS_MORE = 40
"""The driver keeps up to 32 connections, whatever the clients do."""
MEMORY_MORE = 64 * 1024 * 1024
"""Allowed growth since the start of the process: the driver's caches, and freed memory kept by the allocator."""


@dataclass(frozen=True, slots=True)
class Scale:
    clients: int
    chats: int
    messages: int
    """To each chat."""
    short: bool = False


FULL = Scale(40, 20, 500)
SHORT = Scale(8, 4, 40, short=True)


@dataclass(frozen=True, slots=True)
class Footprint:
    tasks: int
    sockets: int
    """Of clients."""
    descriptors: int
    memory: int


class Server:
    """One of the servers, possibly several processes one after the other on the same port."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.port = 0
        self.process: Process | None = None
        self.lives: list[Process] = []
        self.fresh: Footprint | None = None
        """The footprint of the present process before its first client."""

    @property
    def url(self) -> str:
        """The address without proxies, for senders and checks."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.process.pid

    async def start(self) -> None:
        await self.hand_over(await self.launch(self.port))

    async def launch(self, port: int = 0) -> Process:
        """Start a process that receives no traffic yet."""
        self.lives.append(await start(self.world.http, port=port, **self.world.environ_of(self.number)))
        return self.lives[-1]

    async def hand_over(self, process: Process) -> None:
        """Direct senders and proxies to this process from now on."""
        self.process = process
        self.port = int(process.site.url.rpartition(":")[2])
        self.fresh = await self.footprint()
        for (number, _), proxy in self.world.proxies.items():
            if number == self.number:
                proxy.retarget(self.port)

    async def kill(self) -> None:
        assert self.process is not None
        await self.process.kill()

    def complaints(self) -> list[str]:
        """The last warnings and errors in its log."""
        assert self.process is not None
        return [line for line in self.process.log if '"level": "info"' not in line][-30:]

    async def metrics(self) -> dict[str, float]:
        # No connection of ours is kept alive: each would be a task of the server.
        async with self.world.http.get(
            f"{self.url}/metrics", headers={"Connection": "close"}, timeout=aiohttp.ClientTimeout(total=5)
        ) as response:
            text = await response.text()
        found = re.findall(r"^(roomcast_\w+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    async def connections(self) -> int:
        metrics = await self.metrics()
        return int(sum(value for name, value in metrics.items() if name.startswith("roomcast_connections{")))

    async def footprint(self) -> Footprint:
        metrics = await self.metrics()
        tasks = int(metrics["roomcast_tasks"])
        sockets = int(sum(value for name, value in metrics.items() if name.startswith("roomcast_connections{")))
        descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        status = Path(f"/proc/{self.pid}/status").read_text()  # noqa: ASYNC240
        memory = int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024  # type: ignore[union-attr]
        return Footprint(tasks, sockets, descriptors, memory)


class World:
    """Made by `world`."""

    def __init__(self, http: aiohttp.ClientSession, database: Single | Three, environ: dict[str, str]) -> None:
        self.http, self.database, self.environ = http, database, environ
        self.servers = [Server(self, 0), Server(self, 1)]
        self.proxies: dict[tuple[int, str], Proxy] = {}
        """Between clients and a server, by the server's number and the clients' group."""
        self.behind: dict[int, Proxy] = {}
        """Between a server and the database, where the row has asked for them."""
        self.name = "roomcast"
        self.rounds = itertools.count(1)
        self.own_environ: dict[int, dict[str, str]] = {}

    def environ_of(self, number: int) -> dict[str, str]:
        uri = self.database.uri
        if number in self.behind:
            user, _, _ = uri.rpartition("@")
            address = f"{HOST}:{self.behind[number].port}/?directConnection=true"
            uri = f"{user}@{address}&authSource=admin" if user else f"mongodb://{address}"
        base = {"MONGODB_URI": uri, "MONGODB_DATABASE": self.name, "AUTH_SECRET": SECRET, "LOG_LEVEL": "info"}
        return base | self.environ | self.own_environ.get(number, {})

    async def proxy(self, server: int, group: str = "") -> Proxy:
        key = server, group
        if key not in self.proxies:
            proxy = self.proxies[key] = await Proxy(HOST, self.servers[server].port).start()
            proxy.on_up = mark_socket
        return self.proxies[key]

    async def put_behind(self, number: int) -> None:
        """From its next start on, the server reaches the database through a proxy."""
        port = int(self.database.uri.rpartition("/")[0].rpartition(":")[2])
        proxy = self.behind[number] = await Proxy(HOST, port).start()
        proxy.on_up = mark_stream

    async def start_servers(self) -> None:
        await asyncio.gather(*(server.start() for server in self.servers))

    @contextlib.asynccontextmanager
    async def driver(self) -> AsyncIterator[Driver]:
        async with AsyncMongoClient[dict[str, Any]](self.database.uri, tz_aware=True, appname="faults") as driver:
            yield driver

    async def close(self) -> None:
        for process in (process for server in self.servers for process in server.lives):
            if process.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.process.send_signal(signal.SIGCONT)
                await process.kill()
        for proxy in (*self.proxies.values(), *self.behind.values()):
            await proxy.stop()


def mark_stream(wire: Wire, data: bytes) -> None:
    """Mark the connection on which an answer of the change stream is waited for: any of the pool may be next."""
    wire.marked = b"$changeStream" in data or b"getMore" in data


def mark_socket(wire: Wire, data: bytes) -> None:
    """Mark a Socket.IO connection; others are those of lists, which have no heartbeat."""
    if data.startswith(b"GET /socket.io/"):
        wire.marked = True


@dataclass
class Round:
    """One round of a row."""

    world: World
    fleet: Fleet
    scale: Scale
    seed: int
    figures: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.number = next(self.world.rounds)
        self.sessions = [f"s{self.number}-{letter}" for letter in "abc"]
        self.chats = [(self.sessions[(0, 1, 2, 0, 1)[n % 5]], f"chat-{n}") for n in range(self.scale.chats)]
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self.ledger = Ledger(self.http, mint(*self.sessions, scopes=("ingest",), lifetime=DAY))
        self.total = self.scale.chats * self.scale.messages
        self.healed_at = time.monotonic()
        self._catching_up: list[asyncio.Task[None]] = []
        self.truth: Truth | None = None
        self.open = asyncio.Event()
        """Set when the last messages may be sent, so that some come after the repair."""
        self.senders = [0, 1]
        """The servers that are posted to."""
        self.times = 1
        """How often each body is posted."""
        processes = [server.process for server in self.world.servers if server.process]
        self._heard = {id(process): len(process.log) for process in processes}

    # clients

    def parts(self) -> list[Part]:
        """A client's subscriptions: one or two sessions, whole or some chats of them."""
        parts: list[Part] = []
        for session in self.random.sample(self.sessions, self.random.choice((1, 2))):
            chats = [chat for one, chat in self.chats if one == session]
            if self.random.random() < 0.5 or not chats:
                parts.append((session, None))
            else:
                parts += [(session, chat) for chat in self.random.sample(chats, min(len(chats), 3))]
        return parts

    async def add_client(self, kind: str, server: int, group: str | None = "", **options: Any) -> int:
        """A client in this group, which has a proxy of its own; with None directly at the server."""
        port = self.world.servers[server].port if group is None else (await self.world.proxy(server, group)).port
        parts = options.pop("parts", None) or self.parts()
        token = mint(*{session for session, _ in parts}, scopes=("read", "write"), lifetime=DAY, sub=f"agent-{kind}")
        if kind != "page":
            options = {"reconnectionDelay": 300, "reconnectionDelayMax": 2000} | options
        return await self.fleet.add(kind, f"http://{HOST}:{port}", token, parts, **options)

    async def add_clients(self, groups: tuple[str, ...] = ("",)) -> None:
        """Add a round's clients, of all kinds, on both servers and in all groups, and wait until they have their
        lists."""
        for n in range(self.scale.clients):
            # Of ten: four stock ones, two with a position, two pages, two of Python.
            kind = KINDS[n % 4] if self.scale.short else ("stock", "position", "page", "python", "stock")[n % 5]
            await self.add_client(kind, (n // 4 + n) % 2, groups[n // 2 % len(groups)])
        await self.fleet.ready()

    def pages(self) -> list[int]:
        return [number for number, kind in self.fleet.kinds.items() if kind == "page"]

    # load

    @contextlib.asynccontextmanager
    async def load(self, pause: float = 0.1, pace: float = 0) -> AsyncIterator[None]:
        """Posts to all chats. In the end, which comes when all is healed, the rest is posted and answered.

        `pause`: seconds until what was not answered is repeated; `pace`: from one body of a chat to the next.
        """
        senders = [asyncio.create_task(self._send(session, chat, pause, pace)) for session, chat in self.chats]
        try:
            yield
            self.open.set()
            async with asyncio.timeout(90):
                await asyncio.gather(*senders)
        finally:
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)

    async def _send(self, session: str, chat: str, pause: float, pace: float) -> None:
        chance = random.Random(f"{self.seed} {session} {chat}")
        # The number of repeats does not depend on the seed, and must not change what is posted.
        where = random.Random(f"{self.seed} {session} {chat} where")
        numbers = iter(range(self.scale.messages))
        late = int(self.scale.messages * 0.85)
        sizes = (1, 1, 2, 3) if self.scale.short else (1, 1, 2, 5, 10, 20)
        while body := [self.message(chat, n, chance) for n in itertools.islice(numbers, chance.choice(sizes))]:
            if int(body[-1]["messageId"].split("-")[-1]) >= late:
                await self.open.wait()
            # One in fifty is not repeated, so no answer ever says whether it was stored.
            await self._repeat(session, body, where, pause, give_up=chance.random() < 0.02)
            await asyncio.sleep(pace)

    async def _repeat(
        self, session: str, body: list[dict[str, Any]], where: random.Random, pause: float, *, give_up: bool
    ) -> None:
        async def post() -> bool:
            number = where.choice(self.senders)
            return await self.ledger.post(number, self.world.servers[number].url, session, body)

        while True:
            answers = await asyncio.gather(*(post() for _ in range(self.times)))
            if all(answers) or give_up:
                return
            await asyncio.sleep(pause)

    def message(self, chat: str, n: int, chance: random.Random) -> dict[str, Any]:
        text = f"{n} " + "".join(chance.choices("abcdefgh äß試", k=chance.choice((5, 40, 200))))
        return {"chatId": chat, "messageId": f"{chat}-{n}", "text": text.strip(), "fromMe": chance.random() < 0.2}

    def part_of(self, low: float, high: float) -> int:
        """A random point of the load between these parts of it."""
        return int(self.total * self.random.uniform(low, high))

    # the end

    def healed(self, clients: Iterable[int] | None = None) -> None:
        """The fault has been repaired, for these clients or for all: their HEAL_SECONDS begin."""
        self.healed_at = time.monotonic()
        of = frozenset(self.fleet.kinds if clients is None else clients)
        self._catching_up.append(asyncio.create_task(self._catch_up(of, self.healed_at)))

    async def _catch_up(self, clients: frozenset[int], healed: float) -> None:
        """I4: these clients have everything stored at the repair HEAL_SECONDS later, however much is posted
        meanwhile."""
        stored = await self._stored()
        reached = await self.fleet.reach(stored, clients, healed + HEAL_SECONDS)
        for moment in reached.values():
            self.figure("caught up after (s)", moment - healed)
        late = clients - reached.keys()
        if not late:
            return
        reports = await self.fleet.report()
        reached = await self.fleet.reach(stored, late, time.monotonic() + LATER_SECONDS)
        for number in sorted(late):
            one = reports[number]
            client = f"client {number} ({one.kind}, {one.connects} connections, {one.states[-3:]})"
            then = f"it had after {reached[number] - healed:.1f} s" if number in reached else "it never had"
            self.violations.append(f"I4 {client}: what was stored at healing {then}, not within {HEAL_SECONDS:g} s")

    async def _stored(self) -> dict[tuple[str, str], Stored]:
        """What the database has of each chat now."""
        group = {"_id": ["$sessionId", "$chatId"], "count": {"$sum": 1}, "seq": {"$max": "$seq"}}
        pipeline = [{"$match": {"sessionId": {"$in": self.sessions}}}, {"$group": group}]
        async with self.world.driver() as driver:
            db = driver.get_database(self.world.name, read_concern=ReadConcern("majority"))
            return {(*one["_id"],): (one["count"], one["seq"]) async for one in await db.messages.aggregate(pipeline)}

    def figure(self, name: str, value: float) -> None:
        self.figures[name] = max(value, self.figures.get(name, value))

    def must(self, good: object, words: str) -> None:
        if not good:
            self.violations.append(words)

    async def verify(self, of_clients: Callable[[dict[int, Report]], None] | None = None) -> None:
        """I1–I6, and what the row itself wants of what became of its clients. Raises AssertionError with all that does
        not hold."""
        base = time.monotonic()
        await self.queues_empty()
        async with self.world.driver() as driver:
            self.truth = await self.ledger.truth(driver, self.world.name)
        self.violations += self.truth.violations
        self.counts += self.truth.counts
        self.fleet.expect(self.truth.digests)
        try:
            await self.fleet.equal(base + HEAL_SECONDS - time.monotonic())
            self.figure("lists correct after (s)", time.monotonic() - base)
        except AssertionError as error:
            self.violations.append(f"{error}; {await self.later()}")
        await asyncio.gather(*self._catching_up)
        reports = await self.fleet.report()
        for number, report in reports.items():
            self.violations += [f"I4/I5 client {number} ({report.kind}): {words}" for words in report.violations]
        if of_clients:
            of_clients(reports)
        self._count(reports)
        self._count_defects()
        await self.fleet.close_clients()
        await self.close()
        await self.footprints_back()
        if self.violations:
            words = [f"server {server.number}: {line}" for server in self.world.servers for line in server.complaints()]
            raise AssertionError("\n".join([*self.violations[:20], *words]))

    async def later(self) -> str:
        """For the error message: whether the lists were late or never came."""
        began = time.monotonic()
        try:
            await self.fleet.equal(LATER_SECONDS)
        except AssertionError:
            return f"nor {LATER_SECONDS:g} s later"
        return f"right {time.monotonic() - began:.1f} s later"

    async def close(self) -> None:
        """Close all clients and kept-alive connections."""
        for task in self._catching_up:
            task.cancel()
        await asyncio.gather(*self._catching_up, return_exceptions=True)
        await self.http.close()
        for proxy in self.world.proxies.values():
            proxy.drop()

    def _count_defects(self) -> None:
        """Count log events of bugs in this round, even if the clients recovered."""
        for server in self.world.servers:
            assert server.process is not None
            log = server.process.log[self._heard.get(id(server.process), 0) :]
            self.counts.update(f"logged {name}" for line in log for name in DEFECTS if f'"event": "{name}' in line)

    def _count(self, reports: dict[int, Report]) -> None:
        self.counts["clients"] += len(reports)
        for report in reports.values():
            self.counts["events received"] += report.taken
            self.counts["connections made"] += report.connects
            if report.kind == "stock":
                self.counts["reconnects of stock clients"] += report.connects - 1
                self.counts["stock clients recovered"] += report.recoveries
            else:
                self.counts["streams recovered by position"] += report.recoveries
            self.counts["lists loaded"] += report.resets

    async def queues_empty(self) -> None:
        """Wait until no server has anything to write, because unknown messages would be undecided otherwise."""

        async def empty() -> bool:
            metrics = await asyncio.gather(*(server.metrics() for server in self.world.servers))
            return not any(one["roomcast_queue_depth"] for one in metrics)

        await soon(empty, 15, "the servers' queues to be empty")

    async def footprints_back(self) -> None:
        """I6, of every server."""
        for server in self.world.servers:
            fresh = server.fresh
            assert fresh is not None
            over: list[str] = []
            now = fresh

            async def back(server: Server = server, fresh: Footprint = fresh, over: list[str] = over) -> bool:
                nonlocal now
                now = await server.footprint()
                over[:] = [
                    f"I6 server {server.number}: {name} {was} before, {is_now} now"
                    for name, was, is_now, more in (
                        ("tasks", fresh.tasks, now.tasks, TASKS_MORE),
                        ("client connections", 0, now.sockets, 0),
                        ("descriptors", fresh.descriptors, now.descriptors, DESCRIPTORS_MORE),
                        ("memory", fresh.memory, now.memory, MEMORY_MORE),
                    )
                    if is_now > was + more
                ]
                return not over

            try:
                await soon(back, 15, "the footprint")
            except AssertionError:
                self.violations += over
            self.figure("memory growth (MiB)", (now.memory - fresh.memory) / 2**20)


async def soon(condition: Callable[[], Awaitable[Any]], seconds: float, what: str, every: float = 0.02) -> float:
    """Poll until the condition holds, for changes without a notification. Returns the time it took."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            if await condition():
                return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        await asyncio.sleep(every)
