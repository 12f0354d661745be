"""Clients that do not read: they are reported, waited for, and finally dropped, without an effect on others."""

import asyncio
import socket as sockets
from collections.abc import Callable
from typing import Any

from app.engine import Limits

from .client import Polling, Socket, frame
from .conftest import Serve, Site, until

KB = "x" * 1_000
SMALL = {"send_buffer": 8_192, "close_timeout": 0.3}


async def reluctant(site: Site) -> Socket:
    """A connected client with small buffers that reads only on request."""
    socket = await Socket.open(site.port, "EIO=4&transport=websocket", {}, rcvbuf=4_096)
    site.sockets.append(socket)
    await socket.packet()
    await socket.text("40")
    assert (await socket.packet()).startswith("40{")
    socket.writer.transport.pause_reading()
    return socket


def read_on(socket: Socket) -> None:
    socket.writer.transport.resume_reading()


async def flood(site: Site, condition: Callable[[], bool], *, ephemeral: bool = False) -> int:
    """Publish a kilobyte per turn until something happens. Returns how many it took."""
    number = 0
    async with asyncio.timeout(10):
        while not condition():
            site.server.publish("n", number, KB, rooms=["all"], ephemeral=ephemeral)
            number += 1
            await asyncio.sleep(0)
    return number


async def test_congestion_is_told_when_all_is_handed_over(serve: Serve) -> None:
    """`on_congested` may leave the rooms in the middle of it all; what was published before still arrives, once."""
    told: list[tuple[str, int]] = []

    def on_congested(sid: str) -> None:
        site.server.leave(sid, "all")
        site.server.publish("told", rooms=["all"])
        told.append((sid, site.server.waiting(sid)))

    site = await serve(limits=Limits(**SMALL), on_congested=on_congested)
    slow, quick = await reluctant(site), await site.socket()
    reading = asyncio.create_task(everything(quick))
    published = await flood(site, lambda: bool(told))
    assert [sid for sid, _ in told] == [site.sids[0]]
    assert told[0][1] > 65_536
    assert site.server.stats.congested == 1
    site.server.publish("end", rooms=["all"])
    site.server.push(site.sids[0], "end")
    read_on(slow)
    got = await everything(slow)
    assert [event[1] for event in got[:-1]] == list(range(published)), "not one lost, none after it"
    assert [event[0] for event in await reading][-2:] == ["told", "end"]
    assert site.server.waiting(site.sids[0]) == 0
    assert site.server.stats.congested == 0


async def test_congestion_is_told_at_the_end_of_the_turn(serve: Serve) -> None:
    """Never from within a call to the server, even where that call writes out what has been published."""
    told: list[str] = []
    site = await serve(limits=Limits(**SMALL), on_congested=told.append)
    slow, _ = await reluctant(site), await site.socket()
    server, (one, other) = site.server, site.sids
    for number, call in enumerate(
        (
            lambda: server.join(one, "room"),
            lambda: server.leave(other, "all"),
            lambda: server.join(other, "all"),
            lambda: server.publish("also", rooms=["all"]),
            lambda: server.push(one, "also"),
            lambda: server.waiting(one),
            lambda: server.close(other, "enough"),
        )
    ):
        server.publish("n", number, KB * 300, rooms=["all"])
        call()
        assert not told
    await asyncio.sleep(0)
    assert told == [one], "once, and as soon as the turn has ended"
    server.publish("end", rooms=["all"])
    read_on(slow)
    got = await everything(slow)
    assert [event[1] for event in got if event[0] == "n"] == list(range(7)), "what is congested loses nothing by it"


async def everything(socket: Socket) -> list[list[Any]]:
    got = []
    while not got or got[-1][0] != "end":
        got.append(await socket.event())
    return got


async def test_drained_returns_when_the_client_has_taken_it(serve: Serve) -> None:
    """At once if nothing is unsent, otherwise when it has been read. False if the connection ends first."""
    site = await serve(limits=Limits(**SMALL))
    slow = await reluctant(site)
    sid = site.sids[0]
    assert await site.server.drained(sid) is True
    await flood(site, lambda: site.server.waiting(sid) > 100_000)
    waits = asyncio.create_task(site.server.drained(sid))
    await asyncio.sleep(0)
    assert not waits.done()
    read_on(slow)
    reading = asyncio.create_task(everything(slow))
    assert await waits is True
    assert site.server.waiting(sid) < 16_384
    site.server.push(sid, "end")
    await reading
    slow.writer.transport.pause_reading()
    await flood(site, lambda: site.server.waiting(sid) > 100_000)
    waits = asyncio.create_task(site.server.drained(sid))
    await asyncio.sleep(0)
    site.server.close(sid, "enough")
    assert await waits is False


