"""Who is there: typing, presence, viewers and the account, with real clients on two servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.application import assemble
from app.auth import Tokens
from app.settings import Settings
from app.storage import accounts
from app.storage.mongo import Store
from tests.answering import ALICE, Bot, Provider, provider
from tests.bus.redis_server import RedisServer
from tests.support import SECRET, Client, Site, message, mint, until

RunApp = Callable[[web.Application], Awaitable[Site]]
GROUP = "120363041234567890@g.us"
SCOPES = ("read", "write", "send", "ingest")


@pytest.fixture
async def stand_in() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


@pytest.fixture
async def redis_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str | None]:
    """None: the servers use the bus over the database."""
    if not getattr(request, "param", False):
        yield None
        return
    server = RedisServer(tmp_path)
    await server.start()
    yield server.url
    await server.stop()


over_each_bus = pytest.mark.parametrize("redis_url", [False, True], ids=["database", "redis"], indirect=True)


@pytest.fixture
def app_settings(settings: Settings, stand_in: Provider, tmp_path: Path, redis_url: str | None) -> Settings:
    path = tmp_path / "sessions.toml"
    path.write_text(
        f"""
[shop]
name = "Shop, main line"
send.typing = true
send.presence = true
[waha]
send.via = "waha"
send.url = "{stand_in.url}"
send.instance = "main"
send.presence = true
[evo]
send.via = "evolution"
send.url = "{stand_in.url}"
send.key = "key"
send.instance = "main"
send.presence = true
"""
    )
    return replace(settings, sessions_file=path, redis_url=redis_url)


@pytest.fixture
async def app(app_settings: Settings, store: Store) -> web.Application:
    return assemble(app_settings, Tokens(SECRET), store)


@pytest.fixture
async def other(app_settings: Settings, store: Store, site: Site, run_app: RunApp) -> Site:
    """A second server on the same database."""
    return await run_app(assemble(app_settings, Tokens(SECRET), store))


def agent(sub: str = "ann", *sessions: str, scopes: tuple[str, ...] = SCOPES, lifetime: float = 3600) -> str:
    return mint(*sessions, scopes=scopes, sub=sub, lifetime=lifetime)


def sets(client: Client, event: str, chat: str = ALICE) -> list[dict[str, Any]]:
    """The sets of this kind and chat, as the client got them."""
    return [data for name, data in client.events if name == event and data.get("chatId", chat) == chat]


async def shows(client: Client, event: str, field: str, *ids: str, chat: str = ALICE) -> dict[str, Any]:
    """Wait until the client's last set has just these people; the set."""

    def last(me: Client) -> list[str]:
        return [one["id"] for one in got[-1][field]] if (got := sets(me, event, chat)) else []

    await client.wait_for(lambda me: sets(me, event, chat) and sorted(last(me)) == sorted(ids))
    return sets(client, event, chat)[-1]


def of(client: Client, event: str, session: str) -> list[dict[str, Any]]:
    return [data for name, data in client.events if name == event and data["sessionId"] == session]


def state(client: Client, session: str) -> str | None:
    """The last state of the account that the client got."""
    connection = of(client, "session", session)[-1]["connection"] if of(client, "session", session) else None
    return connection and connection["state"]


async def signal(site: Site, *signals: dict[str, Any], session: str = "shop") -> None:
    answer = await site.post(session, {"signals": list(signals)})
    assert answer.body == {"ok": True, "data": {"results": []}}


def typing(action: str = "typing", chat: str = ALICE, sender: str = ALICE) -> dict[str, Any]:
    return {"type": "typing", "chatId": chat, "sender": {"id": sender, "name": "Alice"}, "action": action}


def connection(state: str, **more: Any) -> dict[str, Any]:
    return {"type": "connection", "state": state, **more}


