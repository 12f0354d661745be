"""Socket.IO: authentication, expiry, and client events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web

from app.application import ENGINE, assemble
from app.settings import Settings
from app.storage.mongo import Store
from tests.support import PATIENCE, SECRET, TOKENS, Client, Site, message, mint

SESSION = '42["session",'
"""What follows each subscription."""


class Raw:
    """A WebSocket that can send anything."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket

    async def send(self, packet: str) -> None:
        await self.websocket.send_str(packet)

    async def receive(self) -> str:
        """The next packet; pings are answered, and `session` is left out."""
        while True:
            async with asyncio.timeout(PATIENCE):
                packet = await self.websocket.receive_str()
            if packet == "2":
                await self.send("3")
            elif not packet.startswith(SESSION):
                return packet

    async def closed(self) -> list[str]:
        """What still came until the server closed."""
        packets = []
        async with asyncio.timeout(PATIENCE):
            async for one in self.websocket:
                packets.append(one.data)
        return packets

    async def connect(self, auth: str) -> str:
        await self.send(f"40{auth}")
        return await self.receive()

    async def ask(self, packet: str) -> Any:
        """Send an event with the id 7; its answer."""
        await self.send(f"427{packet}")
        answer = await self.receive()
        assert answer.startswith("437"), answer
        (value,) = json.loads(answer[3:])
        return value


@contextlib.asynccontextmanager
async def raw(site: Site) -> AsyncIterator[Raw]:
    async with site.http.ws_connect(site.url + "/socket.io/?EIO=4&transport=websocket") as websocket:
        client = Raw(websocket)
        assert (await client.receive()).startswith("0{")
        yield client


def auth(token: Any) -> str:
    return json.dumps({"token": token})


def claims(**changes: Any) -> dict[str, Any]:
    whole = {"sub": "ann", "aud": "roomcast", "exp": int(time.time()) + 60, "sessions": ["*"], "scopes": ["read"]}
    return {key: value for key, value in (whole | changes).items() if value is not ...}


def sign(**changes: Any) -> str:
    return jwt.encode(claims(**changes), SECRET, "HS256")


REFUSED = {
    "no auth": "",
    "empty auth": "{}",
    "null": auth(None),
    "number": auth(1),
    "object": auth({"$ne": 1}),
    "list": auth([mint()]),
    "nonsense": auth("nonsense"),
    "other secret": auth(jwt.encode(claims(), "another-secret-that-is-long-enough", "HS256")),
    "expired": auth(sign(exp=int(time.time()) - 1)),
    "not yet valid": auth(sign(nbf=int(time.time()) + 600)),
    "other audience": auth(sign(aud="elsewhere")),
    "unsigned": auth(jwt.encode(claims(), None, "none")),
    "no sub": auth(sign(sub=...)),
    "no exp": auth(sign(exp=...)),
    "wrong place": json.dumps({"Authorization": f"Bearer {mint()}", "auth": {"token": mint()}}),
}


async def test_refused(site: Site, app: web.Application, connect_client: Any) -> None:
    """Without a valid token the connection is refused as unauthorized, and gets nothing."""
    witness: Client = await connect_client()
    await witness.subscribe("shop")
    async with contextlib.AsyncExitStack() as stack:
        refused = []
        for name, payload in REFUSED.items():
            client = await stack.enter_async_context(raw(site))
            answer = await client.connect(payload)
            assert answer[:2] == "44", (name, answer)
            assert json.loads(answer[2:]) == {"message": "unauthorized", "data": {"code": "unauthorized"}}
            refused.append(client)
        for client in refused:
            await client.send('421["subscribe",{"sessionId":"shop"}]')
            await client.send('422["mark_read",{"sessionId":"shop","chatId":"a","seq":1}]')
        await site.post("shop", message())
        await witness.has(1)
        for client in refused:
            async with asyncio.timeout(PATIENCE):
                await client.websocket.close()
            assert await client.closed() == []


