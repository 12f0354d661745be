"""The example bots, unchanged: they post, deliver, and survive restarts of either side."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.answering import ALICE, reaches, text
from tests.support import PATIENCE, ROOT, Client, Process, Site, mint

CLIENTS = ROOT / "tests" / "clients"
TOKEN = mint("shop", scopes=("deliver", "ingest"), sub="bot")
Start = Callable[..., Awaitable[Process]]


class Program:
    """A bot as a separate process that prints lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, name: str) -> Any:
        """The next line that has this field."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while True:
                line = await self.process.stdout.readline()
                assert line, "it has ended"
                told = json.loads(line)
                if name in told:
                    return told[name]

    async def tell(self, words: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        await self.process.stdin.drain()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@pytest.fixture
async def programs() -> AsyncIterator[Callable[..., Awaitable[Program]]]:
    started: list[Program] = []

    async def start(*command: str, cwd: Path = ROOT, **environ: str) -> Program:
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        env = {"PATH": os.environ["PATH"]} | environ
        started.append(Program(await asyncio.create_subprocess_exec(*command, cwd=cwd, env=env, **pipes)))  # type: ignore[arg-type]
        return started[-1]

    yield start
    await asyncio.gather(*(program.kill() for program in started))


async def agent(site: Site) -> Client:
    client = await Client(site).connect(mint("shop", scopes=("read", "send"), sub="ann"))
    await client.subscribe("shop")
    return client


async def send(client: Client, client_id: str, words: str, **more: Any) -> str:
    answer = await client.ask("send_message", **text(client_id, words, **more))
    return answer["message"]["messageId"]  # type: ignore[no-any-return]


async def came(client: Client, site: Site, words: str) -> None:
    """Wait until a message of these words is stored."""
    before = await site.messages("shop", ALICE)
    if words not in [one["text"] for one in before]:
        await client.wait_for(lambda me: words in [one.get("message", {}).get("text") for one in me.durable()])


def installed(place: Path) -> Path:
    """The Baileys bot, with stand-ins for Baileys and for the QR code, and the stock Socket.IO client."""
    shutil.copy(ROOT / "examples" / "baileys-bot" / "bot.mjs", place)
    modules = place / "node_modules"
    modules.mkdir()
    for one in (*(CLIENTS / "node_modules").iterdir(), *(CLIENTS / "stand-ins").iterdir()):
        (modules / one.name).symlink_to(one)
    return place


async def test_the_baileys_bot(processes: Start, programs: Any, tmp_path: Path) -> None:
    """It posts all events and delivers with our ids; a restarted server, and a restarted bot, lose nothing."""
    server = await processes()
    port = int(server.site.url.rsplit(":", 1)[1])
    environ = {"ROOMCAST_URL": server.site.url, "ROOMCAST_TOKEN": TOKEN}
    place = installed(tmp_path)
    bot: Program = await programs("node", "bot.mjs", cwd=place, **environ)
    ann = await agent(server.site)
    await bot.tell({"echo": True})

    first = await send(ann, "c1", "one")
    await reaches(ann, first, "sent")
    assert await bot.line("sendMessage") == [ALICE, {"text": "one"}, {"messageId": first}]
    key = {"remoteJid": ALICE, "id": "Q1", "fromMe": False}
    question = {"key": key, "message": {"conversation": "and?"}, "messageTimestamp": 1770379441}
    update = {"key": {"remoteJid": ALICE, "id": first, "fromMe": True}, "update": {"status": 4}}
    await bot.tell(
        {"emit": {"messages.upsert": {"type": "notify", "messages": [question]}, "messages.update": [update]}}
    )
    await reaches(ann, first, "read")
    await ann.wait_for(lambda me: any(e.get("message", {}).get("messageId") == "Q1" for e in me.durable()))
    await bot.tell({"emit": {"connection.update": {"qr": "secret"}}})
    assert await bot.line("qr") == "secret"
    second = await send(ann, "c2", "two", replyTo="Q1")
    await reaches(ann, second, "sent")
    _, _, options = await bot.line("sendMessage")
    assert options["quoted"] == {"key": key, "message": {"conversation": "and?"}}
    absent = "12025550123@s.whatsapp.net"
    await bot.tell({"absent": [absent]})
    failed = await reaches(ann, await send(ann, "c3", "three", chatId=absent), "failed")
    assert failed["error"]["code"] == "not_on_whatsapp"
    assert [one["text"] for one in await server.site.messages("shop", ALICE)] == ["one", "and?", "two"]

    await ann.close()
    await server.kill()
    missed = question | {"key": key | {"id": "Q2"}, "message": {"conversation": "while you were away"}}
    await bot.tell({"emit": {"messages.upsert": {"type": "notify", "messages": [missed]}}})
    server = await processes(PORT=str(port))
    ann = await agent(server.site)
    await reaches(ann, await send(ann, "c4", "four"), "sent")
    await bot.kill()
    last = await send(ann, "c5", "five")
    bot = await programs("node", "bot.mjs", cwd=place, **environ)
    await reaches(ann, last, "sent")
    assert (await bot.line("sendMessage"))[2]["messageId"] == last
    await came(ann, server.site, "while you were away")
    texts = [one["text"] for one in await server.site.messages("shop", ALICE)]
    assert sorted(texts) == sorted(["one", "and?", "two", "while you were away", "four", "five"])
    await ann.close()


def test_the_baileys_bot_is_short() -> None:
    """It is at most 150 lines long."""
    assert len((ROOT / "examples" / "baileys-bot" / "bot.mjs").read_text().splitlines()) <= 150


async def test_the_python_bot(processes: Start, programs: Any, tmp_path: Path) -> None:
    """It delivers each message once over restarts of either side, and posts what comes in until it is stored."""
    server = await processes()
    port = int(server.site.url.rsplit(":", 1)[1])
    program = ("examples/python_bot.py", "--url", server.site.url, "--token", TOKEN, "--keep", str(tmp_path / "kept"))
    bot: Program = await programs(sys.executable, *program)
    ann = await agent(server.site)
    first = await send(ann, "c1", "one")
    await reaches(ann, first, "sent")
    assert await bot.line("id") == first
    await ann.close()
    await server.kill()
    await bot.tell({"chatId": ALICE, "text": "while you were away"})
    server = await processes(PORT=str(port))
    ann = await agent(server.site)
    second = await send(ann, "c2", "two")
    await reaches(ann, second, "sent")
    assert await bot.line("id") == second
    await came(ann, server.site, "while you were away")
    await bot.kill()
    third = await send(ann, "c3", "three")
    bot = await programs(sys.executable, *program)
    await reaches(ann, third, "sent")
    assert await bot.line("id") == third
    texts = [one["text"] for one in await server.site.messages("shop", ALICE)]
    assert sorted(texts) == sorted(["one", "while you were away", "two", "three"])
    await ann.close()
