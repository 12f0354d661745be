"""What one client can make the server do is limited in advance: memory, bodies, answers, log lines."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import os
import signal
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import PATIENCE, Answer, Process, Site, message, mint, until

Start = Callable[..., Awaitable[Process]]
MB = 1024 * 1024
BOMB = gzip.compress(bytes(64 * MB), 9)
"""64 kB."""
LISTS = b"[" + b"[]," * (16 * MB // 3 - 1) + b"[]]"


def peak(process: Process) -> int:
    """The server's peak memory, in bytes."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def children(process: Process) -> list[int]:
    pid = process.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def send(site: Site, path: str, body: bytes, token: str | None = None, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    headers = {"Content-Type": "application/json"} | names
    return await site.request("POST", path, token=token, data=io.BytesIO(body), headers=headers)


class Wire:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, path: str, body: bytes = b"", **headers: str) -> None:
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(PATIENCE):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        return int(lines[0].split()[1]), {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)
        }

    async def ended(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass
        return True


@pytest.fixture
async def wire() -> Any:
    writers: list[asyncio.StreamWriter] = []

    async def connect(process: Process) -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(process.site.url.rpartition(":")[2]))
        writers.append(writer)
        return Wire(reader, writer)

    yield connect
    for writer in writers:
        writer.close()


# Bodies


async def test_nothing_is_unpacked_before_it_is_let_in(processes: Start) -> None:
    """A body that unpacks to much more is refused by what it is sent to, and unpacked within the limit at most."""
    server = await processes()
    await send(server.site, "/webhook/shop", b"{}", mint())
    before = peak(server)
    bomb = BOMB * 8  # eight members: half a GiB
    for path, token, status in (
        ("/webhook/shop", None, 401),
        ("/webhook/shop", mint("other"), 404),
        ("/webhook/shop/nosuch", mint(), 404),
        ("/nowhere", mint(), 404),
        ("/", None, 405),
        ("/api/v1/sessions", mint(), 405),
        ("/webhook/shop", mint(), 413),
        ("/webhook/shop/baileys", mint(), 413),
    ):
        for encoding in ("gzip", "deflate"):
            data = bomb if encoding == "gzip" else zlib.compress(bytes(64 * MB), 9)
            answer = await send(server.site, path, data, token, Content_Encoding=encoding)
            assert answer.status == status, (path, encoding, answer)
    assert peak(server) - before < 32 * MB
    assert await server.site.seq("shop") == 0


async def test_encodings(site: Site) -> None:
    """gzip, with both names, and deflate, with and without zlib header, are accepted; others are named and refused."""
    raw = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = [json.dumps(message(messageId=f"m{number}")).encode() for number in range(6)]
    for number, (encoding, data) in enumerate(
        (
            ("gzip", gzip.compress(body[0])),
            ("x-gzip", gzip.compress(body[1])),
            ("GZIP", gzip.compress(body[2][:9]) + gzip.compress(body[2][9:])),
            ("deflate", zlib.compress(body[3])),
            ("deflate", raw.compress(body[4]) + raw.flush()),
            ("identity", body[5]),
        )
    ):
        answer = await send(site, "/webhook/shop", data, mint(), Content_Encoding=encoding)
        assert [one["seq"] for one in answer.results] == [number + 1]
    for encoding in ("br", "zstd", "compress", "gzip, gzip", "deflate, br"):
        answer = await send(site, "/webhook/shop", body[0], mint(), Content_Encoding=encoding)
        assert (answer.status, answer.body["code"]) == (415, "unsupported_media_type")
        assert encoding in answer.body["detail"]
        assert answer.headers["Accept-Encoding"] == "gzip, deflate"
    for encoding, data in (
        ("gzip", body[0]),
        ("gzip", gzip.compress(body[0])[:-4]),
        ("gzip", b""),
        ("deflate", b"\x78\x9c\xff\xff"),
        ("deflate", zlib.compress(body[0])[:-2]),
    ):
        answer = await send(site, "/webhook/shop", data, mint(), Content_Encoding=encoding)
        assert (answer.status, answer.body["code"]) == (400, "malformed"), (encoding, data)
    assert await site.seq("shop") == 6


