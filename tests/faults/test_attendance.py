"""Who is there, when servers are killed and networks are cut (contract.md, Who is there)."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from tests.proxy import Proxy
from tests.support import Client, Process, Site, mint

ALICE = "85291234567@s.whatsapp.net"
PROMISED_SECONDS = 15.0
"""How long another server's people may be shown after its end."""
SCOPES = ("read", "send", "ingest")


def last(client: Client, event: str) -> list[str]:
    """The people of the last set of this kind."""
    fields = {"typing": "who", "presence": "contacts", "viewers": "agents"}
    found = [data for name, data in client.events if name == event]
    return sorted(one["id"] for one in found[-1][fields[event]]) if found else []


async def come(site: Site, sub: str) -> Client:
    client = await Client(site).connect(mint("shop", scopes=SCOPES, sub=sub))
    await client.subscribe("shop")
    return client


async def work(client: Client) -> None:
    await client.ask("view", sessionId="shop", chatId=ALICE)
    await client.ask("typing", sessionId="shop", chatId=ALICE, action="typing")


async def bare(site: Site, sub: str) -> aiohttp.ClientWebSocketResponse:
    """An agent at work, whose connection may be cut: the stock client forgets to close its own end then."""
    websocket = await site.http.ws_connect(site.url + "/socket.io/?EIO=4&transport=websocket")
    token = mint("shop", scopes=SCOPES, sub=sub)
    place = {"sessionId": "shop", "chatId": ALICE}
    await websocket.send_str("40" + json.dumps({"token": token}))
    while not (await websocket.receive_str()).startswith("40"):
        pass
    for event in (["view", place], ["typing", place | {"action": "typing"}]):
        await websocket.send_str("42" + json.dumps(event))
    return websocket


async def answering_pings(websocket: aiohttp.ClientWebSocketResponse) -> None:
    """Until the connection ends."""
    async for message in websocket:
        if message.data == "2":
            await websocket.send_str("3")


async def test_a_killed_server_takes_its_people_with_it(
    processes: Callable[..., Awaitable[Process]],
) -> None:
    """What a killed server knew of typing, viewing and presence is gone from the other server's sets within 15 s, and
    those of the other server stay."""
    dying, living = await processes(), await processes()
    witness = await come(living.site, "eve")
    ann, bob = await come(dying.site, "ann"), await come(living.site, "bob")
    online: dict[str, Any] = {"type": "presence", "chatId": ALICE, "sender": {"id": ALICE}, "state": "online"}
    await dying.site.post("shop", {"signals": [online]})
    for client in (ann, bob):
        await work(client)
    await witness.wait_for(lambda me: last(me, "viewers") == last(me, "typing") == ["ann", "bob"])
    await witness.wait_for(lambda me: last(me, "presence") == [ALICE])
    await dying.kill()
    killed = time.monotonic()
    async with asyncio.timeout(2 * PROMISED_SECONDS):
        while (last(witness, "viewers"), last(witness, "presence")) != (["bob"], []) or "ann" in last(
            witness, "typing"
        ):
            await asyncio.sleep(0.05)
    assert time.monotonic() - killed < PROMISED_SECONDS + 1, "its people stayed for longer than promised"
    for client in (witness, bob, ann):
        await client.close()


async def test_a_cut_network_and_a_frozen_server(processes: Callable[..., Awaitable[Process]]) -> None:
    """An agent whose network is cut types no more as soon as the connection has ended, and is back as one person. A
    server that was frozen shows what is true again soon after it goes on."""
    environ = {"PING_INTERVAL": "0.5", "PING_TIMEOUT": "1"}
    one, two = await processes(**environ), await processes(**environ)
    proxy = await Proxy("127.0.0.1", int(one.site.url.rpartition(":")[2])).start()
    witness = await come(two.site, "eve")
    through = Site(f"http://127.0.0.1:{proxy.port}", one.site.http)
    ann = asyncio.create_task(answering_pings(await bare(through, "ann")))
    await witness.wait_for(lambda me: last(me, "typing") == ["ann"])
    proxy.drop()
    await ann
    await witness.wait_for(lambda me: last(me, "typing") == [])
    assert last(witness, "viewers") == ["ann"], "a reload must not flicker"
    ann = asyncio.create_task(answering_pings(await bare(through, "ann")))
    await witness.wait_for(lambda me: last(me, "typing") == ["ann"])
    one.process.send_signal(signal.SIGSTOP)
    await witness.wait_for(lambda me: last(me, "typing") == last(me, "viewers") == [])
    one.process.send_signal(signal.SIGCONT)
    again = await come(one.site, "bob")
    await work(again)
    await witness.wait_for(lambda me: "bob" in last(me, "typing") and "bob" in last(me, "viewers"))
    for client in (witness, again):
        await client.close()
    await proxy.stop()
    await asyncio.gather(ann, return_exceptions=True)
