"""POST /webhook/{sessionId}: accepted bodies, answers, and that refused bodies store nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from app.application import INGEST, assemble
from app.settings import Settings
from app.storage.mongo import Store
from tests.support import TOKENS, Answer, Client, Site, message, mint, until

MEBIBYTE = 1024 * 1024
JSON = {"Content-Type": "application/json"}
RunApp = Callable[[web.Application], Awaitable[Site]]


@pytest.fixture
async def watcher(site: Site, connect_client: Any) -> Client:
    """A subscriber of the session `shop`."""
    client: Client = await connect_client()
    await client.subscribe("shop")
    return client


async def send(site: Site, body: Any, session: str = "shop", **more: Any) -> Answer:
    """Post bytes as they are."""
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, bytes):
        body = io.BytesIO(body)
    headers = JSON | more.pop("headers", {})
    return await site.request("POST", f"/webhook/{session}", token=mint(), data=body, headers=headers, **more)


def check_problem(answer: Answer, status: int, code: str) -> None:
    """An error has the contract's form (RFC 9457)."""
    assert (answer.status, answer.body.get("code")) == (status, code), answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert set(answer.body) == {"type", "title", "status", "detail", "code", "errors"}
    assert answer.body["status"] == status
    assert ("Retry-After" in answer.headers) == (status in (429, 503))
    for error in answer.body["errors"]:
        assert set(error) == {"pointer", "detail"}


async def check_nothing_happened(site: Site, watcher: Client) -> None:
    await watcher.fence()
    assert watcher.durable() == []
    assert await site.seq("shop") == 0
    assert await site.chats("shop") == []


async def test_defaults(site: Site, watcher: Client) -> None:
    """A chat and a text are enough; the rest is filled in as the contract says."""
    answer = await site.post("shop", {"chatId": "a", "text": "hi"})
    (result,) = answer.results
    assert answer.body == {"ok": True, "data": {"results": [result]}}
    assert (result["seq"], result["duplicate"]) == (1, False)
    (stored,) = await site.messages("shop", "a")
    assert stored["messageId"] == result["messageId"]
    assert stored["timestamp"] == stored["receivedAt"]
    defaults = {
        "sessionId": "shop",
        "chatId": "a",
        "fromMe": False,
        "sender": {"id": "a", "name": None},
        "type": "text",
        "text": "hi",
        "media": None,
        "replyTo": None,
        "status": "received",
        "seq": 1,
        "updatedSeq": 1,
    }
    assert stored == stored | defaults
    await watcher.has(1)


async def test_results_are_in_order(site: Site, watcher: Client) -> None:
    """Of several messages each has its result, in the order given, and each is pushed in that order."""
    body = [message(str(n), f"chat {n % 3}", messageId=f"m{n}") for n in range(500)]
    results = (await site.post("shop", {"messages": body})).results
    assert results == [{"messageId": f"m{n}", "seq": n + 1, "duplicate": False} for n in range(500)]
    await watcher.has(*range(1, 501))
    assert [event["message"]["messageId"] for event in watcher.durable()] == [f"m{n}" for n in range(500)]


async def test_repeats(site: Site, watcher: Client) -> None:
    """A repeat, in one body or later, has the first one's seq, and is neither stored nor pushed again."""
    one, other = message("one", messageId="m1"), message("other", messageId="m1")
    first = await site.post("shop", {"messages": [one, other, message("two", messageId="m2")]})
    assert [(r["seq"], r["duplicate"]) for r in first.results] == [(1, False), (1, True), (2, False)]
    again = await site.post("shop", other)
    assert again.results == [{"messageId": "m1", "seq": 1, "duplicate": True}]
    assert [m["text"] for m in await site.messages("shop")] == ["one", "two"]
    await watcher.fence()
    await watcher.has(1, 2)


async def test_repeats_at_once(site: Site, watcher: Client) -> None:
    """The same message 50 times at once is one message, one seq, and 50 good answers."""
    answers = await asyncio.gather(*(site.post("shop", message(str(n), messageId="m1")) for n in range(50)))
    results = [answer.results[0] for answer in answers]
    assert {result["seq"] for result in results} == {1}
    assert sum(not result["duplicate"] for result in results) == 1
    assert await site.seq("shop") == 1
    await watcher.fence()
    await watcher.has(1)