@over_each_bus
async def test_typing_is_seen_on_every_server(site: Site, other: Site, connect_client: Any) -> None:
    """An agent's typing goes to subscribers of the session and of the chat, on both servers, and to nobody else; it
    ends with `stopped`."""
    ann: Client = await connect_client(agent())
    near: Client = await connect_client(agent("bob"))
    far: Client = await connect_client(agent("eve"), to=other)
    strangers: list[Client] = [await connect_client(agent("zoe"), to=one) for one in (site, other)]
    await near.subscribe("shop")
    await far.subscribe("shop", ALICE)
    for stranger in strangers:
        await stranger.subscribe("shop", GROUP)
        await stranger.subscribe("studio")
    assert await ann.ask("typing", sessionId="shop", chatId=ALICE, action="recording") == {}
    for one in (near, far):
        told = await shows(one, "typing", "who", "ann")
        assert told == {
            "sessionId": "shop",
            "chatId": ALICE,
            "who": [{"id": "ann", "name": None, "kind": "agent", "action": "recording"}],
            "expiresInMs": told["expiresInMs"],
        }
        assert 0 < told["expiresInMs"] <= 15_000
    await ann.ask("typing", sessionId="shop", chatId=ALICE, action="stopped")
    for one in (near, far):
        await shows(one, "typing", "who")
    for stranger in strangers:
        await stranger.fence()
        assert {event for event, _ in stranger.events} <= {"session"}


async def test_rights(site: Site, connect_client: Any) -> None:
    """Typing needs the scope send, viewing the scope read, for that session; what is refused is seen by nobody."""
    witness: Client = await connect_client(agent("eve"))
    await witness.subscribe("shop")
    reader: Client = await connect_client(agent("ann", scopes=("read",)))
    sender: Client = await connect_client(agent("bob", scopes=("send",)))
    elsewhere: Client = await connect_client(agent("zoe", "studio"))
    place = {"sessionId": "shop", "chatId": ALICE}
    for client, event, payload in (
        (reader, "typing", place | {"action": "typing"}),
        (elsewhere, "typing", place | {"action": "typing"}),
        (sender, "view", place),
        (elsewhere, "view", place),
        (elsewhere, "view", {"sessionId": "shop", "chatId": None}),
    ):
        answer = await client.call(event, payload)
        assert answer["error"]["code"] == "forbidden", (event, answer)
    wrong: list[Any] = [place, place | {"action": "dancing"}, {"sessionId": "shop", "action": "typing"}, None, []]
    for one in wrong:
        assert (await witness.call("typing", one))["error"]["code"] == "invalid", one
    wrong = [{"sessionId": "shop"}, place | {"chatId": 1}, place | {"more": 1}]
    for one in wrong:
        assert (await witness.call("view", one))["error"]["code"] == "invalid", one
    await sender.ask("typing", **place, action="typing")
    await shows(witness, "typing", "who", "bob")
    assert sets(witness, "viewers") == []


@over_each_bus
async def test_what_is_there_follows_a_subscription(site: Site, other: Site, connect_client: Any) -> None:
    """After the answer come the sets of what was subscribed, where they are not empty, and the session, on either
    server."""
    ann: Client = await connect_client(agent())
    await ann.ask("typing", sessionId="shop", chatId=ALICE, action="typing")
    await ann.ask("view", sessionId="shop", chatId=ALICE)
    await ann.ask("typing", sessionId="shop", chatId=GROUP, action="typing")
    await signal(site, {"type": "presence", "chatId": ALICE, "sender": {"id": ALICE}, "state": "online"})
    late: Client = await connect_client(agent("bob"))
    await late.subscribe("shop", ALICE)
    await shows(late, "presence", "contacts", ALICE)
    assert {event for event, _ in late.events} <= {"session", "typing", "viewers", "presence"}
    await shows(late, "typing", "who", "ann")
    (viewer,) = (await shows(late, "viewers", "agents", "ann"))["agents"]
    assert viewer["since"].endswith("Z")
    assert sets(late, "typing", GROUP) == []
    await late.wait_for(lambda me: sets(me, "session"))
    assert sets(late, "session")[0] == {
        "sessionId": "shop",
        "name": "Shop, main line",
        "connection": None,
        "sending": {"via": "bot", "available": False},
    }
    far: Client = await connect_client(agent("eve"), to=other)
    await far.subscribe("shop")
    for event, field in (("typing", "who"), ("viewers", "agents"), ("presence", "contacts")):
        await shows(far, event, field, *([ALICE] if event == "presence" else ["ann"]))


