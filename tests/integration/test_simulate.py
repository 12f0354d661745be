"""The simulated bot."""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
from typing import Any

from app import schemas
from app.customers import customers
from app.domain.events import now
from app.providers.refusals import CODES
from app.simulate import conversations
from tests.answering import reaches, states, text
from tests.support import ROOT, SECRET, Client, Site, mint


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


async def test_customers_answer(site: Site, connect_client: Any) -> None:
    """Simulated customers get what is written to them, read it, type and reply; some messages fail, with a reason."""
    ann: Client = await connect_client(mint("demo", scopes=("read", "send"), sub="ann"))
    await ann.subscribe("demo")
    token = mint("demo", scopes=("ingest", "deliver"), sub="customers")
    async with customers(site.url, token, "demo", seed=1, pace=0.01):
        sent = []
        for number in range(12):
            words = text(f"c{number}", "please FAIL" if number == 0 else "Hello")
            chat_id = f"120255501{number:02}@s.whatsapp.net"
            answer = await ann.ask("send_message", **(words | {"sessionId": "demo", "chatId": chat_id}))
            sent.append(answer["message"]["messageId"])
        failed = await reaches(ann, sent[0], "failed")
        assert failed["error"]["code"] in CODES

        def ended(me: Client) -> bool:
            last = [states(me, one)[-1:] for one in sent]
            replies = [e for e in me.durable() if e["event"] == "new_message" and not e["message"]["fromMe"]]
            return all(one in (["read"], ["failed"]) for one in last) and len(replies) >= 3

        await ann.wait_for(ended)
        told = (await site.request("GET", "/metrics")).body.decode()
        assert re.search(r'roomcast_signals_total{type="typing"} [1-9]', told)
    for one in sent[1:]:
        told_states = states(ann, one)
        assert told_states[:2] == ["pending", "sent"] or told_states[-1] == "failed"