async def test_no_id_no_repeat(site: Site) -> None:
    """Without a messageId the server makes one, and cannot tell a repeat."""
    first, second = [(await site.post("shop", message())).results[0] for _ in range(2)]
    assert first["messageId"] != second["messageId"]
    assert (first["seq"], second["seq"]) == (1, 2)


async def test_sessions_and_chats_are_apart(site: Site) -> None:
    """The same id in another chat or session is another message, and each session has its own numbers."""
    for session, chat in (("one", "a"), ("one", "b"), ("two", "a")):
        (result,) = (await site.post(session, message(chat=chat, messageId="m1"))).results
        assert not result["duplicate"]
    assert (await site.seq("one"), await site.seq("two")) == (2, 1)


async def test_unknown_with_a_text_stays(site: Site, watcher: Client) -> None:
    """What has a text has content, whatever its type: a repeat with another text changes nothing."""
    stub = message("?", messageId="m1", type="unknown")
    await site.post("shop", stub)
    (result,) = (await site.post("shop", message("real", messageId="m1"))).results
    assert result == {"messageId": "m1", "seq": 1, "duplicate": True}
    await watcher.fence()
    await watcher.has(1)


async def test_a_body_of_a_mebibyte(site: Site, watcher: Client) -> None:
    """A body of exactly 1 MiB is taken, all of it; one more byte is refused."""
    several = {"messages": [message("x" * 60_000)] * 17}
    body = json.dumps(several)
    padded = body + " " * (MEBIBYTE - len(body))
    answer = await send(site, padded)
    assert len(answer.results) == 17
    check_problem(await send(site, padded + " "), 413, "too_large")
    await watcher.wait_for(lambda me: len(me.durable()) >= 17)
    assert await site.seq("shop") == 17
    assert all(len(m["text"]) == 60_000 for m in await site.messages("shop"))


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


def _nested(depth: int) -> bytes:
    return b'{"chatId": "a", "text": ' + b"[" * depth + b"]" * depth + b"}"


GOOD = {"chatId": "a", "text": "hi"}
MALFORMED = {
    "empty": b"",
    "not JSON": b"hello",
    "cut": b'{"chatId": "a", "text": "h',
    "two": b'{"chatId": "a", "text": "x"} {}',
    "NaN": b'{"chatId": "a", "text": "x", "timestamp": NaN}',
    "Infinity": b'{"chatId": "a", "text": "x", "timestamp": Infinity}',
    "900 deep": _nested(900),
    "100,000 deep": _nested(100_000),
    "100,000 open": b"[" * 100_000,
    "invalid UTF-8": b'{"chatId": "a", "text": "\xff"}',
    "surrogates in UTF-8": b'{"chatId": "a", "text": "\xed\xa0\x80"}',
    "UTF-16": '{"chatId": "a", "text": "x"}'.encode("utf-16"),
    "form": b"chatId=a&text=hi",
}


async def test_malformed(site: Site, watcher: Client) -> None:
    """A body that is not JSON, or nested too deeply, is answered 400 and stores nothing."""
    for name, body in MALFORMED.items():
        answer = await send(site, body)
        assert answer.status == 400, (name, answer)
        check_problem(answer, 400, "malformed")
    await check_nothing_happened(site, watcher)