async def test_token_in_the_query_is_not_looked_at(site: Site) -> None:
    """A token in the query string or in a header is ignored."""
    url = site.url + "/socket.io/?EIO=4&transport=websocket"
    for more, headers in ((f"&token={mint()}&auth={mint()}", {}), ("", {"Authorization": f"Bearer {mint()}"})):
        async with site.http.ws_connect(url + more, headers=headers) as websocket:
            client = Raw(websocket)
            await client.receive()
            assert (await client.connect(""))[:2] == "44"


async def test_refused_over_polling(site: Site) -> None:
    """Over polling it is the same."""
    url = "/socket.io/?EIO=4&transport=polling"
    for payload, kind in (("{}", "44"), (auth(sign(aud="elsewhere")), "44"), (auth(mint()), "40")):
        opened = await site.request("GET", url)
        sid = json.loads(opened.body[1:])["sid"]
        await site.request("POST", f"{url}&sid={sid}", data=f"40{payload}")
        answer = (await site.request("GET", f"{url}&sid={sid}")).body.decode()
        assert answer.startswith(kind), answer
        if kind == "44":
            assert json.loads(answer[2:]) == {"message": "unauthorized", "data": {"code": "unauthorized"}}


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_nothing_before_subscribing(site: Site, connect_client: Any, transport: str) -> None:
    """A connection gets nothing before it subscribed, and then only what came after."""
    client: Client = await connect_client(transport=transport)
    await site.post("shop", message("before"))
    await client.fence()
    assert client.events == []
    answer = await client.subscribe("shop")
    assert (answer["position"]["seq"], answer["recovered"]) == (1, False)
    await site.post("shop", message("after"))
    await client.has(2)
    await client.ask("unsubscribe", sessionId="shop")
    await site.post("shop", message("later"))
    await client.fence()
    await client.has(2)


async def test_nothing_before_let_in(site: Site, connect_client: Any) -> None:
    """A connection that has not said who it is gets nothing, whatever is pushed to others."""
    witness: Client = await connect_client()
    await witness.subscribe("shop")
    async with raw(site) as silent:
        await site.post("shop", message())
        await witness.has(1)
        answer = await silent.connect(auth(mint()))
        assert answer.startswith("40{"), "the first thing it hears is that it was let in"


async def test_expiry(site: Site, connect_client: Any) -> None:
    """A connection is closed within 10 s of its token's end, unless it brought a new one in time."""
    begun = time.time()
    short: Client = await connect_client(mint(lifetime=2))
    renewed: Client = await connect_client(mint(lifetime=2))
    polling: Client = await connect_client(mint(lifetime=2), transport="polling")
    for client in (short, renewed, polling):
        await client.subscribe("shop")
    answer = await renewed.ask("authenticate", token=mint(lifetime=3600))
    assert 3500 < answer["exp"] - begun < 3700
    await asyncio.gather(short.gone(), polling.gone())
    assert 1 <= time.time() - begun <= 12
    await site.post("shop", message())
    await renewed.has(1)
    assert short.durable() == []
    assert polling.durable() == []


async def test_authenticate_only_as_oneself(site: Site, connect_client: Any) -> None:
    """A new token of somebody else, or a bad one, is refused and changes nothing."""
    client: Client = await connect_client(mint("shop", sub="ann"))
    await client.subscribe("shop")
    wrong = [mint(sub="bob"), sign(sub="ann", aud="x"), sign(sub="ann", exp=1), "nonsense", "\ud83d", "x" * 20_000]
    for token in wrong:
        answer = await client.call("authenticate", {"token": token})
        assert (answer["ok"], answer["error"]["code"]) == (False, "forbidden"), answer
    for payload in ({}, {"token": None}, {"token": {"$ne": 1}}, {"token": ""}, {"token": mint(), "sub": "bob"}, "x"):
        answer = await client.call("authenticate", payload)
        assert answer["error"]["code"] == "invalid", answer
    assert (await client.call("subscribe", {"sessionId": "other"}))["error"]["code"] == "forbidden"
    await site.post("shop", message())
    await client.has(1)


