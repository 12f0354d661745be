"""One turn of the loop is one write, in order, on any transport."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from .client import Socket
from .conftest import Serve, Site, until


async def test_what_is_sent_in_one_turn_is_one_write(site: Site) -> None:
    """Events to rooms, to the client alone, and heartbeats' neighbours: one call of the transport's write."""
    socket = await site.socket()
    connection = next(iter(site.server.eio.sockets.values()))
    writes: list[bytes] = []
    write = connection.write
    connection.write = lambda data: (writes.append(data), write(data))  # type: ignore[func-returns-value]
    for i in range(50):
        site.server.publish("room", i, rooms=["all"])
        if i % 10 == 0:
            site.server.push(site.sids[0], "alone", i)
    assert writes == [], "nothing goes out before the turn's end"
    got = [await socket.event() for _ in range(55)]
    assert len(writes) == 1
    expected = []
    for i in range(50):
        expected.append(["room", i])
        if i % 10 == 0:
            expected.append(["alone", i])
    assert got == expected


async def test_an_event_is_framed_once_for_all(site: Site) -> None:
    """A hundred connections are given the same bytes object."""
    for _ in range(20):
        await site.socket()
    written: list[int] = []
    for connection in site.server.eio.sockets.values():
        connection.write = lambda data: written.append(id(data))
    site.server.publish("event", "x" * 100, rooms=["all"])
    site.server.eio.outbox.flush()
    assert len(written) == 20
    assert len(set(written)) == 1


async def test_a_connection_in_several_rooms_gets_an_event_once(site: Site) -> None:
    """The union of the rooms; rooms of any hashable name."""
    one, two = await site.socket(), await site.socket()
    server, (a, b) = site.server, site.sids
    server.join(a, ("session", "shop"))
    server.join(a, ("chat", "shop", "1"))
    server.join(b, ("chat", "shop", "1"))
    server.publish("event", 1, rooms=[("session", "shop"), ("chat", "shop", "1"), ("nobody",), ("session", "shop")])
    server.publish("event", 2, rooms=[("session", "shop")])
    server.publish("event", 3, rooms=iter([("chat", "shop", "1")]))
    server.publish("event", 4, rooms=[])
    assert [await one.event() for _ in range(3)] == [["event", 1], ["event", 2], ["event", 3]]
    assert [await two.event() for _ in range(2)] == [["event", 1], ["event", 3]]
    assert server.rooms(a) == [a, "all", ("session", "shop"), ("chat", "shop", "1")]


async def test_who_is_in_a_room_when_an_event_is_published_gets_it(site: Site) -> None:
    """A client that joins later in the same turn does not get it; one that leaves later does."""
    one, two = await site.socket(), await site.socket()
    server, (a, b) = site.server, site.sids
    server.join(a, "room")
    server.publish("event", 1, rooms=["room"])
    server.leave(a, "room")
    server.join(b, "room")
    server.publish("event", 2, rooms=["room"])
    server.join(a, "room")
    server.publish("event", 3, rooms=["room"])
    server.publish("end", rooms=["all"])
    assert [await one.event() for _ in range(3)] == [["event", 1], ["event", 3], ["end"]]
    assert [await two.event() for _ in range(3)] == [["event", 2], ["event", 3], ["end"]]


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])
async def test_an_answer_comes_before_what_is_published_after_it(site: Site, transport: str) -> None:
    """And behind what was published before it, within the same turn, on polling and in the middle of an upgrade too."""

    async def ask(sid: str) -> str:
        site.server.publish("before", rooms=["all"])
        asyncio.get_running_loop().call_soon(lambda: site.server.publish("after", rooms=["all"]))
        return "answer"

    site.server.on("ask", ask)
    expected = ['42["before"]', '431["answer"]', '42["after"]']
    if transport == "websocket":
        socket = await site.socket()
        await socket.text('421["ask"]')
        assert [await socket.packet() for _ in range(3)] == expected
        return
    async with await site.polling() as polling:
        if transport == "polling":
            await polling.post('421["ask"]')
            got: list[str] = []
            while len(got) < 3:
                got += (await polling.poll())[1].split("\x1e")
            assert got == expected
            return
        socket = await site.raw(f"EIO=4&transport=websocket&sid={polling.sid}")
        await socket.text("2probe")
        assert await socket.packet() == "3probe"
        await polling.post('421["ask"]')
        await until(lambda: len(site.server.eio.sockets[polling.sid].polling.packets) == 3)
        await socket.text("5")
        assert [await socket.packet() for _ in range(3)] == expected


@pytest.mark.parametrize("deflate", [True, False])
async def test_everybody_gets_the_same_order(serve: Serve, deflate: bool) -> None:
    """Random events to random rooms with random joins and leaves: each gets what was for it, in order, once."""
    site = await serve()
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    header = {"Sec_WebSocket_Extensions": "permessage-deflate"} if deflate else {}
    sockets: list[Socket] = [await site.socket(**header) for _ in range(8)]
    server, rooms = site.server, [("room", i) for i in range(4)]
    members: dict[Any, set[int]] = {room: set() for room in rooms}
    expected: list[list[int]] = [[] for _ in sockets]
    for number in range(1_000):
        what, who, room = dice.random(), dice.randrange(8), dice.choice(rooms)
        if what < 0.2:
            server.join(site.sids[who], room)
            members[room].add(who)
        elif what < 0.4:
            server.leave(site.sids[who], room)
            members[room].discard(who)
        elif what < 0.5:
            server.push(site.sids[who], "n", number, "x" * dice.choice([0, 300]))
            expected[who].append(number)
        elif what < 0.98:
            to = dice.sample(rooms, dice.randrange(1, 4))
            server.publish("n", number, rooms=to)
            for each in set().union(*(members[room] for room in to)):
                expected[each].append(number)
        else:
            await asyncio.sleep(0)
    server.publish("end", rooms=["all"])
    for socket, numbers in zip(sockets, expected, strict=True):
        got = []
        while (event := await socket.event())[0] != "end":
            got.append(event[1])
        assert got == numbers


async def test_joining_and_leaving_cost_only_ones_own_rooms(site: Site) -> None:
    """Ten thousand other rooms are not looked at: counted, not timed."""
    await site.socket()
    sid, manager = site.sids[0], site.server.manager
    looked: list[Any] = []

    def counted(name: str) -> Callable[..., Any]:
        def look(*args: Any) -> Any:
            looked.append(name)
            return getattr(dict, name)(*args)

        return look

    names = ("__iter__", "items", "values", "copy")
    Counting = type("Counting", (dict,), {name: counted(name) for name in names})
    manager.rooms["/"] = Counting(manager.rooms["/"])
    site.server.join(sid, "room")
    site.server.leave(sid, "room")
    await site.server.disconnect(sid)
    assert looked == []


async def test_those_who_get_the_same_get_the_same_bytes(site: Site) -> None:
    """Events for two sets of recipients alternate: each recipient gets one write, joined once per set."""
    for i in range(12):
        await site.socket()
        site.server.join(site.sids[i], "even" if i % 2 else "odd")
    written: list[bytes] = []
    for connection in site.server.eio.sockets.values():
        connection.write = written.append
    for number in range(10):
        site.server.publish("n", number, rooms=["even"])
        site.server.publish("n", number, rooms=["odd", "nobody"])
    site.server.push(site.sids[0], "alone")
    site.server.publish("end", rooms=["all"])
    site.server.eio.outbox.flush()
    assert len(written) == 12
    assert len({id(data) for data in written}) == 3
    assert all(data.endswith(b'["end"]') for data in written)