INVALID: dict[str, tuple[Any, str]] = {
    "list": ([GOOD], "#"),
    "null": (None, "#"),
    "number": (1, "#"),
    "empty object": ({}, "#/chatId"),
    "no text": ({"chatId": "a"}, "#"),
    "100-digit integer": (GOOD | {"timestamp": int("9" * 100)}, "#/timestamp"),
    "100-digit size": ({"chatId": "a", "media": {"url": "https://a.b/", "size": int("9" * 100)}}, "#/media/size"),
    "lone surrogate": (GOOD | {"text": "\ud83d"}, "#/text"),
    "lone surrogate in an id": (GOOD | {"chatId": "\udc00"}, "#/chatId"),
    "control character": (GOOD | {"chatId": "a\x00b"}, "#/chatId"),
    "line break": (GOOD | {"messageId": "a\nb"}, "#/messageId"),
    "dots": (GOOD | {"chatId": ".."}, "#/chatId"),
    "long id": (GOOD | {"messageId": "x" * 257}, "#/messageId"),
    "long text": (GOOD | {"text": "x" * 65_537}, "#/text"),
    "unknown field": (GOOD | {"seq": 7}, "#/seq"),
    "__proto__": (GOOD | {"__proto__": {"text": "x"}}, "#/__proto__"),
    "unknown type": (GOOD | {"type": "poll"}, "#/type"),
    "wrong status": (GOOD | {"status": "sent"}, "#/status"),
    "script for a url": ({"chatId": "a", "media": {"url": "javascript:alert(1)"}}, "#/media/url"),
    "no messages": ({"messages": []}, "#/messages"),
    "501 messages": ({"messages": [GOOD] * 501}, "#/messages"),
    "300,000 elements": ({"messages": [0] * 300_000}, "#/messages"),
    "300,000 elements in a text": (GOOD | {"text": [0] * 300_000}, "#/text"),
    "messages and more": ({"messages": [GOOD], "chatId": "a"}, "#/chatId"),
    "one bad among 500": (
        {"messages": [*[GOOD | {"messageId": f"m{n}"} for n in range(499)], GOOD | {"chatId": ""}]},
        "#/messages/499/chatId",
    ),
}
for _field in ("chatId", "messageId", "text", "type", "status", "chatName", "timestamp"):
    for _wrong in ({"$ne": 1}, ["x"]):
        INVALID[f"{_wrong} for {_field}"] = (GOOD | {_field: _wrong}, f"#/{_field}")
for _wrong in ({"$ne": 1}, ["x"]):
    INVALID[f"{_wrong} for sender/id"] = (GOOD | {"sender": {"id": _wrong}}, "#/sender/id")
    INVALID[f"{_wrong} for media/url"] = (GOOD | {"media": {"url": _wrong}}, "#/media/url")
    INVALID[f"{_wrong} for replyTo/messageId"] = (GOOD | {"replyTo": {"messageId": _wrong}}, "#/replyTo/messageId")


async def test_invalid(site: Site, watcher: Client) -> None:
    """An invalid body is answered 422 with the place of the error, and stores nothing, not even its valid items."""
    for name, (body, pointer) in INVALID.items():
        answer = await send(site, json.dumps(body))
        assert answer.status == 422, (name, answer)
        check_problem(answer, 422, "invalid")
        assert pointer in [error["pointer"] for error in answer.body["errors"]], (name, answer)
    await check_nothing_happened(site, watcher)


async def test_too_large(site: Site, watcher: Client) -> None:
    """More than 1 MiB is refused: told beforehand, in chunks, or blown up from a small gzip."""
    body = json.dumps(GOOD).encode()
    large = body + b" " * (MEBIBYTE + 1 - len(body))
    check_problem(await send(site, large), 413, "too_large")
    check_problem(await send(site, _chunks(large)), 413, "too_large")
    check_problem(await send(site, b"[" + b"0," * 1_000_000 + b"0]"), 413, "too_large")
    bomb = gzip.compress(b" " * 50 * MEBIBYTE)
    check_problem(await send(site, bomb, headers={"Content-Encoding": "gzip"}), 413, "too_large")
    await check_nothing_happened(site, watcher)


async def test_bodies_in_pieces(site: Site) -> None:
    """A body in chunks, or compressed, is taken like any other."""
    body = json.dumps(message("x" * 60_000)).encode()
    assert (await send(site, _chunks(body))).results[0]["seq"] == 1
    assert (await send(site, gzip.compress(body), headers={"Content-Encoding": "gzip"})).results[0]["seq"] == 2


async def test_content_type(site: Site, watcher: Client) -> None:
    """A body that is not declared as JSON in UTF-8 is answered 415."""
    form = "application/x-www-form-urlencoded"
    for kind in ("text/plain", form, "application/json; charset=utf-16", "text/json", "application/json5", ""):
        answer = await send(site, json.dumps(GOOD), headers={"Content-Type": kind})
        check_problem(answer, 415, "unsupported_media_type")
    await check_nothing_happened(site, watcher)


