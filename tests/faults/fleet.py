"""The clients of a round: the stock client and the page's client module in Node (fleet.mjs), python-socketio's here.

Each keeps the lists that its user would see. `expect` sends all of them what the database has; `equal` waits until
each shows exactly that.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import socketio

from tests.faults.lists import Digest, Lists, Part, Stored
from tests.stock import node
from tests.support import ROOT

CLIENTS = ROOT / "tests" / "clients"
NODE_KINDS = ("stock", "position", "page")
KINDS = (*NODE_KINDS, "python")


@dataclass
class Report:
    """The results of one client."""

    kind: str
    violations: list[str]
    differences: list[str]
    taken: int = 0
    connects: int = 0
    recoveries: int = 0
    resets: int = 0
    latencies: list[tuple[int, float]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)


class PythonClient:
    """python-socketio's own client, with its own reconnection. It subscribes again with its position."""

    def __init__(self, url: str, token: str, parts: Sequence[Part], changed: Any) -> None:
        self.url, self.token, self.lists = url, token, Lists(parts)
        self.ready = False
        self.connects = self.recoveries = self.resets = 0
        self._changed = changed
        self._epochs: dict[str, str] = {}
        self._restarting: set[str] = set()
        self.loading: set[asyncio.Task[None]] = set()
        self._sio = socketio.AsyncClient(reconnection_delay=0.3, reconnection_delay_max=2, randomization_factor=0.2)
        self._sio.on("connect", self._connected)
        for name in ("new_message", "message_updated", "chat_updated"):
            self._sio.on(name, self._taker(name))
        self._sio.on("position", self._positioned)

    async def start(self) -> None:
        # The first attempt is ours; later it reconnects by itself.
        auth = {"token": self.token}
        await self._sio.connect(self.url, auth=auth, transports=["websocket"], wait_timeout=15, retry=True)

    def _taker(self, name: str) -> Callable[[dict[str, Any]], Any]:
        async def take(data: dict[str, Any]) -> None:
            if data["sessionId"] not in self._restarting:
                self.lists.take(name, data)
                self._changed(self)

        return take

    async def _positioned(self, data: dict[str, Any]) -> None:
        session, seq = data["sessionId"], data["position"]["seq"]
        if session not in self._restarting and self.lists.last.get(session, seq) < seq:
            self.lists.last[session] = seq

    async def _connected(self) -> None:
        self.connects += 1
        for session in sorted({session for session, _ in self.lists.parts}):
            if session in self._epochs:
                self._restarting.add(session)
            await self._subscribe(session, [part for part in self.lists.parts if part[0] == session])

    async def _subscribe(self, session: str, parts: list[Part]) -> None:
        (_, chat), rest = parts[0], parts[1:]
        payload: dict[str, Any] = {"sessionId": session} | ({"chatId": chat} if chat is not None else {})
        again = not rest and session in self._epochs
        if again:
            payload["position"] = {"epoch": self._epochs[session], "seq": self.lists.last[session]}
        connection = self.connects

        async def answered(answer: dict[str, Any]) -> None:
            if connection != self.connects:
                return
            if not answer["ok"]:
                if answer["error"]["code"] == "forbidden":
                    self.lists.violations.append(f"forbidden: {payload}")
                else:
                    self._later(self._once_more(connection, session, parts))
                return
            position = answer["data"]["position"]
            if rest:
                self.lists.last.setdefault(session, position["seq"])
                await self._subscribe(session, rest)
                return
            self._restarting.discard(session)
            if again and answer["data"]["recovered"]:
                self.recoveries += 1
                return
            if again or session not in self.lists.last:
                self.lists.last[session] = position["seq"]
            self._epochs[session] = position["epoch"]
            self._later(self._load(session))

        with contextlib.suppress(socketio.exceptions.SocketIOError):
            await self._sio.emit("subscribe", payload, callback=answered)

    async def _once_more(self, connection: int, session: str, parts: list[Part]) -> None:
        await asyncio.sleep(0.3)
        if connection == self.connects:
            await self._subscribe(session, parts)

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.loading.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self.loading.discard(task)
            if not task.cancelled() and (error := task.exception()):
                self.lists.violations.append(f"the client failed: {error!r}")
            self._changed(self)

        task.add_done_callback(done)

    async def _get(self, http: aiohttp.ClientSession, path: str) -> dict[str, Any]:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(
                    f"{self.url}/api/v1/{path}",
                    headers={"Authorization": f"Bearer {self.token}"},
                    timeout=aiohttp.ClientTimeout(total=8),
                ) as response:
                    if response.status == 200:
                        body: dict[str, Any] = await response.json()
                        return body
            await asyncio.sleep(0.3)

    async def _load(self, session: str) -> None:
        self.resets += 1
        async with aiohttp.ClientSession() as http:
            for chat in (await self._get(http, f"sessions/{session}/chats?limit=200"))["data"]:
                chat_id = chat["chatId"]
                if not self.lists.owns(session, chat_id):
                    continue
                path = f"sessions/{session}/chats/{chat_id}/messages?limit=200"
                after, more = 0, True
                while more:
                    page = await self._get(http, f"{path}&after={after}")
                    self.lists.load((session, chat_id), page["data"], chat)
                    after = page["data"][-1]["seq"] if page["data"] else after
                    more = page["hasMore"]
        self.ready = self._epochs.keys() == {session for session, _ in self.lists.parts}

    def differences(self, expected: dict[tuple[str, str], Digest]) -> list[str]:
        if self.loading:
            return ["still loading"]
        for key, (count, _) in expected.items():  # a quick look first: this is asked often
            if self.lists.owns(*key) and len(self.lists.messages.get(key, ())) != count:
                return [f"{key}: {len(self.lists.messages.get(key, ()))} of {count}"]
        mine = self.lists.digests()
        wrong = [
            f"{key}: {mine.get(key, (0, ''))[0]} of {wanted[0]}"
            for key, wanted in expected.items()
            if self.lists.owns(*key) and mine.get(key) != wanted
        ]
        return wrong + [f"{key}: of no such chat" for key in mine if key not in expected]

    async def close(self) -> None:
        for task in list(self.loading):
            task.cancel()
        await self._sio.shutdown()
        await self._sio.disconnect()


