"""The simulated bot."""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
from typing import Any

from app import schemas
from app.domain.events import now
from app.simulate import conversations
from tests.support import ROOT, SECRET, Client, Site


def test_same_seed_says_the_same() -> None:
    """What the simulator says depends on the seed alone, and all of it is what the webhook takes."""
    said = list(itertools.islice(conversations(7, 30, "http://127.0.0.1:1"), 500))
    assert said == list(itertools.islice(conversations(7, 30, "http://127.0.0.1:1"), 500))
    assert said != list(itertools.islice(conversations(8, 30, "http://127.0.0.1:1"), 500))
    for message in said:
        schemas.load_message(message, "shop", now())
    assert len({message["chatId"] for message in said}) > 10


async def test_figures_are_what_is_stored(site: Site, connect_client: Any) -> None:
    """`simulate` posts at its rate for its time, and its last line says what became of it."""
    client: Client = await connect_client()
    await client.subscribe("demo")
    arguments = ["simulate", "--url", site.url, "--session", "demo", "--rate", "150", "--seconds", "1", "--seed", "5"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", *arguments, cwd=ROOT, env={"AUTH_SECRET": SECRET}, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    sent, stored, duplicates, errors = map(int, re.findall(r"(?:sent|stored|duplicates|errors) (\d+)", out.decode()))
    assert (sent, errors) == (150, 0)
    assert stored + duplicates == sent
    assert await site.seq("demo") == stored
    await client.has(*range(1, stored + 1))