async def test_content_type_with_charset(site: Site) -> None:
    """JSON may say that it is UTF-8."""
    for kind in ("application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"'):
        assert (await send(site, json.dumps(GOOD), headers={"Content-Type": kind})).status == 200


async def test_bad_content_encoding(site: Site, watcher: Client) -> None:
    """A body that is declared as compressed but is not is answered 400."""
    answer = await send(site, b"this is no gzip", headers={"Content-Encoding": "gzip"})
    check_problem(answer, 400, "malformed")
    await check_nothing_happened(site, watcher)


async def test_body_that_does_not_come_whole(site: Site, watcher: Client) -> None:
    """If a sender disconnects in the middle of a body, nothing is stored."""
    host, port = site.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(GOOD).encode()
    head = f"POST /webhook/shop HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {mint()}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body) + 1}\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await check_nothing_happened(site, watcher)


async def test_framework_errors_are_problems(site: Site) -> None:
    """Errors of the framework have the same form, and 405 lists the allowed methods."""
    for path in (
        "/nowhere",
        "/webhook/",
        "/webhook/shop/baileys/more",
        "/api/v1/",
        "/api/v2/sessions",
        "/assets/../app",
    ):
        check_problem(await site.request("GET", path), 404, "not_found")
    for method, path, allow in (
        ("GET", "/webhook/shop", {"POST"}),
        ("PUT", "/webhook/shop", {"POST"}),
        ("DELETE", "/api/v1/sessions", {"GET", "HEAD"}),
        ("POST", "/", {"GET", "HEAD"}),
        ("PATCH", "/healthz", {"GET", "HEAD"}),
    ):
        answer = await site.request(method, path)
        check_problem(answer, 405, "method_not_allowed")
        assert set(answer.headers["Allow"].split(",")) == allow
    async with site.http.head(site.url + "/nowhere") as head:
        assert head.status == 404


async def test_who_may(site: Site, watcher: Client) -> None:
    """Without a valid token: 401. With one that does not allow it: 404, as for missing sessions."""
    good = json.dumps(GOOD)

    async def attempt(headers: dict[str, str], path: str = "/webhook/shop") -> Answer:
        return await site.request("POST", path, data=good, headers=JSON | headers)

    for header in (
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": f"Basic {mint()}"},
        {"Authorization": mint()},
        {"Authorization": f"Bearer {mint(lifetime=-1)}"},
        {"Cookie": f"token={mint()}"},
    ):
        answer = await attempt(header)
        check_problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await attempt(header, "/webhook/other/baileys")).status == 401
    check_problem(await attempt({"Authorization": f"Bearer {mint('shop', scopes=())}"}), 401, "unauthorized")
    for query in ("token", "access_token", "auth"):
        check_problem(await attempt({}, f"/webhook/shop?{query}={mint()}"), 401, "unauthorized")

    def bearer(*sessions: str, scopes: tuple[str, ...] = ("ingest",)) -> dict[str, str]:
        return {"Authorization": f"Bearer {mint(*sessions, scopes=scopes)}"}

    forbidden = [
        await attempt(bearer("other")),
        await attempt(bearer("shop", scopes=("read", "write"))),
        await attempt(bearer("other"), "/webhook/missing"),
        await attempt(bearer("other"), "/webhook/not%20a%20session"),
        await attempt(bearer("other"), "/webhook/shop/baileys"),
        await attempt(bearer("other"), "/webhook/shop/nosuch"),
    ]
    for answer in forbidden:
        check_problem(answer, 404, "not_found")
        assert answer.body == forbidden[0].body
    await check_nothing_happened(site, watcher)


async def test_what_cannot_name_a_session(site: Site) -> None:
    """A name that no session can have is refused before anything is read."""
    for session in ("a%20b", "a%2Fb", "x" * 65, "%C3%BC", "a%00", "%2A", "..%20"):
        answer = await send(site, json.dumps(GOOD), session)
        check_problem(answer, *((422, "invalid") if answer.status == 422 else (404, "not_found")))
    assert (await site.get("/api/v1/sessions")).body["data"] == []


