"""`python -m app doctor`: a good deployment is well, and each of many broken ones is found by its name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pymongo import MongoClient

from app.auth import Tokens
from app.doctor import FAILURE, OK, WARNING, Finding, examine, exit_status
from app.storage.mongo import Store, connect
from tests.support import ROOT, SECRET, TOKENS, Site, command, message, mint

HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "content-length", "content-encoding"}
STRANGER = Tokens("another-secret-that-is-long-enough-too")
FIELDS = ("Sec-WebSocket-Protocol", "Authorization", "Origin")


@dataclass
class Proxy:
    """A reverse proxy that can be broken on purpose."""

    target: str
    http: aiohttp.ClientSession
    drop: set[str] = field(default_factory=set)
    """Response headers that are not passed on."""
    add: dict[str, str] = field(default_factory=dict)
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    """What is answered to paths of such a pattern."""
    forget: set[str] = field(default_factory=set)
    """Request headers that are not passed on."""
    websockets: str = "pass"
    """Or `refuse`, `silent`, `deaf`: nothing from the server, nothing but the first packet."""
    delay: float = 0
    """Seconds that answers of Socket.IO are kept back."""
    sticky: bool = True
    largest: int = 16 * 2**20
    host: str | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        for path, (status, text) in self.answers.items():
            if fnmatchcase(request.path, path):
                return web.Response(status=status, text=text, headers=self.add)
        if request.headers.get("Upgrade", "").lower() == "websocket" and self.websockets != "refuse":
            return await self._websocket(request)
        if not self.sticky and "sid" in request.query:
            other = request.rel_url.update_query(sid="of-another-server")
        else:
            other = request.rel_url
        data = await request.read()
        if len(data) > self.largest:
            return web.Response(status=413, text="<h1>413 Request Entity Too Large</h1>")
        async with self.http.request(
            request.method,
            self.target + str(other),
            data=data or None,
            headers=self._head(request),
            allow_redirects=False,
        ) as answer:
            if request.path.startswith("/socket.io/"):
                await asyncio.sleep(self.delay)
            passed = {n: v for n, v in answer.headers.items() if n.lower() not in HOP and n not in self.drop}
            return web.Response(status=answer.status, body=await answer.read(), headers=passed | self.add)

    def _head(self, request: web.Request) -> dict[str, str]:
        head = {n: v for n, v in request.headers.items() if n.lower() not in HOP and n not in self.forget}
        return head | {"Host": self.host or request.host}

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        near = web.WebSocketResponse()
        head = {n: v for n, v in request.headers.items() if n in FIELDS and n not in self.forget}
        async with self.http.ws_connect(self.target + str(request.rel_url), headers=head) as far:
            await near.prepare(request)

            async def back() -> None:
                first = True
                async for one in far:
                    if self.websockets == "pass" or (first and self.websockets == "deaf"):
                        await near.send_str(one.data)
                    first = False

            task = asyncio.create_task(back())
            try:
                async for one in near:
                    await far.send_str(one.data)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        return near


@pytest.fixture
async def proxy(site: Site, http: aiohttp.ClientSession) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Puts a proxy in front of the server; gives its address."""
    runners: list[web.AppRunner] = []

    async def start(context: ssl.SSLContext | None = None, **broken: Any) -> str:
        app = web.Application(client_max_size=2**25)
        app.router.add_route("*", "/{path:.*}", Proxy(site.url, http, **broken).handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        return f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def findings(url: str, store: Store | None = None, token: str | None = None) -> dict[str, Finding]:
    tokens = TOKENS if token is None else None
    return {finding.check: finding async for finding in examine(url, token, tokens, store)}


async def test_a_good_deployment(site: Site, store: Store, proxy: Callable[..., Awaitable[str]]) -> None:
    """Nothing fails directly or through a proxy, and nothing of the test session is left."""
    await site.post("shop", message())
    for url in (site.url, await proxy()):
        found = await findings(url, store)
        assert {f.check: f.line() for f in found.values() if f.status == FAILURE} == {}
        assert found["passage"].status == OK
        assert found["polling"].status == OK
        assert found["past-hour"].status == OK
    assert await store.seqs() == {"shop": 1}
    for name in ("events", "messages", "chats"):
        assert await getattr(store, name).distinct("sessionId") == ["shop"]


UNBUILT = "<!doctype html><title>Roomcast</title><p>The page is not built yet"
OTHER_VERSION = '<title>Roomcast</title><meta name="roomcast" content="{&quot;version&quot;:&quot;0.0.1&quot;}">'
BROKEN: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "upstream": ({"answers": {"*": (502, "Bad Gateway")}}, "http", FAILURE, "does not reach"),
    "other-server": ({"answers": {"*": (200, "It works!")}}, "http", FAILURE, "not Roomcast"),
    "redirected": (
        {"answers": {"*": (301, "")}, "add": {"Location": "https://x.example/"}},
        "http",
        FAILURE,
        "redirects",
    ),
    "not-ready": ({"answers": {"/readyz": (503, '{"database": "unavailable"}')}}, "ready", FAILURE, "database"),
    "no-policy": ({"drop": {"Content-Security-Policy"}}, "headers", FAILURE, "Content-Security-Policy"),
    "no-nosniff": ({"drop": {"X-Content-Type-Options"}}, "headers", FAILURE, "X-Content-Type-Options"),
    "clock": ({"add": {"Date": "Tue, 01 Jan 2019 00:00:00 GMT"}}, "clock", WARNING, "apart"),
    "no-authorization": ({"forget": {"Authorization"}}, "token", FAILURE, "Authorization"),
    "small-bodies": ({"largest": 2**20}, "body", FAILURE, "16 MiB"),
    "no-page": ({"answers": {"/": (200, "<title>Welcome to nginx!</title>")}}, "page", FAILURE, "not the inbox page"),
    "unbuilt-page": ({"answers": {"/": (200, UNBUILT)}}, "page", FAILURE, "not built"),
    "other-version": ({"answers": {"/": (200, OTHER_VERSION)}}, "page", WARNING, "version"),
    "no-upgrade": ({"websockets": "refuse"}, "websocket", FAILURE, "handshake"),
    "silent-websocket": ({"websockets": "silent"}, "websocket", FAILURE, ""),
    "deaf-websocket": ({"websockets": "deaf"}, "websocket", FAILURE, ""),
    "buffering": ({"delay": 0.2}, "buffering", WARNING, "polls"),
    "not-sticky": ({"sticky": False}, "polling", FAILURE, "same server"),
    "no-polling": ({"answers": {"/socket.io/": (404, "")}}, "polling", FAILURE, "404"),
    "wrong-host": ({"host": "internal.example"}, "origin", FAILURE, "may not connect"),
    "no-origin": ({"forget": {"Origin"}}, "origin", WARNING, "any origin"),
    "webhook": ({"answers": {"/webhook/*": (500, "oops")}}, "passage", FAILURE, "500"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_proxies(
    name: str, store: Store, proxy: Callable[..., Awaitable[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a proxy does wrong is found by the name of the check, with what to do."""
    broken, check, status, words = BROKEN[name]
    if broken.get("websockets") in ("silent", "deaf"):
        monkeypatch.setattr("app.doctor.run.CHECK_SECONDS", 0.5)  # of several checks that get no answer
    if "delay" in broken:
        monkeypatch.setattr("app.doctor.sockets.PROMPT_SECONDS", broken["delay"] / 2)
    found = (await findings(await proxy(**broken), store))[check]
    assert (found.status, words in found.meaning) == (status, True), found.line()
    assert found.advice or found.status == OK


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (mint(lifetime=-60), "expired"),
        (
            STRANGER.mint("ann", sessions=["*"], scopes=["read"], lifetime=86_400),
            "AUTH_SECRET",
        ),
        ("nonsense", "not a JSON Web Token"),
    ],
    ids=["expired", "signature", "nonsense"],
)
async def test_refused_tokens(token: str, words: str, site: Site, store: Store) -> None:
    """Why a token is refused is told as far as the token itself tells it, by both checks of it."""
    found = await findings(site.url, store, token)
    assert found["token"].status == found["sign-in"].status == FAILURE
    assert words in found["token"].meaning


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "Nothing answers at http://127.0.0.1:1 (Connection refused)."),
        ("http://no-such-host.invalid", "The name no-such-host.invalid does not resolve."),
    ],
)
async def test_no_server_at_the_address(url: str, words: str) -> None:
    """Where nothing answers there is one finding, which says so, and no more."""
    found = await findings(url)
    assert [(f.check, f.status, f.meaning) for f in found.values()] == [("http", FAILURE, words)]


async def test_https_at_a_port_of_http(site: Site) -> None:
    """An address that says https and leads to a port without TLS is found as that."""
    found = await findings(site.url.replace("http://", "https://"))
    assert [(f.check, f.status) for f in found.values()] == [("http", FAILURE)]
    assert "TLS" in found["http"].meaning


async def test_certificate(tmp_path: Path, store: Store, proxy: Callable[..., Awaitable[str]]) -> None:
    """A certificate that clients refuse is found, the rest is looked at behind it, and no token is sent there."""
    arguments = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other"]
    arguments += ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    await asyncio.to_thread(subprocess.run, arguments, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    found = await findings(await proxy(context), store)
    assert found["tls"].status == FAILURE
    assert "refuse the certificate" in found["tls"].meaning
    assert found["websocket"].status == OK
    assert found["token"].status == WARNING


@pytest.fixture
def user(mongodb_uri: str, database: str) -> Iterator[Callable[[list[dict[str, Any]]], str]]:
    """Makes a user of the database with these rights; gives the address to sign in at."""
    host = mongodb_uri.rpartition("@")[2].partition("/")[0]
    with MongoClient[dict[str, Any]](mongodb_uri) as client:

        def make(privileges: list[dict[str, Any]]) -> str:
            client[database].command("createRole", "narrow", privileges=privileges, roles=[])
            client[database].command("createUser", "narrow", pwd="secret", roles=["narrow"])
            return f"mongodb://narrow:secret@{host}/?authSource={database}&replicaSet=rs0"

        yield make
        client[database].command("dropUser", "narrow")
        client[database].command("dropRole", "narrow")


async def test_rights_of_the_database_user(
    site: Site, database: str, user: Callable[[list[dict[str, Any]]], str]
) -> None:
    """A user who may only read is found; nothing stored in the past hour is a warning."""
    with contextlib.closing(
        connect(user([{"resource": {"db": database, "collection": ""}, "actions": ["find"]}]), database, 5)
    ) as narrow:
        found = await findings(site.url, narrow)
    assert found["database-rights"].status == FAILURE
    assert "insert" in found["database-rights"].meaning
    assert found["past-hour"].status == WARNING


async def test_user_without_change_streams(
    site: Site, mongodb_uri: str, database: str, user: Callable[[list[dict[str, Any]]], str]
) -> None:
    """A user who may do all but follow changes is found by both checks that need it."""
    actions = ["find", "insert", "update", "remove", "createIndex", "createCollection", "collMod"]
    privilege = {"resource": {"db": database, "collection": ""}, "actions": actions}
    with contextlib.closing(connect(user([privilege]), database, 5)) as narrow:
        found = await findings(site.url, narrow)
    assert (found["change-stream"].status, found["database-rights"].status) == (FAILURE, FAILURE)
    assert "changeStream" in found["change-stream"].advice
    assert found["database-rights"].meaning == "The database's user may not changeStream."
    assert found["transaction-lifetime"].status == WARNING
    assert "may not read" in found["transaction-lifetime"].meaning


async def test_long_transactions(site: Site, store: Store, mongodb_uri: str) -> None:
    """A database that keeps abandoned transactions for a minute is found, with the parameter to set."""
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        before = client.admin.command("getParameter", transactionLifetimeLimitSeconds=1)
        client.admin.command("setParameter", transactionLifetimeLimitSeconds=60)
        try:
            found = (await findings(site.url, store))["transaction-lifetime"]
        finally:
            value = before["transactionLifetimeLimitSeconds"]
            client.admin.command("setParameter", transactionLifetimeLimitSeconds=value)
    assert found.status == WARNING
    assert "60 s" in found.meaning
    assert "transactionLifetimeLimitSeconds" in found.advice


async def test_clock_of_the_database(site: Site, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database whose clock differs from this machine's is found. Here it is this process's clock that is wrong."""
    real = time.time
    monkeypatch.setattr("app.storage.inspection.time.time", lambda: real() + 60)
    found = await findings(site.url, store)
    assert found["database-clock"].status == WARNING
    assert "60 s apart" in found["database-clock"].meaning


async def test_another_database(site: Site, mongodb_uri: str) -> None:
    """Settings that name another database than the server's are found."""
    with contextlib.closing(connect(mongodb_uri, "doctor_other", 5)) as other:
        found = await findings(site.url, other)
    assert found["passage"].status == FAILURE
    assert "another database" in found["passage"].meaning


async def test_open_files(site: Site) -> None:
    """A hard limit of open files that is too low for 10,000 connections is found."""
    command = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (400, 1000)); "
    command += "from app.cli import main; main(['doctor', sys.argv[1]])"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", command, site.url),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "AUTH_SECRET": SECRET},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    (line,) = [line for line in out.decode().splitlines() if "open-files" in line]
    assert line.startswith("warning open-files: This user may open 1000 files")
    assert "LimitNOFILE" in line


async def test_what_is_not_an_address() -> None:
    """Without a scheme, or with another than http and https, the command says what it needs; exit status 2."""
    for url in ("chat.example.com", "wss://chat.example.com", "https://"):
        code, _, err = await command("doctor", url)
        assert code == 2
        assert "is not an address such as https://chat.example.com" in err


async def test_command(site: Site, mongodb_uri: str, database: str) -> None:
    """`--json` prints an object for each check; the exit status is 2 where one fails, and no secret is printed."""
    given = {"AUTH_SECRET": SECRET, "MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": database}
    code, out, _ = await command("doctor", site.url, "--json", **given)
    found = [json.loads(line) for line in out.splitlines()]
    assert {one["check"] for one in found} >= {"http", "tls", "websocket", "polling", "passage", "change-stream"}
    assert all(one.keys() == {"check", "status", "meaning", "advice"} for one in found)
    assert code == exit_status([Finding(**one) for one in found])
    assert FAILURE not in {one["status"] for one in found}
    code, out, _ = await command("doctor", "http://127.0.0.1:1", **given)
    assert code == 2
    assert out.startswith("failure http: ")
    assert SECRET not in out