async def test_waiting_counts_what_this_turn_has_sent(site: Site) -> None:
    """To its rooms and to itself, not to others; and asking changes nothing of what is sent."""
    socket = await site.socket()
    await site.socket()
    a, b = site.sids
    site.server.join(b, "b")
    site.server.publish("event", KB, rooms=["all", "b"])
    site.server.push(a, "event", KB)
    site.server.publish("event", KB, rooms=["b"])
    assert 2_000 < site.server.waiting(a) < 2_100
    assert 2_000 < site.server.waiting(b) < 2_100
    for number in range(3):
        site.server.push(a, "number", number)
        assert site.server.waiting(a) > 2_000
    assert await site.server.drained(a) is True
    assert site.server.waiting(a) == 0
    assert [(await socket.event())[0] for _ in range(5)] == ["event", "event", "number", "number", "number"]


async def test_ephemeral_events_are_dropped_where_bytes_wait(serve: Serve) -> None:
    """Only ephemeral events are dropped, only for slow clients, and only while they have unsent bytes."""
    site = await serve(limits=Limits(**SMALL))
    slow = await reluctant(site)
    sid = site.sids[0]
    await flood(site, lambda: site.server.waiting(sid) > 10_000)
    before = site.server.waiting(sid)
    await flood(site, lambda: site.server.stats.ephemeral_dropped >= 200, ephemeral=True)
    assert site.server.waiting(sid) == before
    site.server.push(sid, "typing", ephemeral=True)
    site.server.push(sid, "durable")
    await asyncio.sleep(0)
    read_on(slow)
    await until(lambda: not next(iter(site.server.eio.sockets.values())).backlog.waits)
    site.server.push(sid, "typing", "again", ephemeral=True)
    site.server.push(sid, "end")
    names = [event[0] for event in await everything(slow)]
    assert names[-3:] == ["durable", "typing", "end"]
    assert names.count("typing") == 1


async def test_over_the_limit_is_reset_and_everything_freed_at_once(serve: Serve) -> None:
    """The client sees a reset; no socket lingers with what it never read."""
    site = await serve(limits=Limits(max_buffered=200_000, **SMALL))
    slow, quick = await reluctant(site), await site.socket()
    reading = asyncio.create_task(everything(quick))
    published = await flood(site, lambda: site.server.stats.closed == {"slow reader": 1})
    assert await site.told.get() == ("disconnect", site.sids[0], "slow reader")
    assert published < 500
    read_on(slow)
    assert (await slow.closed()).reset
    assert not lingering(site.port)
    site.server.publish("end", rooms=["all"])
    assert len(await reading) == published + 1


def lingering(port: int) -> list[str]:
    """Server sockets of this port that have ended and are not gone (FIN-WAIT, LAST-ACK, CLOSING)."""
    with open("/proc/net/tcp") as table:
        lines = [line.split() for line in table][1:]
    return [line[4] for line in lines if int(line[1].split(":")[1], 16) == port and line[3] in ("04", "05", "09", "0B")]


async def test_taking_nothing_for_a_while_is_the_end(serve: Serve) -> None:
    """Even if little waits; the heartbeat would have taken longer."""
    site = await serve(limits=Limits(stall_timeout=0.3, **SMALL))
    slow = await reluctant(site)
    await flood(site, lambda: site.server.waiting(site.sids[0]) > 40_000)
    assert site.server.stats.congested == 0
    assert await site.told.get() == ("disconnect", site.sids[0], "slow reader")
    read_on(slow)
    assert (await slow.closed()).reset


async def test_taking_a_little_is_enough(serve: Serve) -> None:
    """A slow client that reads is kept, though nothing of what waits on our side goes down for long."""
    site = await serve(limits=Limits(stall_timeout=0.2, send_buffer=131_072, close_timeout=0.3))
    slow = await reluctant(site)
    await flood(site, lambda: site.server.waiting(site.sids[0]) > 100_000)
    end = asyncio.get_running_loop().time() + 1
    while asyncio.get_running_loop().time() < end:
        read_on(slow)
        await slow.event()
        await slow.event()
        slow.writer.transport.pause_reading()
        await asyncio.sleep(0.02)
    assert site.told.empty()


async def test_taking_much_at_a_time_with_silence_between_is_enough(serve: Serve) -> None:
    """As a proxy in front of a slow link does: after a large piece it may take nothing for longer than `stall_timeout`,
    in proportion; but not for ever."""
    site = await serve(limits=Limits(stall_timeout=0.5, send_buffer=131_072, close_timeout=0.3))
    slow = await reluctant(site)
    await flood(site, lambda: site.server.waiting(site.sids[0]) > 400_000)
    for _ in range(3):
        await asyncio.sleep(1.2)
        read_on(slow)
        await slow.reader.readexactly(60_000)
        slow.writer.transport.pause_reading()
    assert site.told.empty()
    assert await site.told.get() == ("disconnect", site.sids[0], "slow reader")


