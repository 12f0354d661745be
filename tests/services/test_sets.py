"""Typing, presence and viewers: leases with an end, sent as whole sets, on every server."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Hashable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.auth import Principal
from app.bus import Told
from app.domain import rooms
from app.domain.events import now
from app.domain.incoming import PresenceSignal, TypingSignal
from app.domain.models import Agent, Message
from app.domain.models import Sender as Person
from app.services.attendance import FIELDS
from app.services.leases import SetKey
from app.services.presence import ASK_SECONDS, PRESENCE, Presence
from app.services.sets import AGAIN_SECONDS, EXPIRES_SECONDS, PART_SECONDS, QUIET_SECONDS, Sets
from app.services.typing import MAX_CHATS, TYPING, TYPING_SECONDS, Typing
from app.services.viewers import LINGER_SECONDS, VIEWERS, Viewers

CHAT = "85291234567@s.whatsapp.net"
GROUP = "120363041234567890@g.us"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeSender:
    """What was sent, to which rooms."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], tuple[Hashable, ...]]] = []

    def publish(self, event: str, *args: Any, rooms: Iterable[Hashable], ephemeral: bool = False) -> None:
        assert ephemeral
        self.sent.append((event, args[0], tuple(rooms)))


class Server:
    """One server's sets, and a bus to the others that may lose what is told."""

    def __init__(self, clock: Clock, limit: int = 1000) -> None:
        self.sender = FakeSender()
        self.others: list[Server] = []
        self.lost = 0.0
        self.chance = random.Random(1)
        self.evicted = 0
        self.asked: list[tuple[str, str]] = []
        self.sets = Sets(
            self.sender,  # type: ignore[arg-type]
            self._tell,
            FIELDS,
            limit=limit,
            on_evicted=self._evicted,
            clock=clock,
            wall_clock=clock,
        )
        self.typing, self.viewers = Typing(self.sets), Viewers(self.sets)
        self.presence = Presence(self.sets, lambda *asked: self.asked.append(asked), clock)

    def _evicted(self) -> None:
        self.evicted += 1

    def _tell(self, told: Told) -> None:
        for other in self.others:
            if self.chance.random() >= self.lost:
                other.sets.hear(told)

    def shown(self, kind: str, session_id: str = "shop") -> list[dict[str, Any]]:
        """What a subscriber who got everything shows now."""
        found = [data for event, data, _ in self.sender.sent if event == kind and data["sessionId"] == session_id]
        return found[-1][FIELDS[kind]] if found else []


def join(*servers: Server, lost: float = 0, chance: random.Random | None = None) -> None:
    for server in servers:
        server.others = [other for other in servers if other is not server]
        server.lost = lost
        server.chance = chance or server.chance


