"""Bodies of providers that need many transactions."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from aiohttp import web

from app.application import INGEST
from app.domain.known import Command
from app.services import large_bodies
from app.services.large_bodies import LargeBodies
from tests.support import Answer, Site, mint, until

PART = 490
"""As many of these messages fit into a transaction."""
PARTS = 4


def body(name: str, count: int = PART * PARTS) -> bytes:
    """Messages with a text that makes the body a large one."""
    messages = [
        {
            "key": {"remoteJid": f"49170{n % 40:07}@s.whatsapp.net", "fromMe": False, "id": f"{name}{n}"},
            "messageTimestamp": 1770379440 + n,
            "message": {"conversation": f"hello {n:05}"},
        }
        for n in range(count)
    ]
    return json.dumps({"event": "messages.upsert", "data": {"type": "append", "messages": messages}}).encode()


async def send(site: Site, raw: bytes, session: str = "shop") -> Answer:
    headers = {"Content-Type": "application/json"}
    path = f"/webhook/{session}/baileys"
    return await site.request("POST", path, token=mint(), data=io.BytesIO(raw), headers=headers)


class Gate:
    """Lets parts through to the store while it is open, and counts them."""

    def __init__(self, app: web.Application, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.parts = 0
        ingest = app[INGEST]
        store = ingest.store

        async def gated(session_id: str, commands: list[Command]) -> Any:
            self.parts += 1
            await self.open.wait()
            return await store(session_id, commands)

        monkeypatch.setattr(ingest, "store", gated)


async def test_a_sender_that_hangs_up(app: web.Application, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is stored to its end, and the sender's repeat gets the one answer, without anything stored twice."""
    gate = Gate(app, monkeypatch)
    raw = body("m")
    first = asyncio.create_task(send(site, raw))
    await until(lambda: gate.parts == 1, "the first part")
    first.cancel()
    await asyncio.wait([first])
    repeats = [asyncio.create_task(send(site, raw)) for _ in range(2)]
    gate.open.set()
    for answer in await asyncio.gather(*repeats):
        assert answer.status == 200
        assert [one["duplicate"] for one in answer.results] == [False] * PART * PARTS
        assert [one["seq"] for one in answer.results] == list(range(1, PART * PARTS + 1))
    assert gate.parts == PARTS
    assert (await send(site, raw)).results == (await repeats[0]).results
    assert gate.parts == PARTS, "the answer is kept"
    assert await site.seq("shop") == PART * PARTS


async def test_what_is_known_is_not_stored_again(
    app: web.Application, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body whose first parts are stored goes on behind them; one that is stored already needs no transaction."""
    gate = Gate(app, monkeypatch)
    gate.open.set()
    assert (await send(site, body("m", PART * 2))).status == 200
    assert gate.parts == 2
    answer = await send(site, body("m"))
    assert [one["duplicate"] for one in answer.results] == [True] * PART * 2 + [False] * PART * (PARTS - 2)
    assert gate.parts == PARTS
    answer = await send(site, body("m") + b" ")
    assert [one["duplicate"] for one in answer.results] == [True] * PART * PARTS
    assert [one["seq"] for one in answer.results] == list(range(1, PART * PARTS + 1))
    assert gate.parts == PARTS


async def test_few_large_bodies_at_once(app: web.Application, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than two are told when to repeat, of whatever session, and small bodies are stored meanwhile."""
    gate = Gate(app, monkeypatch)
    tasks = [asyncio.create_task(send(site, body("m"), f"s{n}")) for n in range(large_bodies.AT_ONCE)]
    await until(lambda: gate.parts == large_bodies.AT_ONCE, "the first parts")
    refused = await send(site, body("m"), "other")
    assert (refused.status, refused.body["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) >= 1
    small = asyncio.create_task(send(site, body("small", 1), "other"))
    await until(lambda: gate.parts == large_bodies.AT_ONCE + 1, "the small one")
    gate.open.set()
    assert {answer.status for answer in await asyncio.gather(small, *tasks)} == {200}
    assert (await send(site, body("m"), "other")).status == 200


async def test_answers_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest answers go when all of them are too large or old, and an error is not kept."""
    monkeypatch.setattr(large_bodies, "KEPT_BYTES", 100)
    bodies, made = LargeBodies(), []

    async def answer(key: str, size: int = 40) -> bytes:
        async def store() -> bytes:
            made.append(key)
            if not size:
                raise ValueError
            return b"x" * size

        return await bodies.answer(key, store)

    for key in ("a", "b", "a", "c", "b", "a"):
        assert await answer(key) == b"x" * 40
    assert made == ["a", "b", "c", "a"]
    monkeypatch.setattr(large_bodies, "KEPT_SECONDS", -1.0)
    await answer("a")
    assert made[-1] == "a"
    for _ in range(2):
        with pytest.raises(ValueError):
            await answer("faulty", 0)
    assert made[-2:] == ["faulty", "faulty"]
