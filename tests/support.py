"""The tests' tools: real server processes, HTTP and Socket.IO clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from app.auth import Tokens

ROOT = Path(__file__).parent.parent
SECRET = "a-secret-for-the-tests-that-is-long-enough"
TOKENS = Tokens(SECRET)
PATIENCE = 15.0
"""Time limit for expected events, in seconds. Only failing tests wait this long."""


WARNINGS: list[str] = []
"""asyncio's warnings, here or in a server's log, since the last test. Each test must leave it empty."""
_COMPLAINTS = ("never retrieved", "was never awaited", "Task was destroyed but it is pending")


def look_for_warnings(line: str) -> None:
    """Record log lines about exceptions that were never retrieved and coroutines that were never awaited."""
    if any(words in line for words in _COMPLAINTS):
        WARNINGS.append(line)


def mint(
    *sessions: str, scopes: tuple[str, ...] = ("read", "write", "ingest"), sub: str = "agent", lifetime: float = 3600
) -> str:
    return TOKENS.mint(sub, sessions=sessions or ("*",), scopes=scopes, lifetime=lifetime)


def message(text: str = "hello", chat: str = "alice@s.whatsapp.net", **more: Any) -> dict[str, Any]:
    return {"chatId": chat, "text": text, **more}


async def until(condition: Callable[[], Any], what: str = "") -> Any:
    """Poll until the condition is true, for changes without a notification."""
    async with asyncio.timeout(PATIENCE):
        while not (value := condition()):
            await asyncio.sleep(0.01)
    return value


def failing_once(monkeypatch: pytest.MonkeyPatch, target: object, name: str, error: BaseException) -> list[object]:
    """Make the next call of a method raise this error. Returns a list that is empty once it has."""
    failures: list[Any] = [error]
    method = getattr(target, name)

    async def failing(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return await method(*args)

    monkeypatch.setattr(target, name, failing)
    return failures


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def results(self) -> list[dict[str, Any]]:
        assert self.status == 200, self
        return self.body["data"]["results"]  # type: ignore[no-any-return]


@dataclass
class Site:
    """A running server, as seen by its users."""

    url: str
    http: aiohttp.ClientSession = field(repr=False)

    async def request(self, method: str, path: str, *, token: str | None = None, **more: Any) -> Answer:
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.http.request(method, self.url + path, headers=headers, **more) as response:
            raw = await response.read()
            is_json = "json" in response.content_type
            return Answer(response.status, json.loads(raw) if is_json else raw, dict(response.headers))

    async def get(self, path: str, *, token: str | None = None, **more: Any) -> Answer:
        return await self.request("GET", path, token=token or mint(), **more)

    async def post(self, session: str, body: Any, *, source: str = "", token: str | None = None) -> Answer:
        path = f"/webhook/{session}" + (f"/{source}" if source else "")
        return await self.request("POST", path, token=token or mint(), json=body)

    async def chats(self, session: str) -> list[dict[str, Any]]:
        answer = await self.get(f"/api/v1/sessions/{session}/chats?limit=200")
        assert answer.status == 200, answer
        return answer.body["data"]  # type: ignore[no-any-return]

    async def messages(self, session: str, chat: str = "alice@s.whatsapp.net", query: str = "") -> list[dict[str, Any]]:
        answer = await self.get(f"/api/v1/sessions/{session}/chats/{chat}/messages?limit=200{query}")
        assert answer.status == 200, answer
        return answer.body["data"]  # type: ignore[no-any-return]

    async def seq(self, session: str) -> int:
        answer = await self.get(f"/api/v1/sessions/{session}/chats")
        return answer.body["position"]["seq"]  # type: ignore[no-any-return]


class Client:
    """python-socketio's client, which records what it received."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.connected = False
        self._news = asyncio.Event()
        self._sio = socketio.AsyncClient(reconnection=False)
        self._sio.on("*", self._take)
        self._sio.on("disconnect", self._gone)

    async def _take(self, event: str, data: dict[str, Any]) -> None:
        self.events.append((event, data))
        self._news.set()

    async def _gone(self, *args: Any) -> None:
        self.connected = False
        self._news.set()

    async def connect(self, token: str | None = None, *, transport: str = "websocket") -> Client:
        auth = {"token": token or mint()}
        await self._sio.connect(self.site.url, auth=auth, transports=[transport], wait_timeout=PATIENCE)
        self.connected = True
        return self

    async def call(self, event: str, *args: Any) -> Any:
        """Send a request and return the whole answer."""
        data = args[0] if len(args) == 1 else tuple(args) if args else None
        return await self._sio.call(event, data, timeout=PATIENCE)

    async def emit(self, event: str, payload: Any, callback: Callable[[Any], None]) -> None:
        """Send a request, and pass the answer to a function, in order with the events."""
        await self._sio.emit(event, payload, callback=callback)

    async def ask(self, event: str, **payload: Any) -> dict[str, Any]:
        """Send a request and return the data of a successful answer."""
        answer = await self.call(event, payload)
        assert answer["ok"], answer
        return answer["data"]  # type: ignore[no-any-return]

    async def subscribe(self, session: str, chat: str | None = None, position: Any = None) -> dict[str, Any]:
        payload: dict[str, Any] = {"sessionId": session}
        if chat is not None:
            payload["chatId"] = chat
        if position is not None:
            payload["position"] = position
        return await self.ask("subscribe", **payload)

    def durable(self, session: str | None = None) -> list[dict[str, Any]]:
        """The durable events so far, in order of arrival."""
        return [
            {"event": event, **data}
            for event, data in self.events
            if "seq" in data and (session is None or data["sessionId"] == session)
        ]

    def seqs(self, session: str | None = None) -> list[int]:
        return [event["seq"] for event in self.durable(session)]

    async def wait_for(self, condition: Callable[[Client], Any]) -> None:
        """Wait until the received events meet the condition."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition(self):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain; got seqs {self.seqs()}") from None

    async def has(self, *seqs: int, session: str | None = None) -> None:
        """Wait for these numbers, and assert that there is nothing else and that they came in order."""
        await self.wait_for(lambda me: len(me.seqs(session)) >= len(seqs))
        assert self.seqs(session) == list(seqs)

    async def gone(self) -> None:
        await self.wait_for(lambda me: not me.connected)

    async def fence(self) -> None:
        """Wait for an answer, which comes after everything sent before: anything missing now was not sent."""
        await self.call("unsubscribe", {"sessionId": "nothing-of-this-name"})

    async def close(self) -> None:
        await self._sio.disconnect()
        await self._sio.shutdown()


@dataclass
class Process:
    """A server in a separate process."""

    site: Site
    process: asyncio.subprocess.Process
    log: list[str]
    stdout: list[str]
    _readers: list[asyncio.Task[None]]

    async def stop(self) -> int:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return await self.wait()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.wait()

    async def wait(self) -> int:
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
        await asyncio.gather(*self._readers)
        return code


async def command(*arguments: str, **environ: str) -> tuple[int, str, str]:
    """`python -m app …`: its exit code, standard output and standard error, which has no traceback."""
    plain = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *arguments),
        cwd=ROOT,
        env=plain | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode is not None
    assert "Traceback" not in err.decode()
    return process.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def serve(http: aiohttp.ClientSession, *, port: int = 0, **environ: str) -> AsyncIterator[Process]:
    """Run `python -m app serve` with these settings. Yields when it listens; killed at the end if it is still
    running."""
    process = await start(http, port=port, **environ)
    try:
        yield process
    finally:
        if process.process.returncode is None:
            await process.kill()


async def start(http: aiohttp.ClientSession, *, port: int = 0, **environ: str) -> Process:
    plain = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "MONGOD_BINARY")}
    plain |= {"HOST": "127.0.0.1", "PORT": str(port), "LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"} | environ
    if "MONGODB_URI" in environ:
        plain.setdefault("AUTH_SECRET", SECRET)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app",
        "serve",
        cwd=ROOT,
        env=plain,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    log: list[str] = []
    out: list[str] = []
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def read_log(stream: asyncio.StreamReader) -> None:
        async for line in stream:
            log.append(line.decode().rstrip())
            look_for_warnings(log[-1])
            if not listening.done() and '"event": "listening"' in log[-1]:
                listening.set_result(json.loads(log[-1])["port"])
        if not listening.done():
            listening.set_exception(AssertionError("the server did not start:\n" + "\n".join(log)))

    async def read_out(stream: asyncio.StreamReader) -> None:
        async for line in stream:
            out.append(line.decode().rstrip())

    readers = [asyncio.create_task(read_log(process.stderr)), asyncio.create_task(read_out(process.stdout))]
    try:
        async with asyncio.timeout(30):
            port = await listening
    except BaseException:
        if process.returncode is None:
            process.kill()
        await asyncio.gather(*readers, process.wait())
        raise
    return Process(Site(f"http://127.0.0.1:{port}", http), process, log, out, readers)