async def test_one_large_turn_kills_nobody(serve: Serve) -> None:
    """Three megabytes at once are more than may wait for long, and fine for one who reads them; five are too much."""
    site = await serve(limits=Limits(**SMALL))
    quick = await site.socket()
    reading = asyncio.create_task(everything(quick))
    for number in range(3_000):
        site.server.publish("n", number, KB, rooms=["all"])
    await asyncio.sleep(0)
    site.server.publish("end", rooms=["all"])
    got = await reading
    assert [event[1] for event in got[:-1]] == list(range(3_000))
    assert site.told.empty()
    for number in range(5_000):
        site.server.publish("n", number, KB, rooms=["all"])
    assert await site.told.get() == ("disconnect", site.sids[0], "slow reader")


async def test_a_pong_may_be_late_while_the_client_takes_what_is_before_the_ping(serve: Serve) -> None:
    """Not forever: a client that reads nothing more is closed."""
    limits = Limits(send_buffer=0, high_water=8_000_000, max_buffered=8_000_000, max_burst=8_000_000, close_timeout=0.3)
    site = await serve(limits=limits, ping_interval=0.3, ping_timeout=1)
    slow = await reluctant(site)
    site.server.push(site.sids[0], "event", KB * 1_000)
    await asyncio.sleep(0)
    taken, end = 0, asyncio.get_running_loop().time() + 2.5
    read_on(slow)
    while asyncio.get_running_loop().time() < end:
        taken += len(await slow.reader.read(10_000))
        await asyncio.sleep(0.05)
    assert site.told.empty()
    assert taken < 1_000_000, "the ping cannot have arrived"
    slow.writer.transport.pause_reading()
    assert await site.told.get() == ("disconnect", site.sids[0], "ping timeout")


# polling


async def test_a_polling_client_is_congested_likewise(serve: Serve) -> None:
    """Told over the low mark, drained by polls; all is there and in order, 16 packets an answer at most."""
    told: list[str] = []
    site = await serve(on_congested=told.append)
    async with await site.polling() as polling:
        sid = site.sids[0]
        published = await flood(site, lambda: bool(told))
        assert told == [sid]
        assert site.server.waiting(sid) > 65_536
        site.server.push(sid, "typing", ephemeral=True)
        waits = asyncio.create_task(site.server.drained(sid))
        await asyncio.sleep(0)
        assert not waits.done()
        packets: list[str] = []
        while len(packets) < published:
            answer = (await polling.poll())[1].split("\x1e")
            assert len(answer) <= 16, "python-engineio's client drops an answer that has more"
            packets += answer
        assert await waits is True
        assert [int(packet.split(",")[1]) for packet in packets] == list(range(published)), "and no ephemeral event"
        assert site.server.waiting(sid) == 0


async def test_a_client_that_stops_polling_is_dropped(serve: Serve) -> None:
    """When packets have waited for it a while, or too many do."""
    site = await serve(limits=Limits(stall_timeout=0.2, max_buffered=100_000))
    async with await site.polling(), await site.polling() as second:
        site.server.push(site.sids[0], "event")
        assert await site.told.get() == ("disconnect", site.sids[0], "slow reader")
        await flood(site, lambda: bool(site.server.stats.closed.get("slow reader", 0) == 2))
        assert (await second.poll())[0] == 400
    assert site.server.stats.congested == 0


async def slow_socket(site: Site) -> sockets.socket:
    """A TCP connection with small buffers."""
    sock = sockets.socket()
    sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", site.port))
    return sock