@over_each_bus
async def test_a_contact_types_until_the_message(site: Site, other: Site, connect_client: Any) -> None:
    """A contact's typing ends with its message, whichever server gets it, and before that with `stopped`."""
    near: Client = await connect_client(agent())
    far: Client = await connect_client(agent("bob"), to=other)
    for one in (near, far):
        await one.subscribe("shop")
    await signal(site, typing("recording"))
    for one in (near, far):
        (who,) = (await shows(one, "typing", "who", ALICE))["who"]
        assert who == {"id": ALICE, "name": "Alice", "kind": "contact", "action": "recording"}
    await other.post("shop", message(chat=ALICE))
    for one in (near, far):
        await shows(one, "typing", "who")
    await signal(other, typing())
    for one in (near, far):
        await shows(one, "typing", "who", ALICE)
    await signal(site, typing("stopped"))
    for one in (near, far):
        await shows(one, "typing", "who")
    assert await site.seq("shop") == 1, "signals are no events"


async def test_providers(site: Site, connect_client: Any) -> None:
    """Baileys, Evolution and WAHA report typing, presence and the account's state."""
    ann: Client = await connect_client(agent())
    for session in ("baileys", "evolution", "waha"):
        await ann.subscribe(session)
    composing = {"id": ALICE, "presences": {ALICE: {"lastKnownPresence": "composing"}}}
    online = {"id": ALICE, "presences": {ALICE: {"lastKnownPresence": "available"}}}
    for session, events in (
        (
            "baileys",
            [
                {"event": "presence.update", "data": composing},
                {"event": "presence.update", "data": online},
                {"event": "connection.update", "data": {"connection": "open"}},
            ],
        ),
        (
            "evolution",
            [
                {"event": "presence.update", "instance": "i", "data": composing},
                {"event": "presence.update", "instance": "i", "data": online},
                {"event": "connection.update", "instance": "i", "data": {"instance": "i", "state": "open"}},
            ],
        ),
        (
            "waha",
            [
                {
                    "event": "presence.update",
                    "session": "s",
                    "payload": {
                        "id": "85291234567@c.us",
                        "presences": [{"participant": "85291234567@c.us", "lastKnownPresence": word}],
                    },
                }
                for word in ("typing", "online")
            ]
            + [{"event": "session.status", "session": "s", "payload": {"name": "s", "status": "WORKING"}}],
        ),
    ):
        for event in events:
            answer = await site.post(session, event, source=session)
            assert answer.status == 200, answer

        await until(lambda name=session: of(ann, "typing", name) and of(ann, "presence", name))  # type: ignore[misc]
        assert of(ann, "typing", session)[0]["who"][0]["id"] == ALICE
        assert of(ann, "presence", session)[-1]["contacts"] == [{"id": ALICE, "state": "online", "lastSeen": None}]
        await until(lambda name=session: state(ann, name) == "connected")  # type: ignore[misc]


async def test_a_hidden_address_is_the_chat(site: Site, connect_client: Any) -> None:
    """What is reported of a hidden address shows in the chat of the known one, for those who call it either way."""
    lid = "123456789012345@lid"
    body = {"messages": [message(chat=ALICE)], "contacts": [{"id": ALICE, "aliases": [lid]}]}
    assert (await site.post("shop", body)).status == 200
    ann: Client = await connect_client(agent())
    await ann.subscribe("shop", lid)
    await signal(site, typing(chat=lid, sender=lid))
    (who,) = (await shows(ann, "typing", "who", ALICE))["who"]
    assert who["kind"] == "contact"
    await signal(site, typing("stopped"))
    await shows(ann, "typing", "who")
    await ann.ask("view", sessionId="shop", chatId=lid)
    await shows(ann, "viewers", "agents", "ann")


