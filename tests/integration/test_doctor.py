"""`python -m app doctor`: a good deployment is well, and each of many broken ones is found by its name."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pymongo import MongoClient

from app.auth import Tokens
from app.doctor import FAILURE, OK, WARNING, Finding, examine, exit_status
from app.storage.mongo import Store, connect
from tests.integration.test_running import run
from tests.support import SECRET, TOKENS, Site, message, mint

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
    """What is answered to paths that begin so."""
    forget: set[str] = field(default_factory=set)
    """Request headers that are not passed on."""
    websockets: str = "pass"
    """Or `refuse`, `silent`, `deaf`: nothing from the server, nothing but the first packet."""
    sticky: bool = True
    largest: int = 16 * 2**20
    host: str | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        for path, (status, text) in self.answers.items():
            if request.path.startswith(path):
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


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come is given up soon."""
    monkeypatch.setattr("app.doctor.run.CHECK_SECONDS", 1.5)


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


BROKEN: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "upstream": ({"answers": {"/": (502, "Bad Gateway")}}, "http", FAILURE, "does not reach"),
    "other-server": ({"answers": {"/": (200, "It works!")}}, "http", FAILURE, "not Roomcast"),
    "redirected": (
        {"answers": {"/": (301, "")}, "add": {"Location": "https://x.example/"}},
        "http",
        FAILURE,
        "elsewhere",
    ),
    "not-ready": ({"answers": {"/readyz": (503, '{"database": "unavailable"}')}}, "ready", FAILURE, "database"),
    "no-policy": ({"drop": {"Content-Security-Policy"}}, "headers", FAILURE, "Content-Security-Policy"),
    "no-nosniff": ({"drop": {"X-Content-Type-Options"}}, "headers", FAILURE, "X-Content-Type-Options"),
    "clock": ({"add": {"Date": "Tue, 01 Jan 2019 00:00:00 GMT"}}, "clock", WARNING, "apart"),
    "no-authorization": ({"forget": {"Authorization"}}, "token", FAILURE, "Authorization"),
    "small-bodies": ({"largest": 100_000}, "body", FAILURE, "bodies"),
    "no-upgrade": ({"websockets": "refuse"}, "websocket", FAILURE, "handshake"),
    "silent-websocket": ({"websockets": "silent"}, "websocket", FAILURE, ""),
    "deaf-websocket": ({"websockets": "deaf"}, "sign-in", FAILURE, ""),
    "not-sticky": ({"sticky": False}, "polling", FAILURE, "same server"),
    "no-polling": ({"answers": {"/socket.io": (404, "")}}, "polling", FAILURE, "404"),
    "wrong-host": ({"host": "internal.example"}, "origin", FAILURE, "may not connect"),
    "no-origin": ({"forget": {"Origin"}}, "origin", WARNING, "any origin"),
    "webhook": ({"answers": {"/webhook": (500, "oops")}}, "passage", FAILURE, "500"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_proxies(name: str, store: Store, proxy: Callable[..., Awaitable[str]]) -> None:
    """What a proxy does wrong is found by the name of the check, with what to do."""
    broken, check, status, words = BROKEN[name]
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


async def test_nobody_there() -> None:
    """Where nothing answers there is one finding, and no more."""
    found = await findings("http://127.0.0.1:1")
    assert [(f.check, f.status) for f in found.values()] == [("http", FAILURE)]


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


async def test_rights_of_the_database_user(site: Site, mongodb_uri: str, database: str) -> None:
    """A user who may only read is found; nothing stored in the past hour is a warning."""
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        client[database].command("createUser", "reader", pwd="secret", roles=["read"])
    host = mongodb_uri.rpartition("@")[2].partition("/")[0]
    narrow = connect(f"mongodb://reader:secret@{host}/?authSource={database}&replicaSet=rs0", database, 5)
    try:
        found = await findings(site.url, narrow)
    finally:
        narrow.close()
        with MongoClient[dict[str, Any]](mongodb_uri) as client:
            client[database].command("dropUser", "reader")
    assert found["database-rights"].status == FAILURE
    assert "insert" in found["database-rights"].meaning
    assert found["past-hour"].status == WARNING


async def test_another_database(site: Site, mongodb_uri: str) -> None:
    """Settings that name another database than the server's are found."""
    other = connect(mongodb_uri, "doctor_other", 5)
    try:
        found = await findings(site.url, other)
    finally:
        other.close()
    assert found["passage"].status == FAILURE
    assert "another database" in found["passage"].meaning


async def test_command(site: Site, mongodb_uri: str, database: str) -> None:
    """`--json` prints an object for each check; the exit status is 2 where one fails, and no secret is printed."""
    given = {"AUTH_SECRET": SECRET, "MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": database}
    code, out, _ = await run("doctor", site.url, "--json", **given)
    found = [json.loads(line) for line in out.splitlines()]
    assert {one["check"] for one in found} >= {"http", "tls", "websocket", "polling", "passage", "change-stream"}
    assert all(one.keys() == {"check", "status", "meaning", "advice"} for one in found)
    assert code == exit_status([Finding(**one) for one in found])
    assert FAILURE not in {one["status"] for one in found}
    code, out, _ = await run("doctor", "http://127.0.0.1:1", **given)
    assert code == 2
    assert out.startswith("failure http: ")
    assert SECRET not in out