async def test_lost_rights_end_subscriptions(site: Site, connect_client: Any) -> None:
    """Rights that the new token lacks end their subscriptions; the others go on."""
    client: Client = await connect_client(mint("one", "two", "three"))
    for session in ("one", "two"):
        await client.subscribe(session)
    await client.subscribe("three", "a")
    await client.ask("authenticate", token=mint("two", "four"))
    for session in ("one", "two", "three", "four"):
        await site.post(session, message(chat="a"))
    await client.fence()
    assert [event["sessionId"] for event in client.durable()] == ["two"]
    assert (await client.call("subscribe", {"sessionId": "one"}))["error"]["code"] == "forbidden"
    await client.subscribe("four")
    await client.ask("authenticate", token=mint("two", "four", scopes=("write",)))
    await site.post("two", message())
    await client.fence()
    assert len(client.durable()) == 1


async def test_token_of_another_session(site: Site, connect_client: Any) -> None:
    """What the token does not allow, or not with its scopes, is forbidden, whether it exists or not."""
    await site.post("shop", message(chat="a"))
    other: Client = await connect_client(mint("other"))
    reader: Client = await connect_client(mint("shop", scopes=("read",)))
    writer: Client = await connect_client(mint("shop", scopes=("write", "ingest")))
    asked = [
        (other, "subscribe", {"sessionId": "shop"}),
        (other, "subscribe", {"sessionId": "shop", "chatId": "a"}),
        (other, "subscribe", {"sessionId": "missing"}),
        (other, "subscribe", {"sessionId": "shop", "position": {"epoch": "x", "seq": 0}}),
        (other, "mark_read", {"sessionId": "shop", "chatId": "a", "seq": 1}),
        (reader, "mark_read", {"sessionId": "shop", "chatId": "a", "seq": 1}),
        (writer, "mark_read", {"sessionId": "shop", "chatId": "missing", "seq": 1}),
        (writer, "subscribe", {"sessionId": "shop"}),
    ]
    answers = [await client.call(event, payload) for client, event, payload in asked]
    assert {answer["error"]["code"] for answer in answers} == {"forbidden"}
    assert answers[0] == answers[1] == answers[2] == answers[3]
    await site.post("shop", message(chat="a"))
    for client in (other, reader, writer):
        await client.fence()
        assert client.events == []
    (chat,) = await site.chats("shop")
    assert chat["readSeq"] == 0
    assert await site.seq("shop") == 2


async def test_unknown_events(site: Site, connect_client: Any) -> None:
    """An unknown event is answered as such, whatever its name."""
    client: Client = await connect_client()
    for name in ("nosuch", "message", "new_message", "Subscribe", "", "__proto__", "__init__", "event", "on_subscribe"):
        answer = await client.call(name, {})
        assert (answer["ok"], answer["error"]["code"]) == (False, "unknown_event"), name
    answer = await client.call("join", {"room": "shop"})
    assert answer["error"]["code"] == "unknown_event"


BAD_PAYLOADS: list[tuple[str, tuple[Any, ...]]] = [
    ("subscribe", ()),
    ("subscribe", ({"sessionId": "shop"}, {"sessionId": "shop"})),
    ("subscribe", (None,)),
    ("subscribe", ("shop",)),
    ("subscribe", (1,)),
    ("subscribe", ([{"sessionId": "shop"}],)),
    ("subscribe", ({},)),
    ("subscribe", ({"sessionId": {"$ne": 1}},)),
    ("subscribe", ({"sessionId": ["shop"]},)),
    ("subscribe", ({"sessionId": ""},)),
    ("subscribe", ({"sessionId": "a b"},)),
    ("subscribe", ({"sessionId": "*"},)),
    ("subscribe", ({"sessionId": "shop", "chatId": "a\x00"},)),
    ("subscribe", ({"sessionId": "shop", "chatId": 1},)),
    ("subscribe", ({"sessionId": "shop", "chatId": "\ud83d"},)),
    ("subscribe", ({"sessionId": "shop", "room": "x"},)),
    ("subscribe", ({"sessionId": "shop", "__proto__": {}},)),
    ("subscribe", ({"sessionId": "shop", "position": "0"},)),
    ("subscribe", ({"sessionId": "shop", "position": {"epoch": 1, "seq": 1}},)),
    ("subscribe", ({"sessionId": "shop", "position": {"epoch": "e", "seq": -1}},)),
    ("subscribe", ({"sessionId": "shop", "position": {"epoch": "e", "seq": 1.5}},)),
    ("subscribe", ({"sessionId": "shop", "position": {"epoch": "e", "seq": 10**100}},)),
    ("subscribe", (b"shop",)),
    ("subscribe", ({"sessionId": b"shop"},)),
    ("unsubscribe", ()),
    ("unsubscribe", ({},)),
    ("unsubscribe", ({"sessionId": 1},)),
    ("mark_read", ({"sessionId": "shop", "chatId": "a"},)),
    ("mark_read", ({"sessionId": "shop", "chatId": "a", "seq": "1"},)),
    ("mark_read", ({"sessionId": "shop", "chatId": "a", "seq": -1},)),
    ("mark_read", ({"sessionId": "shop", "chatId": "a", "seq": True},)),
    ("mark_read", ({"sessionId": "shop", "seq": 1},)),
    ("authenticate", ()),
    ("authenticate", (1, 2, 3)),
]