@pytest.mark.parametrize(
    ("path", "status"), [("/webhook/shop", 401), ("/nowhere", 404), ("/healthz", 405), ("/webhook/shop/baileys", 401)]
)
async def test_a_refused_body_is_not_read(processes: Start, wire: Any, path: str, status: int) -> None:
    """The answer comes before the body, says that the connection ends, and it ends though the client goes on."""
    server = await processes()
    line: Wire = await wire(server)
    line.send(path, b"x" * 10_000, Content_Length=str(1024 * MB))
    got, headers = await line.head()
    assert (got, headers["connection"]) == (status, "close")

    async def go_on() -> None:
        while True:
            line.writer.write(b"x" * MB)
            await line.writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(go_on(), PATIENCE)
    assert (await server.site.request("GET", "/healthz")).status == 200


async def test_a_body_is_asked_for_when_it_is_read(processes: Start, wire: Any) -> None:
    """`Expect: 100-continue` is answered 100 to those who are let in only."""
    server = await processes()
    stranger: Wire = await wire(server)
    stranger.send("/webhook/shop", Expect="100-continue", Content_Length="1000")
    assert (await stranger.head())[0] == 401
    assert await stranger.ended()
    bot: Wire = await wire(server)
    body = json.dumps(message()).encode()
    allowed = {"Authorization": f"Bearer {mint()}"}
    bot.send("/webhook/shop", Expect="100-continue", Content_Length=str(len(body)), **allowed)
    assert (await bot.head())[0] == 100
    bot.writer.write(body)
    assert (await bot.head())[0] == 200
    odd: Wire = await wire(server)
    odd.send("/webhook/shop", Expect="the unexpected", Content_Length="1000", **allowed)
    assert (await odd.head())[0] == 417


async def test_many_values_in_few_bytes(processes: Start) -> None:
    """16 MB of empty lists are refused without being built, packed or not, several at once, others served meanwhile."""
    server = await processes()
    await send(server.site, "/webhook/shop/baileys", b"[]", mint())
    before = peak(server)
    posts = [
        asyncio.create_task(send(server.site, f"/webhook/s{number}/baileys", body, mint(), Content_Encoding=encoding))
        for number, (body, encoding) in enumerate([(LISTS, "identity"), (gzip.compress(LISTS), "gzip")] * 3)
    ]
    assert (await server.site.post("quiet", message())).status == 200
    for post in posts:
        answer = await post
        assert (answer.status, answer.body["code"]) == (413, "too_large")
    assert peak(server) - before < 64 * MB
    assert len(children(server)) <= 1


async def test_a_quiet_session_does_not_wait_for_a_crowd(processes: Start) -> None:
    """A message of a quiet session is stored before the many bodies that another session has posted at once."""
    server = await processes()
    bodies = [{"messages": [message(messageId=f"{n}-{m}") for m in range(500)]} for n in range(40)]
    crowd = [asyncio.create_task(server.site.post("crowd", body)) for body in bodies]
    await until(lambda: any(post.done() for post in crowd), "the crowd to be served")
    assert (await server.site.post("quiet", message())).status == 200
    assert not all(post.done() for post in crowd)
    assert {(await post).status for post in crowd} == {200}
    assert await server.site.seq("crowd") == 20_000


async def test_who_sends_slowly_is_given_up_when_others_wait(processes: Start, wire: Any) -> None:
    """Large bodies are read one at a time; a stalled one makes room for the next, and is answered 503."""
    server = await processes()
    slow: Wire = await wire(server)
    slow.send("/webhook/slow/baileys", b"[" + b" " * MB, Content_Length=str(8 * MB), Authorization=f"Bearer {mint()}")
    large = json.dumps({"event": "nothing", "data": "x" * MB}).encode()
    answer = await send(server.site, "/webhook/shop/baileys", large, mint())
    assert answer.status == 200
    status, headers = await slow.head()
    assert (status, headers["connection"]) == (503, "close")
    assert "retry-after" in headers


async def test_the_worker_may_be_killed(processes: Start) -> None:
    """A worker process that is gone is replaced; what it had is answered 503 or stored, and it ends with the server."""
    server = await processes()
    body = {"messages": [message("x" * 500, messageId=f"m{n}") for n in range(400)]}
    assert (await server.site.post("shop", body)).status == 200
    (worker,) = children(server)
    os.kill(worker, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while (answer := await server.site.post("shop", body)).status != 200:
            assert answer.status == 503
    assert await server.site.seq("shop") == 400
    (worker,) = children(server)
    await server.kill()
    await until(lambda: not Path(f"/proc/{worker}").exists(), "the worker to end")
