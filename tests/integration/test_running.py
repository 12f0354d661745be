"""Operations: health, metrics, logs, the command line, the page."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import os
import re
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pymongo import AsyncMongoClient

from app import __version__, devdb
from app.application import assemble
from app.auth import Tokens
from app.http.page import STATIC
from app.services.recovery import Recovery
from app.settings import SETTINGS, Settings
from app.startup import auth_secrets
from app.storage.mongo import Store
from tests.support import PATIENCE, SECRET, TOKENS, Client, Process, Site, command, message, mint, serve, until

RunApp = Callable[[web.Application], Awaitable[Site]]
BUILT = pytest.mark.skipif(not (STATIC / "index.html").is_file(), reason="the page is not built")


async def figures(site: Site) -> dict[str, float]:
    answer = await site.request("GET", "/metrics")
    assert answer.status == 200, answer
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


# Health


async def test_alive_and_ready(site: Site) -> None:
    """A server that runs is alive and ready, and says so without a token."""
    alive = await site.request("GET", "/healthz")
    assert (alive.status, alive.body) == (200, {"status": "ok"})
    ready = await site.request("GET", "/readyz")
    assert (ready.status, ready.body) == (200, {"status": "ok", "database": "ok", "draining": False})


async def test_not_ready_while_a_background_task_fails(
    app: web.Application, run_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stray cancellation of what must run as long as the server is counted and shown by /readyz, until it has run
    steadily again."""
    failures = [asyncio.CancelledError()]

    def cleaning(self: Recovery) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(Recovery, "clean_up", cleaning)
    monkeypatch.setattr("app.services.connections.EXPIRY_SECONDS", 0.01)
    site: Site = await run_app(app)
    await until(lambda: not failures)
    ready = await site.request("GET", "/readyz")
    assert (ready.status, ready.body["failing"]) == (503, ["housekeeping"])
    assert (await figures(site))['roomcast_background_failures_total{task="housekeeping"}'] == 1
    monkeypatch.setattr("app.services.background.STEADY_SECONDS", -1.0)
    assert (await site.request("GET", "/readyz")).status == 200


async def test_draining(app: web.Application, site: Site, connect_client: Any) -> None:
    """While it drains a server is alive and not ready, takes nothing, and lets its clients go."""
    client: Client = await connect_client()
    await client.subscribe("shop")
    await site.post("shop", message())
    await client.has(1)
    await app.shutdown()
    await client.gone()
    assert (await site.request("GET", "/healthz")).status == 200
    ready = await site.request("GET", "/readyz")
    assert (ready.status, ready.body["draining"], ready.body["database"]) == (503, True, "ok")
    refused = await site.post("shop", message())
    assert (refused.status, refused.body["code"]) == (503, "unavailable")
    assert "Retry-After" in refused.headers
    assert (await site.request("GET", "/socket.io/?EIO=4&transport=polling")).status == 503
    assert await site.seq("shop") == 1


async def test_stopping_while_the_database_does_not_answer(
    http: aiohttp.ClientSession, connect_client: Any, tmp_path: Path
) -> None:
    """SIGTERM ends the server within 10 s though its database does not answer, and who waits for it is told 503."""
    async with contextlib.AsyncExitStack() as stack:
        uri = await stack.enter_async_context(devdb.run(tmp_path, None))
        environ = {"MONGODB_TIMEOUT": "30", "WRITE_DEADLINE": "30"}
        process = await stack.enter_async_context(serve(http, MONGODB_URI=uri, **environ))
        for number in range(20):
            assert (await process.site.post(f"s{number}", message())).status == 200
        client = await connect_client(to=process.site)
        await client.subscribe("s1")
        async with AsyncMongoClient[dict[str, Any]](uri) as driver:
            mongod = (await driver.admin.command("serverStatus"))["pid"]
        os.kill(mongod, signal.SIGSTOP)
        try:
            posts = [asyncio.create_task(process.site.post(f"s{number}", message())) for number in range(20)]
            reads = [asyncio.create_task(process.site.get("/api/v1/sessions")) for _ in range(20)]
            await asyncio.wait([*posts, *reads], timeout=0.5)
            began = time.monotonic()
            assert await process.stop() == 0
            print(f"{time.monotonic() - began:.1f} s")
            assert time.monotonic() - began < 10
            assert {(await post).status for post in posts} == {503}
            await client.gone()
            await asyncio.gather(*reads, return_exceptions=True)  # they end, one way or the other
        finally:
            os.kill(mongod, signal.SIGCONT)


