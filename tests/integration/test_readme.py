"""The README's programs, unchanged, with a server that is restarted."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from typing import Any

import pytest

from tests.support import PATIENCE, ROOT, Site, message, mint

README = (ROOT / "README.md").read_text(encoding="utf-8")


def program(language: str, url: str, token: str) -> str:
    """The README's program in this language, for this server and token."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.S)
    assert found
    assert found[1].count("http://127.0.0.1:8080") == 1
    assert found[1].count("TOKEN") == 1
    return found[1].replace("http://127.0.0.1:8080", url).replace("TOKEN", repr(token))


async def figures(site: Site) -> str:
    async with site.http.get(f"{site.url}/metrics") as answer:
        return await answer.text()


@pytest.mark.parametrize("language", ["js", "python"])
async def test_a_program_of_the_readme_survives_a_restart(processes: Any, language: str) -> None:
    """It prints each message once and in order, those too that came while it was away, and ends quietly at Ctrl-C."""
    server = await processes()
    port = int(server.site.url.rsplit(":", 1)[1])
    text = program(language, server.site.url, mint("shop"))
    command = ["node", "--input-type=module", "-e"] if language == "js" else [sys.executable, "-u", "-c"]
    running = await asyncio.create_subprocess_exec(
        *(*command, text),
        cwd=ROOT / "tests" / "clients",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert running.stdout is not None
    heard: list[str] = []

    async def hear(text: str) -> None:
        assert running.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while not any(text in line for line in heard):
                line = await running.stdout.readline()
                assert line, heard
                heard.append(line.decode())

    async def post(number: int) -> None:
        sent = message(f"number {number}.", sender={"id": "alice@s.whatsapp.net", "name": "Alice"})
        assert (await server.site.post("shop", sent)).status == 200

    try:
        async with asyncio.timeout(PATIENCE):
            while 'roomcast_streams{state="live"} 1.0' not in await figures(server.site):
                await asyncio.sleep(0.05)
        await post(1)
        await hear("number 1.")
        await server.stop()
        server = await processes(port=port)
        await post(2)
        await hear("number 2.")
        await post(3)
        await hear("number 3.")
        assert [line.strip() for line in heard] == [f"Alice number {n}." for n in (1, 2, 3)]
        running.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            _, said = await running.communicate()
        # The JavaScript program tells of each attempt that failed.
        assert set(said.decode().split("\n")) <= {
            "",
            *(("xhr poll error", "websocket error") if language == "js" else ()),
        }
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