class Fleet:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._numbers = itertools.count(1)
        self._news = asyncio.Event()
        self.kinds: dict[int, str] = {}
        self.parts: dict[int, list[Part]] = {}
        self.urls: dict[int, str] = {}
        self.states: dict[int, str] = {}
        self._pythons: dict[int, PythonClient] = {}
        self._ready: set[int] = set()
        self._equal: set[int] = set()
        self._reached: dict[int, dict[int, float]] = {}
        self._answers: dict[int, str | None] = {}
        self._reports: list[dict[str, Any]] = []
        self._expected: dict[tuple[str, str], Digest] = {}
        self._closed = 0
        self._failures: list[str] = []
        self._readers = [asyncio.create_task(self._read()), asyncio.create_task(self._read_errors())]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            what, *rest = orjson.loads(line)
            if what == "ready":
                self._ready.add(rest[0])
            elif what == "equal":
                self._equal.add(rest[0])
            elif what == "reached":
                self._reached[rest[0]][rest[1]] = time.monotonic()
            elif what == "state":
                self.states[rest[0]] = rest[1]
            elif what == "answer":
                self._answers[rest[0]] = rest[1]
            elif what == "report":
                self._reports.append(rest[0])
            elif what == "closed":
                self._closed += 1
            self._news.set()

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._failures.append(line.decode().rstrip())

    def _tell(self, *what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")

    async def until(self, condition: Callable[[], Any], seconds: float, what: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what} in vain for {seconds:g} s. {' '.join(self._failures[-5:])}") from None

    async def add(self, kind: str, url: str, token: str, parts: Sequence[Part], **options: Any) -> int:
        """A client that subscribes to these parts, over and over until it has them."""
        number = next(self._ids)
        self.kinds[number], self.parts[number], self.urls[number] = kind, list(parts), url
        if kind == "python":
            client = self._pythons[number] = PythonClient(url, token, parts, lambda _: self._news.set())
            await client.start()
        else:
            self._tell("add", number, kind, url, token, parts, options)
        return number

    async def ready(self, seconds: float = 30) -> None:
        """Wait until all clients have all their subscriptions and have loaded their lists."""

        def all_ready() -> bool:
            self._ready |= {number for number, client in self._pythons.items() if client.ready}
            return self._ready >= self.kinds.keys()

        await self.until(all_ready, seconds, "waited for the clients")

    def expect(self, digests: dict[tuple[str, str], Digest]) -> None:
        self._expected = digests
        self._equal.clear()
        self._tell("expect", {f"{session}\t{chat}": wanted for (session, chat), wanted in digests.items()})

    async def equal(self, seconds: float) -> None:
        """Wait until every list is as it was last expected. Raises AssertionError with what differs."""

        def all_equal() -> bool:
            for number, client in self._pythons.items():
                if number not in self._equal and not client.differences(self._expected):
                    self._equal.add(number)
            return self._equal >= self.kinds.keys()

        try:
            await self.until(all_equal, seconds, "waited for equal lists")
        except AssertionError as error:
            reports = await self.report()
            wrong = {
                f"{number} {one.kind}": (one.differences[:3], one.connects, one.states[-5:])
                for number, one in reports.items()
                if one.differences
            }
            raise AssertionError(f"I4 {error} {wrong}") from None

    async def reach(
        self, stored: Mapping[tuple[str, str], Stored], clients: Collection[int], until: float
    ) -> dict[int, float]:
        """Wait until these clients have everything stored, or until that time. Returns when each of them had it."""
        number = next(self._numbers)
        reached = self._reached[number] = {}
        ids = [client for client in clients if client not in self._pythons]
        self._tell("reach", number, ids, {f"{session}\t{chat}": one for (session, chat), one in stored.items()})

        def all_there() -> bool:
            for client in self._pythons.keys() & set(clients) - reached.keys():
                if self._pythons[client].lists.has(stored):
                    reached[client] = time.monotonic()
            return reached.keys() >= set(clients)

        with contextlib.suppress(AssertionError):
            await self.until(all_there, until - time.monotonic(), "waited for what is stored")
        return dict(reached)

    async def ask(self, what: str, client: int, *args: Any) -> str | None:
        """Send a request from a page client. Returns the error code, if any."""
        number = next(self._numbers)
        self._tell(what, number, client, *args)
        await self.until(lambda: number in self._answers, 30, f"waited for the answer to {what}")
        return self._answers[number]

    async def report(self) -> dict[int, Report]:
        before = len(self._reports)
        self._tell("report")
        await self.until(lambda: len(self._reports) > before, 30, "waited for the report")
        found: dict[int, Report] = {}
        for number, kind in self.kinds.items():
            if kind == "python":
                client = self._pythons[number]
                differences = client.differences(self._expected)
                found[number] = Report(
                    kind,
                    client.lists.violations[:5],
                    differences,
                    client.lists.taken,
                    client.connects,
                    client.recoveries,
                    client.resets,
                )
            else:
                found[number] = Report(kind, **self._reports[-1][str(number)])
        return found

    async def close_clients(self) -> None:
        """All clients leave, as clients do."""
        before = self._closed
        self._tell("close")
        await asyncio.gather(*(client.close() for client in self._pythons.values()))
        await self.until(lambda: self._closed > before, 30, "waited for the clients to close")
        self.kinds.clear()
        self.parts.clear()
        self.urls.clear()
        self.states.clear()
        self._pythons.clear()
        self._ready.clear()
        self._equal.clear()

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._pythons.values()))
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await asyncio.gather(*self._readers)


@contextlib.asynccontextmanager
async def fleet() -> AsyncIterator[Fleet]:
    page_client = await page_client_module()
    arguments = ("fleet.mjs", str(CLIENTS), str(page_client))
    made = Fleet(await node(*arguments, cwd=Path(__file__).parent, stderr=asyncio.subprocess.PIPE))
    try:
        yield made
    finally:
        await made.close()


_built: dict[int, Path] = {}


async def page_client_module() -> Path:
    """The page's client module for Node, built from the present source once per run."""
    if (built := _built.get(os.getpid())) and built.exists():
        return built
    # Beside the stock client, where Node looks for it.
    target = CLIENTS / "node_modules" / ".cache" / f"page-client-{os.getpid()}.mjs"
    for old in target.parent.glob("page-client-*.mjs"):
        if old.stem.rpartition("-")[2] not in os.listdir("/proc"):
            old.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        *("node", str(Path(__file__).parent / "bundle.mjs"), str(ROOT / "web"), str(target)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    _built[os.getpid()] = target
    return target