@contextlib.asynccontextmanager
async def held(store: Store, session_id: str) -> AsyncIterator[None]:
    """Hold the session with a transaction that does not finish."""
    async with await store.sessions.database.client.start_session() as other, other.start_transaction():
        await store.sessions.update_one({"_id": session_id}, {"$set": {"held": True}}, upsert=True, session=other)
        yield
        with contextlib.suppress(Exception):
            await other.abort_transaction()


@pytest.mark.parametrize("limit", [{"queue_max_commands": 3}, {"queue_max_bytes": 4500}])
async def test_full_queue(settings: Settings, store: Store, run_app: RunApp, limit: dict[str, int]) -> None:
    """A full queue is answered 503 at once, by number and by bytes; what waits is stored when it can be."""
    small = await run_app(assemble(replace(settings, **limit), TOKENS, store))
    await small.post("shop", message("first", messageId="first"))
    text = "x" * 400
    async with held(store, "shop"):
        waiting = [asyncio.create_task(small.post("shop", message(text, messageId=f"m{n}"))) for n in range(3)]
        metrics = "roomcast_queue_depth 3.0"

        async def full() -> bool:
            return metrics in (await small.get("/metrics")).body.decode()

        async with asyncio.timeout(5):
            while not await full():
                await asyncio.sleep(0)
        answers = await asyncio.gather(*(small.post("shop", message(text, messageId=f"late{n}")) for n in range(20)))
        for answer in answers:
            check_problem(answer, 503, "unavailable")
        check_problem(await small.post("elsewhere", message(text)), 503, "unavailable")
        assert not any(task.done() for task in waiting)
    assert [(await task).status for task in waiting] == [200] * 3
    assert await small.seq("shop") == 4
    assert {m["messageId"] for m in await small.messages("shop")} == {"first", "m0", "m1", "m2"}
    assert (await small.post("shop", message(messageId="late0"))).results[0]["seq"] == 5


async def test_deadline(settings: Settings, store: Store, run_app: RunApp) -> None:
    """What cannot be written in time is answered 503; other sessions are not held up."""
    hasty = await run_app(assemble(replace(settings, write_deadline=1.0), TOKENS, store))
    await hasty.post("shop", message())

    async def keep_touching(other: Any) -> None:
        while True:  # so that it is no abandoned transaction
            await store.sessions.find_one({"_id": "x"}, session=other)
            await asyncio.sleep(0.2)

    async with await store.sessions.database.client.start_session() as other, other.start_transaction():
        await store.sessions.update_one({"_id": "shop"}, {"$set": {"held": True}}, session=other)
        toucher = asyncio.create_task(keep_touching(other))
        late = asyncio.create_task(hasty.post("shop", message(messageId="late")))
        assert (await hasty.post("other", message())).status == 200
        assert not late.done()
        check_problem(await late, 503, "unavailable")
        toucher.cancel()
        await asyncio.gather(toucher, return_exceptions=True)
        await other.abort_transaction()
    assert await hasty.seq("shop") == 1
    assert (await hasty.post("shop", message(messageId="late"))).results[0]["seq"] == 2


async def test_stopping(app: web.Application, site: Site) -> None:
    """A server that is stopping takes nothing more and says when to come again."""
    await site.post("shop", message())
    await app[INGEST].close(10)
    check_problem(await site.post("shop", message()), 503, "unavailable")
    assert await site.seq("shop") == 1


async def test_sender_that_does_not_wait(site: Site, watcher: Client) -> None:
    """A sender who goes before the answer does no harm to the others of its batch."""
    tasks = [asyncio.create_task(site.post("shop", message(str(n), messageId=f"m{n}"))) for n in range(40)]
    await asyncio.sleep(0)
    gone = tasks[::4]
    await until(lambda: any(task.done() for task in tasks))
    for task in gone:
        task.cancel()
    answers = await asyncio.gather(*(task for task in tasks if task not in gone))
    assert all(answer.status == 200 for answer in answers)
    seq = await site.seq("shop")
    assert 30 <= seq <= 40
    await watcher.has(*range(1, seq + 1))