def agent(sub: str = "ann", lifetime: float = 3600) -> Principal:
    scopes = frozenset({"read", "send"})
    return Principal(sub, time.time() + lifetime, sub.title(), frozenset({"*"}), scopes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Server:
    return Server(clock)


def types(server: Server, sub: str = "ann", sid: str = "c1", action: str = "typing", chat: str = CHAT) -> None:
    server.typing.agent(sid, agent(sub), "shop", chat, action)  # type: ignore[arg-type]


def views(server: Server, sub: str = "ann", sid: str = "c1", chat: str | None = CHAT) -> None:
    server.viewers.view(sid, agent(sub), "shop", chat)


def writes(server: Server, chat: str = CHAT, sender: str = CHAT, author: str | None = None) -> None:
    """A message was stored."""
    ours = author is not None
    server.typing.message_came(
        Message(
            message_id="m1",
            session_id="shop",
            chat_id=chat,
            seq=1,
            updated_seq=1,
            content_seq=1,
            from_me=ours,
            sender=Person(sender),
            type="text",
            text="hello",
            media=None,
            reply_to=None,
            status="sent" if ours else "received",
            timestamp=now(),
            received_at=now(),
            author=Agent(author) if author else None,
        )
    )


def contact_types(server: Server, chat: str = CHAT, sender: str = CHAT, action: str = "typing") -> None:
    server.typing.contact("shop", TypingSignal(chat, Person(sender, "Alice"), action))  # type: ignore[arg-type]


def ids(people: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in people]


def pass_time(clock: Clock, seconds: float, *servers: Server) -> None:
    end = clock.now + seconds
    while clock.now < end:
        clock.now = min(clock.now + 0.1, end)
        for server in servers:
            server.sets.tick()


def test_a_change_goes_to_those_who_look_at_the_chat(server: Server) -> None:
    """A whole set goes to the session's and the chat's subscribers, and says when it expires."""
    types(server)
    server.sets.tick()
    [(event, data, to)] = server.sender.sent
    assert event == "typing"
    assert data == {
        "sessionId": "shop",
        "chatId": CHAT,
        "who": [{"id": "ann", "name": "Ann", "kind": "agent", "action": "typing"}],
        "expiresInMs": 15_000,
    }
    assert set(to) == {rooms.who("shop"), rooms.who("shop", CHAT)}


def test_typing_ends_by_itself(clock: Clock, server: Server) -> None:
    """12 s after the last repetition the set is sent empty, once, and nothing is kept of it."""
    types(server)
    pass_time(clock, TYPING_SECONDS - 1, server)
    types(server)
    pass_time(clock, TYPING_SECONDS - 1, server)
    assert server.shown(TYPING)
    pass_time(clock, 30, server)
    assert [data["who"] for _, data, _ in server.sender.sent].count([]) == 1
    assert server.shown(TYPING) == []
    assert len(server.sets) == 0


def test_a_set_is_sent_again_before_it_expires(clock: Clock, server: Server) -> None:
    """One of the repetitions may be lost, and the set does not expire at the client."""
    views(server)
    times: list[float] = []
    for _ in range(600):
        before = len(server.sender.sent)
        pass_time(clock, 0.1, server)
        times += [clock.now] * (len(server.sender.sent) - before)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps
    assert max(gaps) < EXPIRES_SECONDS / 2


def test_changes_of_a_chat_are_gathered(clock: Clock, server: Server) -> None:
    """However fast a set changes, it is sent at most once in 250 ms, and its last state is sent."""
    times: list[float] = []
    for n in range(100):
        types(server, action="typing" if n % 2 else "recording")
        before = len(server.sender.sent)
        clock.now += 0.01
        server.sets.tick()
        times += [clock.now] * (len(server.sender.sent) - before)
    assert min(b - a for a, b in itertools.pairwise(times)) >= QUIET_SECONDS
    pass_time(clock, 1, server)
    assert server.shown(TYPING)[0]["action"] == "typing"


def test_a_person_in_five_tabs_is_one(clock: Clock, server: Server) -> None:
    """A person is in a set once, and until the last tab has gone."""
    for n in range(5):
        views(server, sid=f"c{n}")
    pass_time(clock, 1, server)
    assert ids(server.shown(VIEWERS)) == ["ann"]
    for n in range(4):
        server.viewers.end(f"c{n}")
    pass_time(clock, LINGER_SECONDS * 2, server)
    assert ids(server.shown(VIEWERS)) == ["ann"]
    server.viewers.end("c4")
    pass_time(clock, LINGER_SECONDS - 1, server)
    assert server.shown(VIEWERS)
    pass_time(clock, 2, server)
    assert server.shown(VIEWERS) == []


def test_a_reload_does_not_flicker(clock: Clock, server: Server) -> None:
    """Who comes back within ten seconds has never gone, and is there since the first time."""
    views(server)
    pass_time(clock, 1, server)
    since = server.shown(VIEWERS)[0]["since"]
    server.viewers.end("c1")
    pass_time(clock, 3, server)
    views(server, sid="c2")
    pass_time(clock, 60, server)
    shown = [data["agents"] for _, data, _ in server.sender.sent]
    assert [] not in shown
    assert {one["since"] for agents in shown for one in agents} == {since}


def test_one_chat_at_a_time(clock: Clock, server: Server) -> None:
    """A connection that shows another chat leaves the first."""
    views(server)
    views(server, chat=GROUP)
    pass_time(clock, LINGER_SECONDS + 1, server)
    last = {data["chatId"]: data["agents"] for _, data, _ in server.sender.sent}
    assert last[CHAT] == []
    assert ids(last[GROUP]) == ["ann"]
    server.viewers.view("c1", agent(), "studio", None)
    pass_time(clock, LINGER_SECONDS + 1, server)
    assert ids(server.shown(VIEWERS)) == ["ann"]
    views(server, chat=None)
    pass_time(clock, LINGER_SECONDS + 1, server)
    assert server.shown(VIEWERS) == []
    assert len(server.sets) == 0


def test_an_expired_token_is_out(clock: Clock, server: Server) -> None:
    """Typing ends with the token, and viewing ten seconds later, without anybody saying so."""
    server.typing.agent("c1", agent(lifetime=5), "shop", CHAT, "typing")
    server.viewers.view("c1", agent(lifetime=5), "shop", CHAT)
    pass_time(clock, 4, server)
    assert server.shown(TYPING)
    pass_time(clock, 2, server)
    assert server.shown(TYPING) == []
    assert server.shown(VIEWERS)
    pass_time(clock, LINGER_SECONDS, server)
    assert server.shown(VIEWERS) == []


def test_a_closed_connection_types_no_more(clock: Clock, server: Server) -> None:
    """Typing ends with the connection at once."""
    types(server)
    server.sets.tick()
    server.typing.end("c1")
    pass_time(clock, 0.5, server)
    assert server.shown(TYPING) == []


def test_a_connection_types_in_few_chats(clock: Clock, server: Server) -> None:
    """A connection that types everywhere types in its last chats only."""
    for n in range(MAX_CHATS + 3):
        types(server, chat=f"{n}@g.us")
    assert len(server.sets) == MAX_CHATS
    pass_time(clock, 1, server)
    assert {data["chatId"] for _, data, _ in server.sender.sent} == {f"{n}@g.us" for n in range(3, MAX_CHATS + 3)}


def test_a_message_ends_its_senders_typing(clock: Clock, server: Server) -> None:
    """A contact's message ends that contact's typing, an agent's that agent's, and nobody else's."""
    for sender in ("alice@s.whatsapp.net", "bob@s.whatsapp.net"):
        contact_types(server, GROUP, sender, "recording")
    types(server, chat=GROUP)
    types(server, "eve", "c2", chat=GROUP)
    server.sets.tick()
    writes(server, GROUP, "alice@s.whatsapp.net")
    writes(server, GROUP, "shop", author="eve")
    pass_time(clock, 0.5, server)
    assert sorted(ids(server.shown(TYPING))) == ["ann", "bob@s.whatsapp.net"]


def test_typing_ends_on_every_server(clock: Clock) -> None:
    """A message that one server stores ends the typing that another one was told, and typing can begin again."""
    one, two = servers = [Server(clock), Server(clock)]
    join(*servers)
    contact_types(one)
    pass_time(clock, 1, *servers)
    assert two.shown(TYPING)
    writes(two, sender="another-address@lid")
    pass_time(clock, 1, *servers)
    assert one.shown(TYPING) == two.shown(TYPING) == []
    pass_time(clock, 8, *servers)
    assert one.shown(TYPING) == two.shown(TYPING) == []
    contact_types(one)
    pass_time(clock, 1, *servers)
    assert ids(one.shown(TYPING)) == ids(two.shown(TYPING)) == [CHAT]


def test_present_sets_follow_a_subscription(server: Server) -> None:
    """A new subscriber gets the sets that are not empty, of what was subscribed and nothing else."""
    types(server)
    types(server, sub="bob", sid="c2", chat=GROUP)
    assert {data["chatId"] for _, data in server.sets.present("shop", None)} == {CHAT, GROUP}
    assert {data["chatId"] for _, data in server.sets.present("shop", CHAT)} == {CHAT}
    assert server.sets.present("studio", None) == []


def test_the_newest_news_wins(clock: Clock) -> None:
    """Whichever server hears that a contact is online or offline, all of them show what came last."""
    one, two = servers = [Server(clock), Server(clock)]
    join(*servers)
    person = Person(CHAT, "Alice")
    one.presence.contact("shop", PresenceSignal(CHAT, person, "online"))
    pass_time(clock, 20, *servers)
    assert two.shown(PRESENCE)[0]["state"] == "online"
    two.presence.contact("shop", PresenceSignal(CHAT, person, "offline", now()))
    pass_time(clock, 20, *servers)
    for server in servers:
        assert [one["state"] for one in server.shown(PRESENCE)] == ["offline"]
        assert server.shown(PRESENCE)[0]["lastSeen"] is not None


def test_presence_is_asked_for_while_somebody_looks(clock: Clock, server: Server) -> None:
    """The provider is asked at once, again every minute, and no more when the last agent has gone."""
    for sid in ("c1", "c2"):
        views(server, sid=sid)
        server.presence.look("shop", CHAT)
    assert server.asked == [("shop", CHAT)]
    for _ in range(2):
        pass_time(clock, ASK_SECONDS, server)
        server.presence.look_again()
    assert len(server.asked) == 3
    server.viewers.end("c1")
    server.viewers.end("c2")
    pass_time(clock, ASK_SECONDS, server)
    server.presence.look_again()
    assert len(server.asked) == 3


def test_a_dead_server_takes_its_leases_with_it(clock: Clock) -> None:
    """What a server held runs out for the others within 15 s of its end."""
    dead, alive = servers = [Server(clock), Server(clock)]
    join(*servers)
    views(dead)
    types(dead)
    pass_time(clock, 60, *servers)
    assert alive.shown(VIEWERS)
    pass_time(clock, 15, alive)
    assert alive.shown(VIEWERS) == alive.shown(TYPING) == []
    assert len(alive.sets) == 0


def test_repetitions_change_nothing(clock: Clock) -> None:
    """What another server tells again is no change."""
    one, two = servers = [Server(clock), Server(clock)]
    join(*servers)
    changed: list[SetKey] = []
    two.sets.on_changed = changed.append
    views(one)
    pass_time(clock, 30, *servers)
    assert changed == [SetKey(VIEWERS, "shop", CHAT)]


def test_sets_are_bounded(clock: Clock) -> None:
    """Beyond the limit the oldest leases go, and are counted."""
    server = Server(clock, limit=3)
    for n in range(5):
        types(server, sub=f"s{n}", sid=f"c{n}")
    pass_time(clock, 1, server)
    assert ids(server.shown(TYPING)) == ["s2", "s3", "s4"]
    assert server.evicted == 2


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"server": "s", "chatId": CHAT, "part": {}},
        {"server": 1, "chatId": CHAT, "part": []},
        {"server": "s", "chatId": None, "part": []},
        {"server": "s", "chatId": CHAT, "part": [["ann", 1]]},
        {"server": "s", "chatId": CHAT, "part": [["ann", "1", {}]]},
        {"server": "s", "chatId": CHAT, "part": [["ann", 2**60, {}]]},
        {"server": "s", "chatId": CHAT, "part": [["ann", 1, "here"]]},
    ],
)
def test_unknown_news_are_ignored(server: Server, value: dict[str, Any]) -> None:
    """What another version tells, and this one cannot read, does no harm."""
    server.sets.hear(Told("shop", TYPING, value))
    server.sets.tick()
    assert server.sender.sent == []
    assert len(server.sets) == 0