async def patiently(client: Client, event: str, *args: Any) -> Any:
    """Ask, and again when it was too often."""
    while True:
        answer = await client.call(event, *args)
        if answer.get("ok") or answer["error"]["code"] != "rate_limited":
            return answer
        await asyncio.sleep(0.1)


async def test_bad_payloads(site: Site, connect_client: Any) -> None:
    """Missing, extra or wrong arguments are answered as invalid, and do nothing."""
    client: Client = await connect_client()
    for event, args in BAD_PAYLOADS:
        answer = await patiently(client, event, *args)
        assert (answer["ok"], answer["error"]["code"]) == (False, "invalid"), (event, args, answer)
    await site.post("shop", message(chat="a"))
    await client.fence()
    assert client.events == []
    assert await site.seq("shop") == 1


FORGED = (
    '42["connect",{}]',
    '42["connect","x",{"token":"x"}]',
    '427["disconnect"]',
    '42["disconnect","transport close"]',
    '42["connect_error",{}]',
    '427[1,{"sessionId":"shop"}]',
    "427[null]",
    '427[{"$ne":1},{}]',
    '427[["subscribe"],{"sessionId":"shop"}]',
    "427[]",
    '427{"0":"subscribe"}',
    "427",
    '42["subscribe",{"sessionId":"shop"}',
    '42["subscribe",NaN]',
    '42["subscribe",' + "[" * 900 + "]" * 900 + "]",
    '451-["subscribe",{"_placeholder":true,"num":0}]x',
    '459999999999-["subscribe"]',
    "40" + '{"token":"again"}',
    "47",
    "9",
    "",
    "4" + "x" * 70_000,
)


async def test_forged_packets(site: Site, connect_client: Any) -> None:
    """A packet that violates the protocol closes that connection, runs no handler, and affects nobody else."""
    witness: Client = await connect_client()
    await witness.subscribe("shop")

    async def forge(packet: str) -> None:
        async with raw(site) as client:
            assert (await client.connect(auth(mint()))).startswith("40{")
            assert (await client.ask('["subscribe",{"sessionId":"shop"}]'))["ok"]
            await client.send(packet)
            async with asyncio.timeout(PATIENCE):  # a ping's time is longer
                said = await client.closed()
            words = [one for one in said if isinstance(one, str) and not one.startswith(SESSION)]
            assert not any(one.startswith(("40", "42")) for one in words), packet[:50]

    await asyncio.gather(*(forge(packet) for packet in FORGED))
    await site.post("shop", message())
    await witness.has(1)
    await witness.fence()


async def test_event_without_acknowledgement(site: Site) -> None:
    """An event without an acknowledgement gets no answer, and is still handled."""
    async with raw(site) as client:
        await client.connect(auth(mint()))
        await client.send('42["nosuch",1]')
        await client.send('42["subscribe"]')
        await client.send('42["subscribe",{"sessionId":"shop"}]')
        assert (await client.ask('["unsubscribe",{"sessionId":"nothing"}]'))["ok"]
        await site.post("shop", message())
        assert (await client.receive()).startswith('42["new_message"')


