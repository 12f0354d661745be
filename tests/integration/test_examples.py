"""The Python example, as a program of its own, over a network that breaks."""

from __future__ import annotations

import asyncio
import json
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

from tests.proxy import Proxy
from tests.support import PATIENCE, ROOT, Site, message, mint, until


async def test_python_client_misses_nothing(site: Site, tmp_path: Path) -> None:
    """Each event once and in order over broken connections, and from where it stopped when it is started again."""
    kept = tmp_path / "position.json"
    proxy = await Proxy("127.0.0.1", int(site.url.rsplit(":", 1)[1])).start()
    await site.post("shop", message("before"))

    async def start() -> asyncio.subprocess.Process:
        arguments = ["--url", f"http://127.0.0.1:{proxy.port}", "--token", mint("shop"), "--keep", str(kept)]
        return await asyncio.create_subprocess_exec(
            sys.executable, "examples/python_client.py", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )

    async def line(process: asyncio.subprocess.Process) -> dict[str, Any]:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return json.loads(await process.stdout.readline())  # type: ignore[no-any-return]

    async def stop(process: asyncio.subprocess.Process) -> None:
        process.terminate()
        await process.wait()

    process = await start()
    try:
        listed = await line(process)
        assert (listed["event"], listed["data"]["lastSeq"]) == ("chat", 1)
        await site.post("shop", message("one"))
        proxy.drop()
        await site.post("shop", {"messages": [message(f"missed {n}") for n in range(20)]})
        said = [await line(process) for _ in range(21)]
        assert [(one["event"], one["data"]["seq"]) for one in said] == [("new_message", seq) for seq in range(2, 23)]
    finally:
        await stop(process)
    await site.post("shop", message("while it was stopped"))
    process = await start()
    try:
        first = await line(process)
        # Stopped between the last line and keeping its number, it says that one again.
        last = await line(process) if first["data"]["seq"] == 22 else first
        assert last["data"]["message"]["text"] == "while it was stopped"
    finally:
        await stop(process)
        await until(lambda: proxy.connections == 0, "its connections to be closed")
        await proxy.stop()


async def test_python_client_shows_who_is_there(site: Site) -> None:
    """With --who it prints each change of a set."""
    arguments = ["--url", site.url, "--token", mint("shop"), "--who"]
    await site.post("shop", message("before"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "examples/python_client.py", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    alice = "alice@s.whatsapp.net"
    typing: list[list[str]] = []

    async def say(action: str) -> None:
        await site.post(
            "shop", {"signals": [{"type": "typing", "chatId": alice, "sender": {"id": alice}, "action": action}]}
        )

    try:
        async with asyncio.timeout(PATIENCE):
            while len(typing) < 2:
                told = json.loads(await process.stdout.readline())
                if told["event"] == "typing":
                    typing.append([one["id"] for one in told["data"]["who"]])
                await say("stopped" if typing else "typing")
    finally:
        process.terminate()
        await process.wait()
    assert typing == [[alice], []]


async def test_sets_of_the_python_client_expire() -> None:
    """A set that is not repeated in time is empty; one that is repeated is reported once."""
    example = runpy.run_path(str(ROOT / "examples" / "python_client.py"))
    seen: list[int] = []
    expired = asyncio.Event()

    def changed(name: str, data: dict[str, Any]) -> None:
        seen.append(len(data["who"]))
        if not data["who"]:
            expired.set()

    sets = example["Sets"](changed)
    data = {"sessionId": "shop", "chatId": "a", "who": [{"id": "a"}]}
    for milliseconds in (60_000, 10):
        sets.take("typing", data | {"expiresInMs": milliseconds})
    async with asyncio.timeout(PATIENCE):
        await expired.wait()
    assert seen == [1, 0]


async def test_python_client_ends_quietly(site: Site) -> None:
    """Ctrl-C is no error: nothing is said about it."""
    await site.post("shop", message("one"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "examples/python_client.py", "--url", site.url, "--token", mint("shop")),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = await process.communicate()
    assert said == b""


async def test_python_client_says_that_it_is_not_let_in(site: Site) -> None:
    for token in ("a.b.c", mint("other")):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "examples/python_client.py", "--url", site.url, "--token", token),
            cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            _, said = await process.communicate()
        assert process.returncode == 1
        assert b"not" in said