async def test_database_stopped(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    """Without its database a server is alive, not ready, and answers 503 in bounded time; it does not end."""
    environ = {"MONGODB_TIMEOUT": "1", "WRITE_DEADLINE": "2"}
    async with contextlib.AsyncExitStack() as stack:
        uri = await stack.enter_async_context(devdb.run(tmp_path, None))
        process = await stack.enter_async_context(serve(http, MONGODB_URI=uri, **environ))
        assert (await process.site.post("shop", message())).status == 200
        async with AsyncMongoClient[dict[str, Any]](uri) as client:
            mongod = (await client.admin.command("serverStatus"))["pid"]
        os.kill(mongod, signal.SIGSTOP)  # it accepts and does not answer, which is worse than gone
        try:
            async with asyncio.timeout(12):
                ready, alive, posted, read = await asyncio.gather(
                    process.site.request("GET", "/readyz"),
                    process.site.request("GET", "/healthz"),
                    process.site.post("shop", message(messageId="m1")),
                    process.site.get("/api/v1/sessions"),
                )
            await until(lambda: any('"database_unavailable"' in line for line in process.log))
        finally:
            os.kill(mongod, signal.SIGCONT)
        assert (ready.status, ready.body["database"], ready.body["draining"]) == (503, "unavailable", False)
        assert alive.status == 200
        assert (posted.status, read.status) == (503, 503)
        assert "Retry-After" in posted.headers
        async with asyncio.timeout(PATIENCE):
            while (await process.site.post("shop", message(messageId="m1"))).status != 200:
                await asyncio.sleep(0.05)
        assert await process.site.seq("shop") == 2
        assert (await process.site.request("GET", "/readyz")).status == 200
        await until(lambda: any('"database_available_again"' in line for line in process.log))
        assert await process.stop() == 0
        entries = [json.loads(line) for line in process.log]
        outage = [one for one in entries if one["event"] in ("database_unavailable", "database_available_again")]
        assert [one["event"] for one in outage] == ["database_unavailable", "database_available_again"]
        assert outage[0]["level"] == outage[1]["level"] == "warning"
        assert outage[1]["seconds"] > 0
        (listening,) = (one for one in entries if one["event"] == "listening")
        assert listening["version"] == __version__
        assert listening["database"].startswith("mongodb://127.0.0.1:")
        assert listening["database"].endswith("/roomcast")


# Figures

LISTED = (
    'roomcast_connections{transport="websocket"}',
    'roomcast_streams{state="live"}',
    'roomcast_streams{state="catching_up"}',
    "roomcast_messages_stored_total",
    "roomcast_events_published_total",
    "roomcast_duplicates_total",
    "roomcast_queue_depth",
    "roomcast_commit_seconds_count",
    "roomcast_receipt_to_push_seconds_count",
)


async def test_figures_move(site: Site, connect_client: Any) -> None:
    """The metrics exist and change when things happen."""
    before = await figures(site)
    client: Client = await connect_client()
    await client.subscribe("shop")
    await site.post("shop", {"messages": [message(messageId="m1"), message(messageId="m2")]})
    await site.post("shop", message(messageId="m1"))
    await client.has(1, 2)
    late: Client = await connect_client()
    epoch = (await client.subscribe("shop"))["position"]["epoch"]
    await late.subscribe("shop", position={"epoch": epoch, "seq": 0})
    await late.has(1, 2)
    await late.fence()
    assert (await site.post("shop", {"chatId": 1})).status == 422
    assert (await site.post("shop", message(), token="nonsense")).status == 401
    assert (await late.call("subscribe", {}))["error"]["code"] == "invalid"
    after = await figures(site)
    assert set(LISTED) <= after.keys()
    grown = {name: value - before.get(name, 0) for name, value in after.items()}
    assert grown['roomcast_connections{transport="websocket"}'] == 2
    assert grown['roomcast_streams{state="live"}'] == 2
    assert grown["roomcast_messages_stored_total"] == 2
    assert grown["roomcast_duplicates_total"] == 1
    assert grown["roomcast_events_published_total"] == 2
    assert grown["roomcast_events_caught_up_total"] == 2
    assert grown["roomcast_commit_seconds_count"] == 2
    assert grown["roomcast_receipt_to_push_seconds_count"] >= 2
    assert grown['roomcast_refused_total{reason="invalid"}'] == 2
    assert grown['roomcast_refused_total{reason="unauthorized"}'] == 1
    assert after["roomcast_queue_depth"] == 0


async def test_figures_are_for_loopback(settings: Settings, store: Store, run_app: RunApp, site: Site) -> None:
    """/metrics only answers this machine, and not requests through a proxy, unless a trusted one says so."""

    async def status(where: Site, **headers: str) -> int:
        answer = await where.request("GET", "/metrics", headers=headers)
        assert answer.status == 200 or answer.body["code"] == "not_found"
        return answer.status

    assert await status(site) == 200
    for name, value in (
        ("X-Forwarded-For", "203.0.113.5"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-For", ""),
        ("Forwarded", "for=127.0.0.1"),
    ):
        assert await status(site, **{name: value}) == 404
    behind = await run_app(assemble(replace(settings, trusted_proxies=(ip_network("127.0.0.1/32"),)), TOKENS, store))
    assert await status(behind, **{"X-Forwarded-For": "203.0.113.5"}) == 404
    assert await status(behind, **{"X-Forwarded-For": "127.0.0.1, 203.0.113.5"}) == 404
    public = await run_app(assemble(replace(settings, metrics_public=True), TOKENS, store))
    assert await status(public, **{"X-Forwarded-For": "203.0.113.5"}) == 200


# Logs


async def test_logs(processes: Callable[..., Awaitable[Process]], connect_client: Any) -> None:
    """Even at debug level there are no secrets, tokens and message texts in the logs, and there are ids to follow."""
    process = await processes(LOG_LEVEL="debug")
    site = process.site
    words, name, stranger = "the-words-of-a-message", "the-name-of-a-person", "a-token-of-nobody"
    good, expired = mint("shop"), mint(lifetime=-5)
    client: Client = await connect_client(good, to=site)
    await client.subscribe("shop")
    sender = {"id": "a", "name": name}
    await site.post("shop", message(words, "a", sender=sender, messageId="m1"), token=good)
    await site.post("shop", message(words, "a", sender=sender, messageId="m1"), token=good)
    await site.post("shop", message(words, "a", extra=words), token=good)
    await site.post("shop", {"event": "messages.upsert", "data": {"messages": [{"x": words}]}}, source="baileys")
    await client.ask("authenticate", token=good)
    await client.call("authenticate", {"token": stranger})
    await client.call("mark_read", {"sessionId": "shop", "chatId": "a", "seq": words})
    await client.call("nosuch", {"text": words})
    await client.has(1)
    refused = await site.post("shop", message(words), token=stranger)
    for path in (f"/nowhere?token={good}", f"/?token={good}", f"/api/v1/sessions?token={good}"):
        await site.request("GET", path, headers={"Authorization": f"Bearer {expired}"})
    for auth in (expired, stranger):
        url = f"{site.url}/socket.io/?EIO=4&transport=websocket&token={good}"
        async with site.http.ws_connect(url) as websocket:
            await websocket.receive_str()
            await websocket.send_str("40" + json.dumps({"token": auth, "text": words}))
            assert (await websocket.receive_str()).startswith("44")
            await websocket.send_str('42["connect",{"text":"' + words + '"}]')
            await websocket.receive()
    await client.close()
    assert await process.stop() == 0
    logged = "\n".join(process.log)
    for hidden in (words, name, stranger, good, expired, SECRET, "Traceback"):
        assert hidden not in logged, [line for line in process.log if hidden in line]
    assert process.stdout == []
    entries = [json.loads(line) for line in process.log]
    assert all({"event", "level", "timestamp"} <= entry.keys() for entry in entries), entries
    request_id = {name.lower(): value for name, value in refused.headers.items()}["x-request-id"]
    by_id = [entry for entry in entries if entry.get("request_id") == request_id]
    assert [entry["code"] for entry in by_id] == ["unauthorized"]
    assert any("connection_id" in entry for entry in entries)


@pytest.mark.parametrize(
    "head", [b"nonsense\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"], ids=range(3)
)
async def test_what_is_no_http_gets_a_problem(site: Site, head: bytes) -> None:
    """Errors that arise before any handler are problems too, and end the connection."""
    host, _, port = site.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)
    status, _, answer = (await reader.read()).partition(b"\r\n")
    assert status.split()[1] == b"400"
    assert b"application/problem+json" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "malformed"
    writer.close()


async def test_slow_heads_are_given_up(processes: Callable[..., Awaitable[Process]]) -> None:
    """A connection without complete headers in time is closed; one with complete headers is not."""
    server = await processes(HEADER_TIMEOUT="0.5")
    host, _, port = server.site.url.removeprefix("http://").partition(":")
    for start in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(start)
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
    client = await Client(server.site).connect()
    assert (await server.site.get("/healthz")).status == 200
    await client.subscribe("shop")
    assert client.connected
    await client.close()


async def test_unreadable_requests_stay_out_of_the_logs(processes: Callable[..., Awaitable[Process]]) -> None:
    """Invalid HTTP is refused, and leaves neither its bytes nor a traceback in the logs."""
    process = await processes(LOG_LEVEL="debug")
    port = int(process.site.url.rpartition(":")[2])
    for request in (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nBad Header: a-secret-of-somebody\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nAuthorization: Bearer a-secret-of-somebody\x00\r\n\r\n",
        b"a-secret-of-somebody\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()
        assert b" 400 " in answer.partition(b"\r\n")[0]
    assert await process.stop() == 0
    logged = "\n".join(process.log)
    assert "a-secret-of-somebody" not in logged
    assert "Traceback" not in logged


# The command line


async def test_token(site: Site, tmp_path: Path) -> None:
    """`token` prints a token alone, and it works, for what was asked and nothing else."""
    where = {"DATA_DIR": str(tmp_path), "AUTH_SECRET": SECRET}
    (code, everything, err), (_, narrow, _) = await asyncio.gather(
        command("token", **where),
        command("token", "--sub", "ann", "--session", "shop", "--scope", "read", "--days", "0.5", **where),
    )
    assert (code, err) == (0, "")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", everything)
    assert (await site.post("any", message(), token=everything.strip())).status == 200
    assert (await site.get("/api/v1/sessions/shop/chats", token=narrow.strip())).status == 200
    assert (await site.get("/api/v1/sessions/any/chats", token=narrow.strip())).status == 404
    assert (await site.post("shop", message(), token=narrow.strip())).status == 404
    assert TOKENS.verify(narrow.strip()).sub == "ann"


async def test_made_secret_is_kept(settings: Settings, tmp_path: Path) -> None:
    """A secret that is made is kept, is the owner's alone, the same for all who make it at once, and signs tokens."""
    settings = replace(settings, auth_secret=None, data_dir=tmp_path / "new" / "place")
    with ThreadPoolExecutor(8) as threads:
        made = {one for found in threads.map(auth_secrets, [settings] * 8) for one in found}
    kept = settings.data_dir / "auth_secret"
    assert made == {kept.read_text()}
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    assert kept.stat().st_mode & 0o077 == 0
    assert len(kept.read_text()) >= 43
    _, token, _ = await command("token", DATA_DIR=str(settings.data_dir))
    assert Tokens(kept.read_text()).verify(token.strip()).sub == "agent"


@pytest.mark.parametrize("words", [["token"], ["simulate", "--seconds", "1"]], ids=lambda words: words[0])
async def test_no_command_makes_a_secret(words: list[str], tmp_path: Path) -> None:
    """`token` and `simulate` say where they looked for a secret, and make neither a secret nor a directory."""
    code, out, err = await command(*words, DATA_DIR=str(tmp_path / "typo"))
    assert (code, out) == (2, "")
    assert err.startswith("roomcast: AUTH_SECRET: ")
    assert str(tmp_path / "typo" / "auth_secret") in err
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("where", ["AUTH_SECRET", "file"])
async def test_short_secret(where: str, tmp_path: Path) -> None:
    """A secret that is shorter than 32 bytes is refused wherever it comes from, and never shown."""
    (tmp_path / "auth_secret").write_text("" if where == "AUTH_SECRET" else "short-one")
    given = {"AUTH_SECRET": "short-one"} if where == "AUTH_SECRET" else {}
    code, out, err = await command("token", DATA_DIR=str(tmp_path), **given)
    assert (code, out) == (2, "")
    assert err.startswith("roomcast: AUTH_SECRET: ")
    assert "short-one" not in err


async def test_config(tmp_path: Path) -> None:
    """`config` prints every effective setting, secrets hidden."""
    uri = "mongodb://user:pa55word@db.example/"
    code, out, err = await command("config", AUTH_SECRET=SECRET, MONGODB_URI=uri, PORT="5000")
    assert (code, err) == (0, "")
    shown = dict(line.split("=", 1) for line in out.splitlines())
    assert shown.keys() == {setting.name for setting in SETTINGS}
    assert (shown["PORT"], shown["HOST"], shown["AUTH_SECRET"]) == ("5000", "0.0.0.0", "(set)")
    assert SECRET not in out
    assert "pa55word" not in out


async def test_bad_settings(tmp_path: Path) -> None:
    """Bad settings end every command with code 2 and all faults at once, and start nothing."""
    bad = {"PORT": "x", "LOG_LEVEL": "loud", "PING_INTERVAL": "-1", "MONGODB_URI": "mongodb://x:pa55word@y/"}
    commands = [command(name, DATA_DIR=str(tmp_path / "data"), **bad) for name in ("serve", "token", "config")]
    for code, out, err in await asyncio.gather(*commands):
        assert (code, out) == (2, "")
        named = [line.split(": ")[1] for line in err.splitlines()]
        assert named == ["AUTH_SECRET", "LOG_LEVEL", "PING_INTERVAL", "PORT"]
        assert "pa55word" not in err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "uri", ["nonsense", "http://localhost", "mongodb://", "mongodb://localhost:x/", "mongodb://a:pa55@b@localhost/"]
)
async def test_database_that_cannot_be_used(uri: str) -> None:
    """An address that cannot be a database's is told in words and ends the server at once."""
    code, out, err = await command("serve", MONGODB_URI=uri, AUTH_SECRET=SECRET, PORT="0")
    assert (code, out) == (2, "")
    assert err.startswith("roomcast: MONGODB_URI: ")
    assert len(err.splitlines()) == 1
    assert "pa55" not in err


async def test_first_minute_and_second_server(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    """What is printed works as it stands; a second server on the same data says so and stops; so does a taken port."""
    async with serve(http, DATA_DIR=str(tmp_path)) as process:
        async with asyncio.timeout(PATIENCE):
            while not any("Stop with" in line for line in process.stdout):
                await asyncio.sleep(0.01)
        printed = "\n".join(process.stdout)
        port = process.site.url.rpartition(":")[2]
        page = re.search(rf"http://127\.0\.0\.1:{port}/#token=(\S+)", printed)
        assert page
        curl = re.search(r"curl -X POST .*?-d '[^']*'", printed, re.S)
        assert curl
        assert str(tmp_path) in printed
        curl = await asyncio.create_subprocess_shell(
            curl[0].replace("curl ", "curl -sS ", 1), stdout=asyncio.subprocess.PIPE
        )
        answer = json.loads((await curl.communicate())[0])
        assert answer["data"]["results"][0]["seq"] == 1
        chats = await process.site.get("/api/v1/sessions/shop/chats", token=page[1])
        assert chats.body["data"][0]["name"] == "Alice"
        assert page[1] not in "\n".join(process.log)
        second, taken = await asyncio.gather(
            command("serve", DATA_DIR=str(tmp_path), PORT="0", HOST="127.0.0.1"),
            command("serve", DATA_DIR=str(tmp_path / "other"), PORT=port, HOST="127.0.0.1"),
        )
        assert second[0] == 2
        assert str(tmp_path) in second[2]
        assert taken[0] == 2
        assert f"127.0.0.1:{port}" in taken[2]
        assert "PORT" in taken[2]
        assert not (tmp_path / "other").exists(), "nothing is started where the port is taken"
        assert (await process.site.get("/api/v1/sessions/shop/chats", token=page[1])).status == 200
        assert await process.stop() == 0


# The page


@BUILT
async def test_page(site: Site) -> None:
    """The page comes with its configuration, and with headers that let it run its own scripts and nothing else."""
    answer = await site.request("GET", "/")
    assert answer.status == 200
    text = answer.body.decode()
    tag = re.search(r'<meta name="roomcast" content="([^"]*)"', text)
    assert tag
    config = json.loads(html.unescape(tag[1]))
    assert config["socketPath"] == "/socket.io/"
    assert config["reconnectDelayMs"] == 500
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["img-src"] == "'self' data:"
    assert policy["media-src"] == "'none'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|style=", text), "nothing inline"
    sources = re.findall(r'(?:src|href)="(/[^"]+)"', text)
    assert sources
    for source in sources:
        asset = await site.request("GET", source)
        assert asset.status == 200, source
        if source.startswith("/assets/"):
            assert "immutable" in asset.headers["Cache-Control"]


@BUILT
async def test_nothing_but_the_page(site: Site) -> None:
    """No path leads outside of the built files."""
    outside = ("/assets/%2e%2e/%2e%2e/settings/effective.py", "/assets/..%2f..%2fsettings/effective.py")
    for path in (*outside, "/assets/", "/assets", "/.env"):
        url = aiohttp.client.URL(site.url + path, encoded=True)
        async with site.http.get(url) as answer:
            assert answer.status in (403, 404), path
            assert b"SETTINGS" not in await answer.read()


async def test_sockets_need_no_page(site: Site) -> None:
    """Port, path and health are there whatever is built."""
    with socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2])), timeout=5):
        assert (await site.request("GET", "/")).status == 200