@pytest.fixture
async def patient_site(settings: Settings, store: Store, run_app: Any) -> Site:
    """A server that lets a client say much at once."""
    patient = replace(settings, event_rate=1000.0, event_burst=1000, max_waiting_events=1000)
    return await run_app(assemble(patient, TOKENS, store))  # type: ignore[no-any-return]


async def test_129th_subscription(patient_site: Site, connect_client: Any) -> None:
    """128 subscriptions are kept; one more is refused until another is given up; repeats do not count."""
    site = patient_site
    client: Client = await connect_client(to=site)
    chats = iter(range(1000))
    for _ in range(127):
        answer = await client.call("subscribe", {"sessionId": "shop", "chatId": f"chat {next(chats)}"})
        assert answer["ok"], answer
    assert (await client.call("subscribe", {"sessionId": "other"}))["ok"]
    over = {"sessionId": "shop", "chatId": "one more"}
    assert (await client.call("subscribe", over))["error"]["code"] == "too_many_subscriptions"
    assert (await client.call("subscribe", {"sessionId": "third"}))["error"]["code"] == "too_many_subscriptions"
    assert (await client.call("subscribe", {"sessionId": "shop", "chatId": "chat 0"}))["ok"]
    await site.post("shop", {"messages": [message(chat="chat 126"), message(chat="one more"), message(chat="chat 0")]})
    await client.has(1, 3)
    assert (await client.call("unsubscribe", {"sessionId": "shop", "chatId": "chat 5"}))["ok"]
    assert (await client.call("subscribe", over))["ok"]
    await site.post("shop", message(chat="one more"))
    await client.has(1, 3, 4)


async def test_at_once_there_are_no_more_than_128(patient_site: Site) -> None:
    """Subscriptions that are asked for at once are counted too."""
    async with raw(patient_site) as client:
        await client.connect(auth(mint()))
        for number in range(200):
            await client.send(f'42{number}["subscribe",{{"sessionId":"s{number}"}}]')
        answers = []
        for _ in range(200):
            packet = await client.receive()
            answers.append(json.loads(packet[packet.index("[") :])[0])
    assert sum(answer["ok"] for answer in answers) == 128
    assert {answer["error"]["code"] for answer in answers[128:]} == {"too_many_subscriptions"}


async def test_one_agent_many_connections(site: Site, connect_client: Any) -> None:
    """Each tab has streams of its own; what one does changes nothing in the other, but what is read is so in both."""
    one: Client = await connect_client(mint(sub="ann"))
    two: Client = await connect_client(mint(sub="ann"), transport="polling")
    await one.subscribe("shop")
    await two.subscribe("shop")
    await site.post("shop", message(chat="a"))
    await two.has(1)
    await two.ask("mark_read", sessionId="shop", chatId="a", seq=1)
    await one.has(1, 2)
    assert one.durable()[1]["chat"]["unreadCount"] == 0
    await two.close()
    await site.post("shop", message(chat="a"))
    await one.has(1, 2, 3)


async def test_nothing_is_left_of_who_has_gone(site: Site, app: web.Application, connect_client: Any) -> None:
    """After the last connection has ended, the server keeps no room and no stream for it."""
    client: Client = await connect_client()
    await client.subscribe("shop")
    await client.subscribe("other", "a")
    await client.close()

    async def figures() -> str:
        return (await site.get("/metrics")).body.decode()  # type: ignore[no-any-return]

    async with asyncio.timeout(PATIENCE):
        while 'roomcast_streams{state="live"} 0.0' not in await figures():
            await asyncio.sleep(0.01)
    assert app[ENGINE].stats.connections == 0
    assert 'roomcast_connections{transport="websocket"} 0.0' in await figures()


async def test_verified_by_the_same_rules(site: Site, connect_client: Any) -> None:
    """A token that is good for HTTP is good here, with the same rights."""
    token = TOKENS.mint("ann", sessions=["shop"], scopes=["read"], lifetime=60, name="Ann")
    client: Client = await connect_client(token)
    await client.subscribe("shop")
    assert (await site.get("/api/v1/sessions/shop/chats", token=token)).status == 200