class Watcher:
    """A client of a server, which loses some of what is sent and drops sets that have expired."""

    def __init__(self) -> None:
        self._sets: dict[tuple[str, str], tuple[float, list[dict[str, Any]]]] = {}
        self._read = 0

    def read(self, server: Server, clock: Clock, lost: float, chance: random.Random) -> None:
        for event, data, _ in server.sender.sent[self._read :]:
            if chance.random() >= lost:
                until = clock.now + data["expiresInMs"] / 1000
                self._sets[event, data["chatId"]] = until, data[FIELDS[event]]
        self._read = len(server.sender.sent)

    def shows(self, kind: str, chat: str, clock: Clock) -> set[str]:
        until, people = self._sets.get((kind, chat), (0.0, []))
        return set(ids(people)) if until > clock.now else set()


STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["view", "leave", "die", "wait", "type", "stop", "contact", "online", "write"]),
        st.integers(0, 3),
        st.integers(0, 2),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 2**32))
def test_after_quiet_every_set_is_true(steps: list[tuple[int, str, int, int]], seed: int) -> None:
    """Whoever joins, leaves and dies, and though the bus and the way to the clients lose a tenth: after some quiet
    every client shows exactly those who are there."""
    clock, chance, losing = Clock(), random.Random(seed), 0.1
    servers = [Server(clock), Server(clock)]
    join(*servers, lost=losing, chance=chance)
    watchers = [Watcher(), Watcher()]
    viewing: dict[str, int] = {}
    online: dict[tuple[int, int], int] = {}
    """(contact, chat) -> the server that was told last."""

    def wait(seconds: float) -> None:
        end = clock.now + seconds
        while clock.now < end:
            pass_time(clock, 0.2, *servers)
            for server, watcher in zip(servers, watchers, strict=True):
                watcher.read(server, clock, losing, chance)

    for where, step, who, number in steps:
        sid, server, chat = f"{where}-{who}", servers[where], f"{number}@g.us"
        if step == "view":
            views(server, f"agent{who}", sid, chat)
            viewing[sid] = number
        elif step == "leave":
            server.viewers.end(sid)
            server.typing.end(sid)
            viewing.pop(sid, None)
        elif step in ("type", "stop"):
            types(server, f"agent{who}", sid, "typing" if step == "type" else "stopped", chat)
        elif step == "contact":
            contact_types(server, chat, f"contact{who}")
        elif step == "write":
            writes(server, chat, f"contact{who}")
        elif step == "online":
            server.presence.contact("shop", PresenceSignal(chat, Person(f"contact{who}"), "online"))
            online[who, number] = where
        elif step == "die":
            viewing = {one: at for one, at in viewing.items() if not one.startswith(f"{where}-")}
            online = {one: at for one, at in online.items() if at != where}
            servers[where], watchers[where] = Server(clock), Watcher()
            join(*servers, lost=losing, chance=chance)
        wait(0.4)
    losing = 0.0
    join(*servers)
    wait(PART_SECONDS * 2 + LINGER_SECONDS + AGAIN_SECONDS * 4)
    for watcher in watchers:
        for number in range(3):
            chat = f"{number}@g.us"
            there = {f"agent{one[-1]}" for one, at in viewing.items() if at == number}
            assert watcher.shows(VIEWERS, chat, clock) == there, seed
            # A server that has died may have had what another one was told before.
            known = {f"contact{who}" for who, at in online if at == number}
            assert watcher.shows(PRESENCE, chat, clock) >= known, seed
            assert watcher.shows(TYPING, chat, clock) == set(), seed