async def unread_poll(site: Site, polling: Polling) -> sockets.socket:
    """A poll whose answer nobody reads."""
    sock, loop = await slow_socket(site), asyncio.get_running_loop()
    await loop.sock_sendall(sock, f"GET {polling.url.removeprefix(site.url)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return sock


async def is_reset(sock: sockets.socket) -> bool:
    """Read to the end: whether it was a reset."""
    try:
        while await asyncio.get_running_loop().sock_recv(sock, 65_536):
            pass
    except ConnectionError:
        return True
    finally:
        sock.close()
    return False


async def test_a_poll_whose_answer_is_not_read_is_reset(serve: Serve) -> None:
    """A megabyte on its way through the HTTP server does not stay there."""
    site = await serve(limits=Limits(stall_timeout=0.2))
    async with await site.polling() as polling:
        for _ in range(15):
            site.server.push(site.sids[0], "event", KB * 64)
        sock = await unread_poll(site, polling)
        assert await site.told.get() == ("disconnect", site.sids[0], "slow reader")
        assert await is_reset(sock)


async def test_polling_elsewhere_does_not_count_as_reading(serve: Serve) -> None:
    """Answers cannot be piled up on connections that nobody reads while the session goes on over others."""
    site = await serve(limits=Limits(stall_timeout=0.3))
    async with await site.polling() as polling:
        site.server.push(site.sids[0], "event", KB * 900)
        sock = await unread_poll(site, polling)
        await until(lambda: not site.server.waiting(site.sids[0]))
        while site.told.empty():
            site.server.push(site.sids[0], "event")
            await polling.poll()
        assert await site.told.get() == ("disconnect", site.sids[0], "slow reader")
        assert await is_reset(sock)


async def read_slowly(sock: sockets.socket, rate: int) -> bytes:
    """One answer, at so many bytes a second."""
    loop, got = asyncio.get_running_loop(), b""
    begun, wanted = loop.time(), None
    while wanted is None or len(got) < wanted:
        got += await loop.sock_recv(sock, rate // 20)
        assert got
        if wanted is None and b"\r\n\r\n" in got:
            head, _, _ = got.partition(b"\r\n\r\n")
            lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            wanted = len(head) + 4 + int(lengths[0].split(b":")[1])
        await asyncio.sleep(begun + len(got) / rate - loop.time())
    return got.partition(b"\r\n\r\n")[2]


async def test_a_slow_link_is_not_a_slow_reader(serve: Serve) -> None:
    """A client that needs longer for an answer than the stall timeout is not closed, whatever is waiting; its ping
    is before that."""
    site = await serve(limits=Limits(stall_timeout=0.2), ping_interval=0.5, ping_timeout=0.5)
    async with await site.polling() as polling:
        sid, request = site.sids[0], f"GET {polling.url.removeprefix(site.url)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        sock = await slow_socket(site)
        loop = asyncio.get_running_loop()
        got, pings = "", 0
        for number in range(24):
            site.server.push(sid, "event", number, KB * 4)
        while '"event",23' not in got:
            await loop.sock_sendall(sock, request)
            got = (await read_slowly(sock, 40_000)).decode()
            if got.startswith("2\x1e"):
                pings += 1
                assert await polling.post("3") == (200, "ok")
        assert pings
        sock.close()
        assert site.told.empty()


async def test_a_client_that_polls_large_answers_all_the_time_is_kept(serve: Serve) -> None:
    """Something is always on its way to it, but who asks again over the same connection has read the answer before."""
    site = await serve(limits=Limits(stall_timeout=0.4))
    async with await site.polling() as polling:
        end = asyncio.get_running_loop().time() + 1.2
        while asyncio.get_running_loop().time() < end:
            site.server.push(site.sids[0], "event", KB * 200)
            assert (await polling.poll())[0] == 200
    assert site.told.empty()


async def test_an_upgrade_with_much_waiting_is_checked_like_the_rest(serve: Serve) -> None:
    """What waited for a poll goes to the websocket, and is bounded there."""
    site = await serve(limits=Limits(**SMALL))
    async with await site.polling() as polling:
        socket = await site.raw(f"EIO=4&transport=websocket&sid={polling.sid}")
        await socket.text("2probe")
        await socket.packet()
        published = await flood(site, lambda: site.server.stats.congestions == 1)
        await socket.text("5")
        site.server.push(site.sids[0], "end")
        assert len(await everything(socket)) == published + 1
        assert site.server.stats.congested == 0


async def test_an_upgrade_relieves_a_client_that_was_congested(serve: Serve) -> None:
    """Where the kernel takes at once all that waited for a poll, nobody waits for it any longer."""
    site = await serve()
    async with await site.polling() as polling:
        published = await flood(site, lambda: site.server.stats.congested == 1)
        waits = asyncio.create_task(site.server.drained(site.sids[0]))
        socket = await site.raw(f"EIO=4&transport=websocket&sid={polling.sid}")
        await socket.text("2probe")
        await socket.packet()
        await socket.text("5")
        assert await waits is True
        assert site.server.stats.congested == 0
        assert [(await socket.event())[1] for _ in range(published)] == list(range(published))


async def test_a_websocket_that_was_full_before_the_upgrade_is_checked_after_it(serve: Serve) -> None:
    """Pongs that nobody reads fill it while it is only probed; what is published then is bounded all the same."""
    site = await serve(limits=Limits(max_buffered=100_000, max_packet=1_000_000, **SMALL))
    async with await site.polling() as polling:
        slow = await Socket.open(site.port, f"EIO=4&transport=websocket&sid={polling.sid}", {}, rcvbuf=4_096)
        site.sockets.append(slow)
        await slow.text("2probe")
        await slow.packet()
        slow.writer.transport.pause_reading()
        while not len(site.server.eio.connections.websockets.stalled):
            slow.send(frame(b"x" * 125, 9) * 10)
            await asyncio.sleep(0)
        await slow.text("5")
        await until(lambda: site.server.stats.upgraded == 1)
        published = await flood(site, lambda: bool(site.server.stats.closed))
        assert site.server.stats.closed == {"slow reader": 1}
        assert published < 300
