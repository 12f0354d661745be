"""For any actions in any order, a client's state from lists and events equals freshly loaded lists.

The whole server, on a real database, in a loop of its own thread; hypothesis chooses what happens and shortens what
fails. The clients are made by hand, down to the packets, so that nothing of a library helps them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from app import settings as app_settings
from app.application import CONNECTIONS, ENGINE, assemble
from app.storage.mongo import Store, connect
from tests.support import SECRET, TOKENS, Site, mint

SECONDS = 10.0
"""Until what must come has come; nothing waits so long unless it fails."""
CHATS = tuple(f"{n}@s.whatsapp.net" for n in range(1, 4))
SLOW_SECONDS = 0.05
"""How long a slow client reads nothing."""
MAX_MISSED = 12
"""RECOVERY_MAX_EVENTS here: small, so that it is met, missed by one, and exceeded."""

Key = tuple[str, str]
T = TypeVar("T")


EPHEMERAL = ("typing", "presence", "viewers", "session")


class Agent:
    """A client that follows parts of sessions across reconnects."""

    def __init__(self, site: Site, *, recovery: bool) -> None:
        self.site, self.recovery = site, recovery
        self.parts: dict[str, list[str | None]] = {}
        self.messages: dict[Key, dict[str, dict[str, Any]]] = {}
        self.chats: dict[Key, dict[str, Any]] = {}
        self.position: dict[str, dict[str, Any]] = {}
        self.dense_from: dict[str, int] = {}
        """The number after which the stream has every event."""
        self.recovered = 0
        self.failures: list[Exception] = []
        """Received events that must not come."""
        self._restarting: set[str] = set()
        self._pid: str | None = None
        self._offset: str | None = None
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self.reader: asyncio.Task[None] | None = None
        self._left: list[aiohttp.ClientWebSocketResponse] = []
        self._numbers = itertools.count()
        self._waiting: dict[int, Callable[[dict[str, Any]], None]] = {}
        self._greeted: asyncio.Future[dict[str, Any]] | None = None
        self._begun: dict[str, tuple[str | None, dict[str, Any]]] = {}
        """The last request that began each session's stream, on this connection."""
        self.news = asyncio.Event()

    # the connection

    @property
    def connected(self) -> bool:
        return self.reader is not None and not self.reader.done()

    async def open(self) -> None:
        auth: dict[str, Any] = {"token": mint()}
        if self.recovery:
            auth |= {"recovery": True} | ({"pid": self._pid} if self._pid else {})
            auth |= {"offset": self._offset} if self._offset else {}
        url = self.site.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        self._ws = await self.site.http.ws_connect(url)
        self._greeted = asyncio.get_running_loop().create_future()
        self._waiting.clear()
        self._begun.clear()
        self._restarting = set() if self.recovery else set(self.parts)
        await self._ws.receive_str()
        await self._ws.send_str("40" + json.dumps(auth))
        self.reader = asyncio.create_task(self._read(self._ws))
        greeting = await self._greeted
        if self.recovery and self._pid is not None and greeting["pid"] == self._pid:
            self.recovered += 1
            return
        self._pid = greeting.get("pid")
        for session in list(self.parts):
            await (self._begin_anew(session) if self.recovery else self._go_on(session))

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        try:
            await self._read_packets(ws)
        except Exception as error:
            self.failures.append(error)
            self.news.set()

    async def _read_packets(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for packet in ws:
            data = str(packet.data)
            if data == "2":
                await ws.send_str("3")
            elif data.startswith("40"):
                assert self._greeted is not None
                self._greeted.set_result(json.loads(data[2:]))
            elif data.startswith("42"):
                self._take(*json.loads(data[2:]))
            elif data.startswith("43"):
                number, bracket, rest = data[2:].partition("[")
                self._waiting.pop(int(number))(json.loads(bracket + rest)[0])
            self.news.set()

    async def cut(self, *, noticed: bool) -> None:
        """Lose the connection. If not noticed, the server still considers it open."""
        assert self._ws is not None
        assert self.reader is not None
        self.reader.cancel()
        await asyncio.wait([self.reader])
        if noticed:
            transport = self._ws.get_extra_info("transport") or self._ws._response.connection.transport
            transport.abort()
        self._left.append(self._ws)

    async def close(self) -> None:
        if self.reader:
            self.reader.cancel()
            await asyncio.wait([self.reader])
        for ws in [*self._left, *([self._ws] if self._ws else [])]:
            await ws.close()

    async def ask(
        self, event: str, payload: dict[str, Any], answered: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """`answered` is called in the turn in which the answer is read, before any event that follows it."""
        assert self._ws is not None
        done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def take(answer: dict[str, Any]) -> None:
            if answer["ok"]:
                answered(answer["data"])
            done.set_result(answer)

        number = next(self._numbers)
        self._waiting[number] = take
        await self._ws.send_str(f"42{number}" + json.dumps([event, payload]))
        async with asyncio.timeout(SECONDS):
            return await done

    # what it follows

    async def subscribe(self, session: str, chat: str | None, **more: Any) -> None:
        """From now on; what was before is loaded."""

        def answered(data: dict[str, Any]) -> None:
            position = data["position"]
            assert data["recovered"] is False
            if chat not in self.parts.setdefault(session, []):
                self.parts[session].append(chat)
                if chat is None:
                    self.dense_from[session] = position["seq"]
            self.position.setdefault(session, position)

        assert (await self.ask("subscribe", _address(session, chat) | more, answered))["ok"]
        await self._load(session)

    async def go_back(self, session: str, back: int) -> None:
        """Begin the stream anew, some numbers before where it is, over a live connection."""
        part, position = self.parts[session][-1], self.position[session]
        position = position | {"seq": max(0, position["seq"] - back)}
        if self._begun.get(session) != (part, position):  # the same request once more begins nothing anew
            await self._restart(session, part, position)

    async def unsubscribe(self, session: str, chat: str | None) -> None:
        def answered(data: dict[str, Any]) -> None:
            self.parts[session].remove(chat)
            if chat is None:
                self.dense_from.pop(session)
            if not self.parts[session]:
                del self.parts[session], self.position[session]
            for kept in (self.messages, self.chats):
                for key in [key for key in kept if not self.owns(*key)]:
                    del kept[key]

        assert (await self.ask("unsubscribe", _address(session, chat), answered))["ok"]

    async def _go_on(self, session: str) -> None:
        """By position, after a reconnect."""
        *first, last = self.parts[session]
        for chat in first:
            assert (await self.ask("subscribe", _address(session, chat), lambda data: None))["ok"]
        await self._restart(session, last, self.position[session])

    async def _restart(self, session: str, chat: str | None, position: dict[str, Any]) -> None:
        lost = []
        self._begun[session] = (chat, position)

        def answered(data: dict[str, Any]) -> None:
            self._restarting.discard(session)
            begin = position if data["recovered"] else data["position"]
            self.position[session] = begin
            if None in self.parts[session]:
                self.dense_from[session] = begin["seq"]
            lost.append(not data["recovered"])

        assert (await self.ask("subscribe", _address(session, chat) | {"position": position}, answered))["ok"]
        if lost == [True]:
            await self._load(session)

    async def _begin_anew(self, session: str) -> None:
        """Nothing was recovered: subscribe as for the first time."""
        parts = self.parts.pop(session)
        self.position.pop(session)
        self.dense_from.pop(session, None)
        for chat in parts:
            await self.subscribe(session, chat)

    def owns(self, session: str, chat: str) -> bool:
        parts = self.parts.get(session, ())
        return None in parts or chat in parts

    # what it knows

    def _take(self, name: str, data: Any, offset: str | None = None) -> None:
        if offset is not None:
            self._offset = offset
        if name == "position":
            session, position = data["sessionId"], data["position"]
            if session in self.position and session not in self._restarting:
                assert position["seq"] >= self.position[session]["seq"]
                self.position[session] = position
            return
        if name in EPHEMERAL:
            session = data["sessionId"]
            assert session in self._restarting or self.parts.get(session), f"{name} of {session} is not its own"
            return
        for one in data if name == "events" else [{"event": name, "data": data}]:
            self._take_one(one["event"], one["data"])

    def _take_one(self, name: str, data: dict[str, Any]) -> None:
        session, chat_id, seq = data["sessionId"], data["chatId"], data["seq"]
        if session in self._restarting:
            return
        assert self.owns(session, chat_id), f"{name} of {session} {chat_id} is not its own"
        last = self.position[session]["seq"]
        assert seq > last, f"{seq} came after {last}"
        if session in self.dense_from and last >= self.dense_from[session]:
            assert seq == last + 1, f"{seq} came after {last}, and the stream is of the whole session"
        self.position[session] = self.position[session] | {"seq": seq}
        self._learn((session, chat_id), [data["message"]] if "message" in data else [], data["chat"])

    def _learn(self, key: Key, messages: list[dict[str, Any]], chat: dict[str, Any]) -> None:
        mine = self.messages.setdefault(key, {})
        for message in messages:
            known = mine.get(message["messageId"])
            if known is None or known["updatedSeq"] <= message["updatedSeq"]:
                mine[message["messageId"]] = message
        if key not in self.chats or self.chats[key]["updatedSeq"] <= chat["updatedSeq"]:
            self.chats[key] = chat

    async def _load(self, session: str) -> None:
        for key, (messages, chat) in (await lists(self.site, session)).items():
            if self.owns(*key):
                self._learn(key, messages, chat)

    def shows(self, session: str) -> dict[Key, tuple[list[dict[str, Any]], dict[str, Any]]]:
        return {
            key: (sorted(self.messages.get(key, {}).values(), key=lambda message: message["seq"]), chat)
            for key, chat in self.chats.items()
            if key[0] == session
        }


def _address(session: str, chat: str | None) -> dict[str, Any]:
    return {"sessionId": session} | ({"chatId": chat} if chat is not None else {})


async def lists(site: Site, session: str) -> dict[Key, tuple[list[dict[str, Any]], dict[str, Any]]]:
    """All lists of a session, freshly loaded."""
    return {
        (session, chat["chatId"]): (await site.messages(session, chat["chatId"], "&after=0"), chat)
        for chat in await site.chats(session)
    }


class Backstage:
    """A loop in a thread, with a server that can be restarted."""

    def __init__(self, uri: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="server of the properties")
        self._thread.start()
        self._uri = uri
        self.names = itertools.count(1)
        self.slow_in = 0
        """Joins until one makes its connection congested; none does at 0 or less."""
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(4 * SECONDS)

    async def _start(self) -> None:
        self._settings = app_settings.load()
        self._store: Store = connect(self._uri, "properties", 5)
        await self._store.prepare(30)
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._port = 0
        await self._serve()
        self.site = Site(f"http://127.0.0.1:{self._port}", self.http)

    async def _serve(self) -> None:
        app = assemble(self._settings, TOKENS, self._store)
        self._make_slow(app)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]

    def _make_slow(self, app: web.Application) -> None:
        """Have a connection congested, for a while, in the turn in which `slow_in` joins more have been made."""
        engine, slow = app[ENGINE], set[str]()
        join, drained = engine.join, engine.drained

        def joining(sid: str, room: Any) -> None:
            join(sid, room)
            self.slow_in -= 1
            if self.slow_in == 0:
                slow.add(sid)
                asyncio.get_running_loop().call_soon(app[CONNECTIONS].congested, sid)

        async def draining(sid: str) -> bool:
            if sid in slow:
                await asyncio.sleep(SLOW_SECONDS)
                slow.discard(sid)
            return await drained(sid)

        engine.join, engine.drained = joining, draining  # type: ignore[method-assign]

    async def restart(self) -> None:
        await self._runner.cleanup()
        await self._serve()

    async def _stop(self) -> None:
        await self.http.close()
        await self._runner.cleanup()
        self._store.close()

    def close(self) -> None:
        self.run(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


agents = st.integers(0, 2)
sessions = st.integers(0, 1)
parts = st.sampled_from((None, *CHATS))
chats = st.sampled_from(CHATS)
ids = st.integers(1, 9).map(str)


class Inbox(RuleBasedStateMachine):
    backstage: Backstage

    @initialize(first=st.tuples(parts, parts, parts))
    def begin(self, first: tuple[str | None, ...]) -> None:
        number = next(self.backstage.names)
        self.sessions = [f"p{number}-a", f"p{number}-b"]
        site = self.backstage.site
        # One that goes on by position, two by Socket.IO's own recovery.
        self.agents = [Agent(site, recovery=recovery) for recovery in (False, True, True)]
        for agent, part in zip(self.agents, first, strict=True):
            self.run(agent.open())
            self.run(agent.subscribe(self.sessions[0], part))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.backstage.run(work)

    # what bots do

    @rule(session=sessions, posted=st.lists(st.tuples(chats, ids, st.booleans()), min_size=1, max_size=6))
    def ingest(self, session: int, posted: list[tuple[str, str, bool]]) -> None:
        body = [{"chatId": c, "messageId": i, "text": f"{c} {i}", "fromMe": mine} for c, i, mine in posted]
        assert self.run(self.backstage.site.post(self.sessions[session], {"messages": body})).status == 200

    @rule(session=sessions, chat=chats, name=ids, whole=st.booleans())
    def ingest_of_a_provider(self, session: int, chat: str, name: str, whole: bool) -> None:
        """First without content, perhaps; what comes with it completes it."""
        content = {"message": {"conversation": f"whole {name}"}} if whole else {"messageStubType": 2}
        entry = {"key": {"remoteJid": chat, "fromMe": False, "id": name}, "messageTimestamp": 1770379440} | content
        body = {"event": "messages.upsert", "data": {"type": "notify", "messages": [entry]}}
        assert self.run(self.backstage.site.post(self.sessions[session], body, source="baileys")).status == 200

    @rule(session=sessions, chat=chats, count=st.integers(MAX_MISSED - 1, MAX_MISSED + 1))
    def burst(self, session: int, chat: str, count: int) -> None:
        """About as much as one that was away can be given again."""
        body = [{"chatId": chat, "text": f"burst {n}"} for n in range(count)]
        assert self.run(self.backstage.site.post(self.sessions[session], {"messages": body})).status == 200

    # what clients do

    def there(self, number: int) -> Agent | None:
        agent = self.agents[number]
        return agent if agent.connected else None

    @rule(agent=agents, session=sessions, part=parts, batch=st.sampled_from(({}, {"batch": True}, {"batch": False})))
    def subscribe(self, agent: int, session: int, part: str | None, batch: dict[str, bool]) -> None:
        if it := self.there(agent):
            self.run(it.subscribe(self.sessions[session], part, **batch))

    @rule(agent=agents, session=sessions, part=parts, chat=chats, other=parts)
    def leave_batches(self, agent: int, session: int, part: str | None, chat: str, other: str | None) -> None:
        """It asks for single events again, or gives up a part, while some are gathered for it."""
        self.subscribe(agent, session, part, {"batch": True})
        self.burst(session, chat, 2)
        if other == part:
            self.subscribe(agent, session, part, {"batch": False})
        else:
            self.unsubscribe(agent, session, other)

    @rule(agent=agents, session=sessions, part=parts)
    def unsubscribe(self, agent: int, session: int, part: str | None) -> None:
        if (it := self.there(agent)) and part in it.parts.get(self.sessions[session], ()):
            self.run(it.unsubscribe(self.sessions[session], part))

    @rule(agent=agents, session=sessions, back=st.integers(0, MAX_MISSED + 2))
    def go_back(self, agent: int, session: int, back: int) -> None:
        if (it := self.there(agent)) and self.sessions[session] in it.parts:
            self.run(it.go_back(self.sessions[session], back))

    @rule(agent=agents, session=sessions, chat=chats, seq=st.integers(0, 30))
    def mark_read(self, agent: int, session: int, chat: str, seq: int) -> None:
        if it := self.there(agent):
            payload = _address(self.sessions[session], chat) | {"seq": seq}
            answer = self.run(it.ask("mark_read", payload, lambda data: None))
            assert answer["ok"] or answer["error"]["code"] == "forbidden"

    @rule(agent=agents, noticed=st.booleans())
    def cut(self, agent: int, noticed: bool) -> None:
        if it := self.there(agent):
            self.run(it.cut(noticed=noticed))

    @rule(agent=agents)
    def come_back(self, agent: int) -> None:
        if not self.there(agent):
            self.run(self.agents[agent].open())

    @rule(agent=agents, noticed=st.booleans(), missed=st.integers(0, MAX_MISSED + 2), live=st.booleans(), chat=chats)
    def miss(self, agent: int, noticed: bool, missed: int, live: bool, chat: str) -> None:
        """What happens most: it is cut, something comes, it is back, and more comes."""
        self.come_back(agent)
        if live:
            self.burst(0, chat, 1)
        self.cut(agent, noticed)
        if missed:
            self.burst(0, chat, missed)
        self.come_back(agent)
        self.burst(0, chat, 1)

    @rule(joins=st.integers(1, 4))
    def slow(self, joins: int) -> None:
        """Soon a connection will take nothing for a while, from the moment at which it joins a room."""
        self.backstage.slow_in = joins

    @rule(agent=agents, joins=st.integers(1, 4), chat=chats, noticed=st.booleans())
    def miss_while_slow(self, agent: int, joins: int, chat: str, noticed: bool) -> None:
        """It is slow from when it is back on, something comes in both sessions, and it is cut again."""
        self.come_back(agent)
        for session in (0, 1):
            self.subscribe(agent, session, chat, {})
        self.cut(agent, True)
        self.slow(joins)
        self.come_back(agent)
        for session in (0, 1):
            self.burst(session, chat, 1)
        self.cut(agent, noticed)
        self.come_back(agent)

    @precondition(lambda self: any(agent.parts for agent in self.agents))
    @rule()
    def restart(self) -> None:
        self.run(self.backstage.restart())
        self.run(self._all_noticed())

    async def _all_noticed(self) -> None:
        readers = [agent.reader for agent in self.agents if agent.connected and agent.reader]
        if readers:
            await asyncio.wait(readers, timeout=SECONDS)

    # what must hold

    @rule()
    def all_is_as_it_is(self) -> None:
        """Those who are connected have all of it, or get it without being told anything else."""
        self.run(self._settled())

    async def _settled(self) -> None:
        fresh = {session: await lists(self.backstage.site, session) for session in self.sessions}
        for number, agent in enumerate(self.agents):
            if agent.failures:
                raise agent.failures[0]
            if not agent.connected:
                continue
            for session in agent.parts:
                wanted = {key: shown for key, shown in fresh[session].items() if agent.owns(*key)}
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SECONDS):
                        while agent.shows(session) != wanted and agent.connected:
                            agent.news.clear()
                            await agent.news.wait()
                if agent.failures:
                    raise agent.failures[0]
                assert agent.shows(session) == wanted, f"agent {number}"

    def teardown(self) -> None:
        if not hasattr(self, "agents"):
            return
        try:
            for number in range(len(self.agents)):
                self.come_back(number)
            self.run(self._settled())
        finally:
            for agent in self.agents:
                self.run(agent.close())


@pytest.fixture
def backstage(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Backstage]:
    for setting in app_settings.SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    environ = {"DATA_DIR": str(tmp_path), "AUTH_SECRET": SECRET, "RECOVERY_MAX_EVENTS": str(MAX_MISSED)}
    environ |= {"EVENT_RATE": "100000", "EVENT_BURST": "100000", "BATCH_MAX_MS": "50"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    made = Backstage(mongodb_uri)
    yield made
    made.close()


def test_what_a_client_has_built_is_what_is_fetched_anew(backstage: Backstage) -> None:
    """However it subscribes, is cut, comes back and restarts are survived: a client's state is the server's."""
    Inbox.backstage = backstage
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Inbox,
        settings=settings(max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=checks),
    )
