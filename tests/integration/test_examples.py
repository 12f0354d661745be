"""The Python example, as a program of its own, over a network that breaks."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.proxy import Proxy
from tests.support import PATIENCE, ROOT, Site, message, mint


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

    async def lines(process: asyncio.subprocess.Process, up_to: int) -> list[dict[str, Any]]:
        """What it says until it has come to this number."""
        assert process.stdout is not None
        said: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE):
            while not said or said[-1]["data"].get("seq") != up_to:
                said.append(json.loads(await process.stdout.readline()))
        return said

    async def stop(process: asyncio.subprocess.Process) -> None:
        process.terminate()
        await process.wait()

    process = await start()
    try:
        await site.post("shop", message("one"))
        said = await lines(process, 2)
        # The list, which may be as of before or after the second; then what came.
        assert said[0]["event"] == "chat"
        proxy.drop()
        await site.post("shop", {"messages": [message(f"missed {n}") for n in range(20)]})
        assert [(one["event"], one["data"]["seq"]) for one in await lines(process, 22)] == [
            ("new_message", seq) for seq in range(3, 23)
        ]
    finally:
        await stop(process)
    await site.post("shop", message("while it was stopped"))
    process = await start()
    try:
        (last,) = await lines(process, 23)
        assert last["data"]["message"]["text"] == "while it was stopped"
    finally:
        await stop(process)
        await proxy.stop()


async def test_python_client_says_that_it_is_not_let_in(site: Site) -> None:
    for token in ("a.b.c", mint("other")):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "examples/python_client.py", "--url", site.url, "--token", token),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            _, said = await process.communicate()
        assert process.returncode == 1
        assert b"not" in said