async def test_a_merge_takes_along_who_is_there(site: Site, connect_client: Any) -> None:
    """When a hidden address proves to be a known one's, its viewers are viewers of the chat that is left."""
    lid = "223456789012345@lid"
    await site.post("shop", message(chat=lid))
    ann: Client = await connect_client(agent())
    await ann.subscribe("shop")
    await ann.ask("view", sessionId="shop", chatId=lid)
    await shows(ann, "viewers", "agents", "ann", chat=lid)
    await site.post("shop", {"messages": [message(chat=ALICE)], "contacts": [{"id": ALICE, "aliases": [lid]}]})
    await shows(ann, "viewers", "agents", "ann")
    await shows(ann, "viewers", "agents", chat=lid)


async def test_whoever_goes_is_out(site: Site, other: Site, connect_client: Any) -> None:
    """A connection that closes types no more, and its agent is still among the viewers, so that a reload does not
    flicker; one whose new token allows less is out, too."""
    witness: Client = await connect_client(agent("eve"), to=other)
    await witness.subscribe("shop")
    ann: Client = await connect_client(agent())
    bob: Client = await connect_client(agent("bob"))
    for one in (ann, bob):
        await one.ask("typing", sessionId="shop", chatId=ALICE, action="typing")
        await one.ask("view", sessionId="shop", chatId=ALICE)
    await shows(witness, "typing", "who", "ann", "bob")
    await shows(witness, "viewers", "agents", "ann", "bob")
    await ann.close()
    await shows(witness, "typing", "who", "bob")
    await bob.ask("authenticate", token=agent("bob", scopes=("read",)))
    await shows(witness, "typing", "who")
    answer = await bob.call("typing", {"sessionId": "shop", "chatId": ALICE, "action": "typing"})
    assert answer["error"]["code"] == "forbidden"
    assert [one["id"] for one in sets(witness, "viewers")[-1]["agents"]] == ["ann", "bob"]


async def test_many_tabs_are_one_person(site: Site, other: Site, connect_client: Any) -> None:
    """An agent who views a chat in tabs on both servers is one viewer, since the first of them."""
    witness: Client = await connect_client(agent("eve"))
    await witness.subscribe("shop")
    first: Client = await connect_client(agent())
    await first.ask("view", sessionId="shop", chatId=ALICE)
    since = (await shows(witness, "viewers", "agents", "ann"))["agents"][0]["since"]
    for one in (site, other, other):
        tab: Client = await connect_client(agent(), to=one)
        await tab.ask("view", sessionId="shop", chatId=ALICE)
    bob: Client = await connect_client(agent("bob"), to=other)
    await bob.ask("view", sessionId="shop", chatId=ALICE)
    told = await shows(witness, "viewers", "agents", "ann", "bob")
    assert {one["id"]: one["since"] for one in told["agents"]}["ann"] == since


async def test_rates(site: Site, connect_client: Any) -> None:
    """A connection that reports too much is refused some of it, and goes on."""
    ann: Client = await connect_client(agent())
    calls = [
        ann.call("typing", {"sessionId": "shop", "chatId": f"{number}@g.us", "action": "typing"})
        for number in range(30)
    ]
    answers = await asyncio.gather(*calls)
    assert 15 <= sum(answer["ok"] for answer in answers) < 30
    assert {answer["error"]["code"] for answer in answers if not answer["ok"]} == {"rate_limited"}
    calm: Client = await connect_client(agent())
    await calm.ask("typing", sessionId="shop", chatId=ALICE, action="typing")
    assert ann.connected


