"""Limits for answers: size of lists, concurrent answers, requests per second, log lines."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from app.application import STORE, assemble
from app.errors import RateLimited
from app.http.page import STATIC
from app.rates import MAX_KEYS, Rates
from app.settings import Settings
from app.storage.mongo import Store
from tests.support import PATIENCE, TOKENS, Client, Process, Site, message, mint, until

Start = Callable[..., Awaitable[Process]]
RunApp = Callable[[web.Application], Awaitable[Site]]
MIB = 1024 * 1024
LONG = "\u4f60" * 60_000
"""180 kB."""
PATH = "/api/v1/sessions/shop/chats/a/messages"


async def fill(site: Site, count: int) -> None:
    for number in range(count):
        answer = await site.post("shop", message(LONG, "a", messageId=f"m{number + 1}"))
        assert answer.status == 200, answer


# Lists


async def test_lists_are_bounded_by_bytes(site: Site) -> None:
    """A list of long messages ends at 1 MiB and says that there is more; paging gives each message once, in order."""
    await fill(site, 15)
    for name, first, edge in (("before", 999, 0), ("after", 0, -1)):
        pages: list[list[int]] = []
        place, more = first, True
        while more:
            answer = await site.get(f"{PATH}?limit=200&{name}={place}")
            assert len(json.dumps(answer.body, ensure_ascii=False).encode()) < MIB + 200_000
            seqs = [one["seq"] for one in answer.body["data"]]
            assert seqs == sorted(seqs)
            pages.append(seqs)
            more = answer.body["hasMore"]
            place = seqs[edge]
        assert [len(page) for page in pages] == [5, 5, 5]
        assert sorted(seq for page in pages for seq in page) == list(range(1, 16))
    assert (await site.get(f"{PATH}?limit=3")).body["hasMore"] is True
    short = await site.get(f"{PATH}?limit=1&after=14")
    assert ([one["seq"] for one in short.body["data"]], short.body["hasMore"]) == ([15], False)


async def test_a_list_reads_little_more_than_it_holds(
    site: Site, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long messages that do not fit into a list are not read for it: a handful of them, whatever the limit."""
    await fill(site, 40)
    read, asked = store.lists.read_messages, []

    async def counting(*args: Any, **options: Any) -> Any:
        found = await read(*args, **options)
        asked.append(len(found))
        return found

    monkeypatch.setattr(store.lists, "read_messages", counting)
    assert len((await site.get(f"{PATH}?limit=200")).body["data"]) == 5
    assert sum(asked) < 10


@pytest.mark.parametrize("count", [7, 8, 9, 31, 39, 40, 41, 65])
async def test_steps_do_not_show(site: Site, count: int) -> None:
    """However many messages there are, a list holds what it should: the steps in which it is read do not show."""
    await site.post("shop", {"messages": [message(chat="a", messageId=f"m{n}") for n in range(count)]})
    for limit in (1, 7, 8, 9, 39, 40, 41, 200):
        newest = await site.get(f"{PATH}?limit={limit}")
        assert [one["seq"] for one in newest.body["data"]] == list(range(1, count + 1))[-limit:]
        oldest = await site.get(f"{PATH}?limit={limit}&after=0")
        assert [one["seq"] for one in oldest.body["data"]] == list(range(1, count + 1))[:limit]
        assert newest.body["hasMore"] is oldest.body["hasMore"] is (limit < count)


async def test_sessions_in_pages(site: Site) -> None:
    """Sessions come in pages where that is asked for: those of the token and those that are stored, each once."""
    for name in ("b", "d", "f"):
        await site.post(name, message())
    for token, names in ((mint("*", "c", "e"), "bcdef"), (mint("a", "b", "d", "z"), "abdz"), (mint("x"), "x")):
        found, cursor = [], ""
        while True:
            answer = await site.get(f"/api/v1/sessions?limit=2{cursor}", token=token)
            found += [(one["sessionId"], one["position"]["seq"]) for one in answer.body["data"]]
            if answer.body["nextCursor"] is None:
                break
            cursor = f"&cursor={answer.body['nextCursor']}"
        assert found == [(name, 1 if name in "bdf" else 0) for name in names]
    assert "nextCursor" not in (await site.get("/api/v1/sessions")).body
    for bad in ("x", "Y2E", "%ff"):
        assert (await site.get(f"/api/v1/sessions?cursor={bad}")).status == 422


