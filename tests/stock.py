"""The unmodified socket.io-client in Node (tests/clients/stock.mjs), as the tests drive it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson

from tests.support import PATIENCE, ROOT, Site, mint

FOLDER = ROOT / "tests" / "clients"


class Stock:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._news = asyncio.Event()
        self.heard: list[list[Any]] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.heard.append(orjson.loads(line))
            self._news.set()

    def tell(self, *what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")

    async def wait_for(self, condition: Callable[[Stock], Any]) -> Any:
        """Wait until what was heard meets the condition, and give what it gave."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not (value := condition(self)):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain; heard {self.heard[-20:]}") from None
        return value

    async def open(self, site: Site, token: str | None = None, *, recovery: bool = False, **options: Any) -> Stock:
        auth: dict[str, Any] = {"token": token or mint()}
        if recovery:
            auth["recovery"] = True
        fast = {"reconnectionDelay": 50, "reconnectionDelayMax": 200, "transports": ["websocket"]}
        self.tell("open", site.url, auth, fast | options)
        await self.connects(1)
        return self

    async def connects(self, times: int) -> bool:
        """Wait until it has connected so often; whether it was recovered the last time."""
        found = await self.wait_for(lambda me: (c := me.all("connect"))[times - 1 :] and c)
        return bool(found[times - 1][2])

    def all(self, kind: str) -> list[list[Any]]:
        return [one for one in self.heard if one[0] == kind]

    def events(self, name: str | None = None) -> list[list[Any]]:
        return [one[1:] for one in self.all("event") if name is None or one[1] == name]

    def seqs(self, session: str | None = None) -> list[int]:
        """The numbers of the durable events, batches opened, in the order of their arrival."""
        found: list[int] = []
        for name, data, *_ in self.events():
            for one in [e["data"] for e in data] if name == "events" else [data]:
                if "seq" in one and (session is None or one["sessionId"] == session):
                    found.append(one["seq"])
        return found

    async def ask(self, event: str, **payload: Any) -> dict[str, Any]:
        number = next(self._ids)
        self.tell("emit", number, event, payload)
        answer = await self.wait_for(lambda me: [a for a in me.all("answer") if a[1] == number])
        assert answer[0][2]["ok"], answer
        return answer[0][2]["data"]  # type: ignore[no-any-return]

    async def transport(self, name: str) -> None:
        """Wait until this is its transport."""
        async with asyncio.timeout(PATIENCE):
            while True:
                before = len(self.all("transport"))
                self.tell("transport")
                (said, *_) = await self.wait_for(lambda me, before=before: me.all("transport")[before:])
                if said[1] == name:
                    return
                await asyncio.sleep(0.02)

    async def has(self, *seqs: int, session: str | None = None) -> None:
        """Wait for these numbers, and assert that there is nothing else and that they came in order."""
        await self.wait_for(lambda me: len(me.seqs(session)) >= len(seqs))
        assert self.seqs(session) == list(seqs)

    async def close(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.tell("exit")
        try:
            async with asyncio.timeout(PATIENCE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader


@contextlib.asynccontextmanager
async def stock_client(package: str = "socket.io-client") -> AsyncIterator[Stock]:
    """`package`: as it is called in tests/clients/package.json."""
    client = Stock(await node("stock.mjs", package, cwd=FOLDER))
    try:
        yield client
    finally:
        await client.close()


async def node(*arguments: str, cwd: Path, stderr: int | None = None) -> asyncio.subprocess.Process:
    """A program of Node's that is spoken to in lines, of up to 64 MiB."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        "node", *arguments, cwd=cwd, stdin=pipe, stdout=pipe, stderr=stderr, limit=2**26
    )