@over_each_bus
async def test_the_account(
    site: Site,
    other: Site,
    connect_client: Any,
    app_settings: Settings,
    store: Store,
    run_app: RunApp,
) -> None:
    """The account's state reaches subscribers on every server, is in the list of sessions, and is right after a
    restart, with the time since which it holds."""
    near: Client = await connect_client(agent())
    far: Client = await connect_client(agent("bob"), to=other)
    for one in (near, far):
        await one.subscribe("shop")
        await one.wait_for(lambda me: sets(me, "session"))
    await signal(site, connection("connected"))
    await signal(site, connection("logged_out", detail="$removed from the phone"))
    for one in (near, far):
        await one.wait_for(lambda me: state(me, "shop") == "logged_out")
    told = sets(near, "session")[-1]["connection"]
    assert told["detail"] == "$removed from the phone"
    await signal(other, connection("logged_out"))
    await far.wait_for(lambda me: sets(me, "session")[-1]["connection"]["detail"] is None)
    assert sets(far, "session")[-1]["connection"]["since"] == told["since"]

    async def stored() -> dict[str, Any] | None:
        found = await store.ask(accounts.read, ["shop"])
        return {"state": found["shop"].state, "detail": found["shop"].detail} if found else None

    while await stored() != {"state": "logged_out", "detail": None}:
        await asyncio.sleep(0.01)
    again = await run_app(assemble(app_settings, Tokens(SECRET), store))
    late: Client = await connect_client(agent("eve"), to=again)
    await late.subscribe("shop", GROUP)
    await late.wait_for(lambda me: sets(me, "session"))
    expected = {"state": "logged_out", "detail": None, "since": told["since"]}
    assert sets(late, "session")[0]["connection"] == expected
    for server in (site, other, again):
        for token in (agent("eve"), agent("eve", "shop")):
            (listed,) = (await server.get("/api/v1/sessions", token=token)).body["data"]
            assert listed.pop("position")["seq"] == 0
            assert listed == sets(late, "session")[0]


async def test_nothing_old_is_shown_of_contacts(site: Site, connect_client: Any) -> None:
    """When the account is no longer connected, nobody knows which of its contacts are online."""
    ann: Client = await connect_client(agent())
    await ann.subscribe("shop")
    await ann.ask("view", sessionId="shop", chatId=ALICE)
    await signal(site, {"type": "presence", "chatId": ALICE, "sender": {"id": ALICE}, "state": "online"})
    await shows(ann, "presence", "contacts", ALICE)
    await signal(site, connection("disconnected"))
    await shows(ann, "presence", "contacts")
    await shows(ann, "viewers", "agents", "ann")


@over_each_bus
async def test_whether_anybody_delivers(site: Site, other: Site, connect_client: Any) -> None:
    """`available` says whether a bot is connected, to whichever server; over HTTP there is always a way."""
    ann: Client = await connect_client(agent())
    for session in ("shop", "waha"):
        await ann.subscribe(session)

    def available(session: str) -> list[bool]:
        return [data["sending"]["available"] for data in sets(ann, "session") if data["sessionId"] == session]

    await ann.wait_for(lambda me: available("shop") and available("waha"))
    bot = await Bot(other).serve()
    await ann.wait_for(lambda me: available("shop") == [False, True])
    listed = (await site.get("/api/v1/sessions", token=agent("ann", "shop"))).body["data"]
    assert listed[0]["sending"] == {"via": "bot", "available": True}
    await bot.close()
    await ann.wait_for(lambda me: available("shop") == [False, True, False])
    assert available("waha") == [True]


@over_each_bus
async def test_a_viewed_chat_is_asked_for(site: Site, other: Site, connect_client: Any, stand_in: Provider) -> None:
    """Where the settings want it the provider is asked for the presence of a viewed chat: a bot on whichever server,
    WAHA and Evolution. Agents' typing reaches a bot on another server, too."""
    bot = await Bot(other).serve()
    ann: Client = await connect_client(agent())
    await ann.subscribe("shop")
    place = {"chatId": ALICE}
    for session in ("waha", "evo", "shop"):
        await ann.ask("view", sessionId=session, **place)
    await bot.wait_for(lambda me: ("presence_subscribe", {"sessionId": "shop"} | place) in me.events)
    await until(lambda: len({one.path for one in stand_in.requests}) == 2)
    paths = sorted({one.path for one in stand_in.requests})
    assert paths == ["/api/main/presence/85291234567@c.us/subscribe", "/chat/sendPresence/main"]
    await ann.ask("typing", sessionId="shop", **place, action="typing")
    await ann.close()
    actions = [{"sessionId": "shop", **place, "action": action} for action in ("typing", "stopped")]
    await bot.wait_for(lambda me: [data for event, data in me.events if event == "typing_out"] == actions)
    await bot.close()