async def test_answers_that_nobody_reads(processes: Start) -> None:
    """Who asks for lists and does not take them is reset, has few at once, and keeps nobody else waiting."""
    server = await processes(STALL_TIMEOUT="0.5")
    await fill(server.site, 6)
    token = mint()
    host, port = "127.0.0.1", int(server.site.url.rpartition(":")[2])
    lines = []
    for _ in range(12):
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, (host, port))
        raw.send(f"GET {PATH}?limit=200 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        lines.append(raw)
    assert (await server.site.get(PATH + "?limit=1", token=mint("shop"))).status == 200
    assert (await server.site.get(PATH + "?limit=1", token=token)).status == 200  # its turn comes
    for raw in lines:
        await until(lambda raw=raw: raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET, "a reset")  # type: ignore[misc]
        raw.close()
    assert 1 <= sum('"answer_reset"' in line for line in server.log) <= 10


async def test_a_slow_reader_gets_its_answer(processes: Start) -> None:
    """Who takes an answer slowly, but takes it, gets it whole: what the kernel passes on counts, too."""
    server = await processes(STALL_TIMEOUT="0.5")
    await fill(server.site, 6)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", int(server.site.url.rpartition(":")[2])))
    raw.send(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {mint()}\r\nConnection: close\r\n\r\n".encode())
    got = bytearray()
    with contextlib.closing(raw):
        async with asyncio.timeout(PATIENCE):
            while chunk := await loop.sock_recv(raw, 16_384):
                got += chunk
                await asyncio.sleep(0.05)  # the client's own pace: far longer than STALL_TIMEOUT in all
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert len(json.loads(body)["data"]) == 5


# Rates


async def test_requests_of_one_token(settings: Settings, store: Store, run_app: RunApp) -> None:
    """Beyond its rate a token is answered 429 and told when to try again; other tokens do not notice."""
    site = await run_app(assemble(replace(settings, request_rate=0.5), TOKENS, store))
    token = mint("shop")
    assert (await site.post("shop", message(), token=token)).status == 200
    refused = await site.post("shop", message(), token=token)
    assert (refused.status, refused.body["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 2
    assert (await site.get(PATH, token=token)).status == 429
    assert (await site.get(PATH, token=mint("shop", "other"))).status == 200
    assert await site.seq("shop") == 1


async def test_wrong_tokens_of_one_address(settings: Settings, store: Store, run_app: RunApp) -> None:
    """Who tries wrong tokens is soon answered 429; a valid token of the same address is served all the same."""
    site = await run_app(assemble(replace(settings, unauthorized_rate=0.2), TOKENS, store))
    token = mint()
    assert [(await site.get(PATH, token=f"wrong{n}")).status for n in range(2)] == [401, 401]
    for wrong in ("wrong", mint(lifetime=-1), ""):
        refused = await site.request("GET", PATH, headers={"Authorization": f"Bearer {wrong}"})
        assert (refused.status, refused.body["code"]) == (429, "rate_limited")
        assert int(refused.headers["Retry-After"]) >= 1
    assert (await site.get(PATH, token=token)).status == 200
    assert (await site.post("shop", message(), token=token)).status == 200


def test_rates_forget() -> None:
    """The memory of who asked is bounded, and what is in use is kept."""
    rates = Rates(1e-9, 2, "too many")
    rates.take("often")
    for number in range(MAX_KEYS - 1):
        rates.take(str(number))
    rates.take("often")
    for number in range(MAX_KEYS // 2):
        rates.take(f"new{number}")
    with pytest.raises(RateLimited):
        rates.take("often")
    rates.take("0")
    rates.take("0")  # forgotten meanwhile


@pytest.mark.parametrize("trusted", ["127.0.0.1", "10.0.0.0/8"])
async def test_connections_of_one_address(processes: Start, trusted: str) -> None:
    """One address has a limited number of HTTP connections, unless it is a trusted proxy; those that end make room."""
    server = await processes(MAX_CONNECTIONS_PER_ADDRESS="1", TRUSTED_PROXIES=trusted)
    port = int(server.site.url.rpartition(":")[2])
    opened: list[asyncio.StreamWriter] = []

    async def alive() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        opened.append(writer)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            return b" 200 " in await reader.readuntil(b"\r\n\r\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            return False

    answers = [await alive() for _ in range(110)]
    if trusted == "127.0.0.1":
        assert all(answers)
    else:
        assert answers == [True] * 102 + [False] * 8
        opened[0].close()
        async with asyncio.timeout(PATIENCE):
            while not await alive():
                await asyncio.sleep(0.01)
    for writer in opened:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    client = await Client(server.site).connect()
    await client.close()
    assert await server.stop() == 0
    assert sum("connection_reset" in line for line in server.log) <= 11


async def test_readiness_asks_the_database_once_for_all(
    app: web.Application, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ask for it at once, which needs no token, the database is asked once."""
    asked, go_on = 0, asyncio.Event()
    store = app[STORE]
    ping = store.ping

    async def counted() -> None:
        nonlocal asked
        asked += 1
        await go_on.wait()
        await ping()

    monkeypatch.setattr(store, "ping", counted)
    port = int(site.url.rpartition(":")[2])
    asking = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
    for _, writer in asking:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: asked)
    await site.request("GET", "/healthz")  # what was sent before it has been read
    go_on.set()
    for reader, writer in asking:
        assert b" 200 " in (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0]
        writer.close()
    assert asked == 1
    assert (await site.request("GET", "/readyz")).status == 200
    assert asked == 2


# What is said and logged


async def test_refusals_write_few_lines(processes: Start) -> None:
    """A flood of refused requests writes some lines of each kind, not one each; other kinds are still seen."""
    server = await processes()
    await asyncio.gather(*(server.site.request("GET", "/nowhere") for _ in range(200)))
    assert (await server.site.post("shop", {"chatId": 1})).status == 422
    assert await server.stop() == 0
    refused = [json.loads(line)["code"] for line in server.log if '"event": "refused"' in line]
    assert refused.count("invalid") == 1
    assert 1 <= refused.count("not_found") <= 10


async def test_every_answer_says_what_it_is(site: Site) -> None:
    """Answers of all kinds forbid guessing at their type and name no versions; what is not there is a problem."""
    paths = ["/healthz", "/", "/nowhere", PATH, "/assets/nosuch.js", "/assets/", "/assets/../index.html", "/socket.io/"]
    paths += [f"/assets/{file.name}" for file in (STATIC / "assets").glob("*.js")]
    for path in paths:
        answer = await site.request("GET", path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert answer.headers["Server"] == "roomcast", path
    for path in ("/assets/nosuch.js", "/assets/", "/assets/%2e%2e/index.html", "/assets"):
        answer = await site.request("GET", path)
        assert (answer.status, answer.body["code"]) == (404, "not_found"), path
    reader, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
    writer.write(b"nonsense\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Server: roomcast\r\n" in head
    assert b"nosniff" in head
    writer.close()


async def test_names_cannot_hide_what_they_are(site: Site) -> None:
    """Characters that turn text round are taken out of names, and line breaks are spaces; texts stay as they are."""
    text = "right\u202eleft"
    media = {"url": "https://media.example.com/x", "fileName": "invoice\u202efdp.exe"}
    sender = {"id": "a", "name": "Al\u2066i\u2069ce\r\nBob"}
    await site.post("shop", message(text, "a", media=media, sender=sender, chatName="\u202e\u200f"))
    (stored,) = await site.messages("shop", "a")
    assert stored["media"]["fileName"] == "invoicefdp.exe"
    assert stored["sender"]["name"] == "Alice Bob"
    assert stored["text"] == text
    (chat,) = await site.chats("shop")
    assert chat["name"] == "Alice Bob"
    for name in ("\u0627\u0644\u0633\u0644\u0627\u0645", "a\u200db", "\U0001f468\u200d\U0001f469"):
        await site.post("shop", message(chat="b", chatName=name))
        assert (await site.chats("shop"))[0]["name"] == name


@pytest.mark.parametrize(
    "path", ["/webhook/shop/", "/webhook/shop/baileys/", "/healthz/", "/api/v1/sessions/", PATH + "/"]
)
async def test_a_trailing_slash_does_not_matter(site: Site, path: str) -> None:
    """An address with a slash at its end is the same."""
    if path.startswith("/webhook"):
        body: Any = message() if path == "/webhook/shop/" else {"event": "nothing"}
        assert (await site.request("POST", path, token=mint(), json=body)).status == 200
    else:
        assert (await site.get(path)).status == 200


async def test_charsets(site: Site) -> None:
    """UTF-8 and US-ASCII are taken, also with a byte order mark; other charsets are named and refused."""
    body = json.dumps(message()).encode()

    async def status(kind: str, data: bytes = body) -> tuple[int, str]:
        answer = await site.request("POST", "/webhook/shop", token=mint(), data=data, headers={"Content-Type": kind})
        return answer.status, answer.body.get("detail", "")

    for good in ("application/json", 'application/json; charset="UTF-8"', "application/json;charset=us-ascii"):
        assert await status(good) == (200, "")
    assert await status("application/json", b"\xef\xbb\xbf" + body) == (200, "")
    for bad in ("utf-16", "iso-8859-1", "windows-1252"):
        code, detail = await status(f"application/json; charset={bad}")
        assert (code, bad in detail) == (415, True)
    assert (await status("text/plain"))[0] == 415
