"""Bodies are parsed here or in the worker process, with the same result."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import sys
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.errors import AppError
from app.parsing import Job, Parser, parser, wire
from app.parsing.job import run
from tests.support import message, until

NOW = datetime(2026, 2, 6, 12, 4, tzinfo=UTC)
OWN = json.dumps({"messages": [message("x" * 300, messageId=f"m{n}") for n in range(400)]}).encode()
UPSERT = {
    "event": "messages.upsert",
    "data": {
        "type": "notify",
        "messages": [
            {
                "key": {"remoteJid": "85291234567@s.whatsapp.net", "fromMe": False, "id": f"3EB0{n}"},
                "messageTimestamp": 1700000000,
                "message": {"conversation": "hello"},
            }
            for n in range(1_200)
        ],
    },
}
PROVIDER = json.dumps([UPSERT, {"event": "nothing.known", "data": {}}]).encode()


def children() -> list[int]:
    """The worker processes that this one has, those that have ended left out."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread or a process that has just ended
            for pid in map(int, (task / "children").read_text().split()):
                with contextlib.suppress(OSError):
                    if b"app.parsing.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.append(pid)
    return found


@pytest.fixture
async def parsing() -> Any:
    made = Parser()
    yield made
    await made.close()
    assert children() == []


@pytest.mark.parametrize(
    "job",
    [
        Job("shop", NOW, OWN),
        Job("shop", NOW, bytearray(OWN)),
        Job("shop", NOW, gzip.compress(OWN), "gzip"),
        Job("shop", NOW, zlib.compress(OWN), "deflate"),
        Job("shop", NOW, PROVIDER, source="baileys"),
        Job("shop", NOW, json.dumps(message(messageId="m")).encode()),
    ],
    ids=["own", "bytearray", "gzip", "deflate", "baileys", "small"],
)
async def test_the_result_is_the_same_wherever_it_is_made(parsing: Parser, job: Job) -> None:
    """What the worker process gives is what comes of the same body in this one."""
    here, there = run(job), await parsing.parse(job)
    assert [*there.commands()] == [*here.commands()]
    assert (there.skipped, there.signals) == (here.skipped, here.signals)
    assert len(children()) == (len(job.body) > 1_000)


@pytest.mark.parametrize(
    ("body", "encoding", "code"),
    [
        (OWN[:-1], "", "malformed"),
        (OWN.replace(b'"m399"', b"399"), "", "invalid"),
        (gzip.compress(OWN)[:-1], "gzip", "malformed"),
        (gzip.compress(bytes(2 * 1024 * 1024)), "gzip", "too_large"),
        (b"[" + b"[]," * 300_000 + b"[]]", "", "too_large"),
    ],
)
async def test_errors_come_back_whole(parsing: Parser, body: bytes, encoding: str, code: str) -> None:
    """An error of the worker has the same code, words and faults, and the worker goes on."""
    job = Job("shop", NOW, body, encoding)
    with pytest.raises(AppError) as here:
        run(job)
    with pytest.raises(AppError) as there:
        await parsing.parse(job)
    assert there.value.code == here.value.code == code
    assert (there.value.detail, there.value.faults) == (here.value.detail, here.value.faults)
    assert len([*(await parsing.parse(Job("shop", NOW, OWN))).commands()]) == len(
        [*run(Job("shop", NOW, OWN)).commands()]
    )


async def test_who_goes_away_does_not_end_the_worker(parsing: Parser) -> None:
    """A client that is gone in the middle of its body costs no other client anything."""
    await parsing.parse(Job("shop", NOW, OWN))
    (worker,) = children()
    for _ in range(5):
        task = asyncio.create_task(parsing.parse(Job("shop", NOW, PROVIDER, source="baileys")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await parsing.parse(Job("shop", NOW, OWN))
    assert children() == [worker]


async def test_an_idle_worker_ends(parsing: Parser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has nothing to do ends, and there is a new one when it is needed."""
    monkeypatch.setattr(parser, "IDLE_SECONDS", 0)
    for _ in range(2):
        await parsing.parse(Job("shop", NOW, OWN))
        await until(lambda: not children(), "the worker to end")


async def test_closing_answers_those_who_wait(parsing: Parser) -> None:
    """What is not parsed when the server stops is answered 503, and nothing is parsed after it."""
    await parsing.parse(Job("shop", NOW, OWN))
    waiting = [asyncio.create_task(parsing.parse(Job("shop", NOW, PROVIDER, source="baileys"))) for _ in range(5)]
    await asyncio.sleep(0)
    await parsing.close()
    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, AppError)
        assert answer.code == "unavailable"
    with pytest.raises(AppError, match="stopping"):
        await parsing.parse(Job("shop", NOW, OWN))


SPIN = """
import app.parsing.worker as worker
def spin(job):
    while job.session_id == "spin":
        try:
            sum(range(1000))
        except Exception:
            pass
    return run(job)
run, worker.run, worker.CPU_SECONDS = worker.run, spin, 0.1
worker.main()
"""


async def test_a_body_may_not_take_the_processor_for_long() -> None:
    """A body that would be parsed for ever is refused after its share; the same worker serves the next one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SPIN, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={**os.environ}
    )
    body = json.dumps(message()).encode()
    jobs = [wire.frame(wire.JOB, (Job(name, NOW, b""), len(body))) + body for name in ("spin", "shop")]
    out, _ = await process.communicate(b"".join(jobs))
    frames = []
    while out:
        kind, length = wire.HEAD.unpack(out[: wire.HEAD.size])
        frames.append((kind, wire.read(out[wire.HEAD.size : wire.HEAD.size + length])))
        out = out[wire.HEAD.size + length :]
    assert [kind for kind, _ in frames] == [wire.FAILED, wire.PART, wire.DONE]
    assert frames[0][1][0] == "too_large"
