"""Engine.IO 4: handshake, polling, upgrade, heartbeat, and limits for connections."""

import asyncio
import base64
import itertools
import json

import aiohttp
import pytest

from app.engine import Limits, Server
from tests.support import PATIENCE

from .client import Closed, Polling, Socket, close_body, deflate, frame
from .conftest import QUICK, Serve, Site, until

# handshake


async def test_the_handshake_says_what_the_protocol_asks_for(serve: Serve) -> None:
    """sid, upgrades, both intervals in milliseconds, fractions of a second included, and the largest payload."""
    site = await serve(ping_interval=0.3, ping_timeout=0.25)
    async with await site.polling() as polling:
        assert polling.opening == {
            "sid": polling.sid, "upgrades": ["websocket"], "pingInterval": 300, "pingTimeout": 250, "maxPayload": 65_536
        }  # fmt: skip
    socket = await site.raw()
    assert json.loads((await socket.packet())[1:])["upgrades"] == []


@pytest.mark.parametrize(
    ("method", "query", "status", "code"),
    [
        ("GET", "transport=polling", 400, 5),
        ("GET", "EIO=3&transport=polling", 400, 5),
        ("GET", "EIO=4", 400, 0),
        ("GET", "EIO=4&transport=abc", 400, 0),
        ("POST", "EIO=4&transport=polling", 400, 2),
        ("PUT", "EIO=4&transport=polling", 400, 2),
        ("GET", "EIO=4&transport=polling&sid=unknown", 400, 1),
        ("POST", "EIO=4&transport=polling&sid=unknown", 400, 1),
        ("GET", "EIO=4&transport=websocket", 400, 3),
        ("GET", "EIO=4&transport=websocket&sid=unknown", 400, 1),
    ],
)
async def test_bad_requests_are_told_why(site: Site, method: str, query: str, status: int, code: int) -> None:
    """With the protocol's own numbers; no session comes of it."""
    url = f"{site.url}/socket.io/?{query}"
    async with aiohttp.ClientSession() as session, session.request(method, url) as response:
        assert (response.status, (await response.json())["code"]) == (status, code)
    assert site.server.stats.opened == {"polling": 0, "websocket": 0}


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Sec_WebSocket_Version", "8", 426),
        ("Sec_WebSocket_Version", "", 400),
        ("Sec_WebSocket_Key", "", 400),
        ("Sec_WebSocket_Key", "c2hvcnQ=", 400),
        ("Sec_WebSocket_Key", "not base64 at all, no", 400),
        ("Upgrade", "h2c", 400),
        ("Connection", "keep-alive", 400),
    ],
)
async def test_a_websocket_is_asked_for_properly(site: Site, header: str, value: str, status: int) -> None:
    """RFC 6455, 4.2.1; a wrong version is told the right one."""
    socket = await site.raw(**{header: value})
    assert socket.status == status
    assert ("Sec-WebSocket-Version: 13" in socket.head) == (status == 426)
    assert site.server.stats.opened["websocket"] == 0


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://127.0.0.1:{port}", True),
        ("https://127.0.0.1:{port}", True),
        ("http://127.0.0.1", False),
        ("http://localhost:{port}", False),
        ("http://evil.example", False),
        ("http://127.0.0.1:{port}.evil.example", False),
        ("http://127.0.0.1:{port}@evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
async def test_other_origins_are_refused(site: Site, origin: str, allowed: bool) -> None:
    """The host must be the one that was asked for, whatever the scheme; for polling and websockets alike."""
    origin = origin.format(port=site.port)
    url = f"{site.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession(headers={"Origin": origin}) as session, session.get(url) as response:
        assert response.status == (200 if allowed else 403)
        assert response.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    assert (await site.raw(Origin=origin)).status == (101 if allowed else 403)


async def test_origins_can_be_decided_by_the_user(serve: Serve) -> None:
    """`origin_allowed` replaces the comparison, and a preflight is answered."""
    site = await serve(origin_allowed=lambda request, origin: origin == "https://good.example")
    url = f"{site.url}/socket.io/?EIO=4&transport=polling"
    good = {"Origin": "https://good.example"}
    async with aiohttp.ClientSession(headers=good) as session, session.options(url) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert (await site.raw(Origin=site.url)).status == 403


async def test_frames_behind_the_upgrade_request_are_not_lost(site: Site) -> None:
    """A client need not wait for the 101."""
    socket = await Socket.open(site.port, "EIO=4&transport=websocket", {}, extra=frame(b"40") + frame(b'421["echo",5]'))
    site.sockets.append(socket)
    assert (await socket.packet()).startswith("0{")
    assert (await socket.packet()).startswith("40{")
    assert await socket.packet() == "431[5]"


# websocket


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"x", rsv=1), 1002),
        (frame(b"x", rsv=4), 1002),
        (frame(b"x", 3), 1002),
        (frame(b"x", mask=None), 1002),
        (frame(b"x", 0), 1002),
        (frame(b"\xff"), 1007),
        (frame(b"", 2, length=65_537), 1009),
        (frame(b"x" * 126, 9), 1002),
        (frame(close_body(999), 8), 1002),
        (frame(b"x", 8), 1002),
        (frame(b"4abc"), 1002),
        (frame(b"abc"), 1002),
        (frame(b"2"), 1002),
        (frame(b""), 1002),
        (frame(b"x", 2), 1002),
    ],
)
async def test_a_broken_protocol_is_answered_with_a_code_and_ends(
    site: Site, caplog: pytest.LogCaptureFixture, data: bytes, code: int
) -> None:
    """The `disconnect` handler runs at once, with one log line and no traceback."""
    socket = await site.socket()
    socket.send(data + frame(b'42["echo"]'))
    assert (await socket.closed()).code == code
    assert await site.told.get() == ("disconnect", site.sids[0], "parse error")
    assert [record.exc_info for record in caplog.records] == [None]
    assert site.server.stats.malformed == 1


@pytest.mark.parametrize(("body", "code"), [(b"", 1000), (close_body(1000), 1000), (close_body(4000, b"bye"), 4000)])
async def test_a_close_is_answered_in_kind(site: Site, body: bytes, code: int) -> None:
    """RFC 6455, 5.5.1: the same code back, then the connection is closed, and nothing after it counts."""
    socket = await site.socket()
    socket.send(frame(body, 8) + frame(b'42["echo"]'))
    assert await socket.closed() == socket_closed(code)
    assert await site.told.get() == ("disconnect", site.sids[0], "transport close")
    assert site.told.empty()


def socket_closed(code: int) -> object:
    class Equal:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Closed) and other.code == code and not other.reset

    return Equal()


async def test_pings_are_answered_with_what_they_carried(site: Site) -> None:
    """RFC 6455, 5.5.2, within a fragmented message too; pongs that nobody asked for are ignored."""
    socket = await site.socket()
    socket.send(frame(b"hello", 9) + frame(b"x", 10) + frame(b'421["ec', fin=False) + frame(b"mid", 9))
    socket.send(frame(b'ho",1]', 0))
    assert (await socket.frame())[:2] == (10, b"hello")
    assert (await socket.frame())[:2] == (10, b"mid")
    assert await socket.packet() == "431[1]"


async def test_compression_is_used_where_it_was_offered_and_allowed(serve: Serve) -> None:
    """Long messages compressed, short ones not; a client that did not offer gets the same message plain."""
    site = await serve()
    with_it = await site.socket(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits")
    without = await site.socket()
    assert "permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n" in with_it.head
    assert "Extensions" not in without.head
    for _ in range(3):
        site.server.publish("long", "so it goes " * 50, rooms=["all"])
        site.server.publish("short", rooms=["all"])
        opcode, payload, rsv = await with_it.frame()
        assert (opcode, rsv) == (1, 4)
        assert len(payload) < 200
        assert (await with_it.frame())[1:] == (b'42["short"]', 0)
        assert await without.event() == ["long", "so it goes " * 50]
        assert await without.event() == ["short"]
    with_it.send(frame(deflate(b'421["echo","zipped"]'), rsv=4))
    assert await with_it.packet() == '431["zipped"]'
    off = await serve(deflate=False)
    assert "Extensions" not in (await off.socket(Sec_WebSocket_Extensions="permessage-deflate")).head


async def test_a_compressed_bomb_is_closed_with_1009(site: Site) -> None:
    """Fifty megabytes are not inflated."""
    socket = await site.socket(Sec_WebSocket_Extensions="permessage-deflate")
    socket.send(frame(deflate(bytes(50_000_000)), 2, rsv=4))
    assert (await socket.closed()).code == 1009


# polling


async def test_a_body_in_many_segments_arrives_whole(site: Site) -> None:
    """Read to its end, however TCP cuts it."""

    async def pieces():  # type: ignore[no-untyped-def]
        body = b'421["echo","' + b"x" * 5_000 + b'"]\x1e422["echo",2]'
        for i in range(0, len(body), 700):
            yield body[i : i + 700]
            await asyncio.sleep(0)

    async with await site.polling() as polling:
        assert await polling.post(pieces()) == (200, "ok")  # type: ignore[arg-type]
        assert await polling.poll() == (200, '431["' + "x" * 5_000 + '"]\x1e432[2]')


async def test_binary_may_come_as_base64_on_a_websocket(site: Site) -> None:
    """From clients that were told to send text alone."""
    socket = await site.socket()
    await socket.text('451-9["echo",{"_placeholder":true,"num":0}]', "b" + base64.b64encode(b"\x00\xff").decode())
    assert await socket.packet() == '461-9[{"_placeholder":true,"num":0}]'
    assert await socket.packet() == b"\x00\xff"
    await socket.text("b!")
    assert (await socket.closed()).code == 1002


async def test_any_number_of_packets_may_come_in_one_post(site: Site) -> None:
    """All thirty are handled, in order."""
    async with await site.polling() as polling:
        body = "\x1e".join(f'42{i}["echo",{i}]' for i in range(30))
        assert await polling.post(body) == (200, "ok")
        answers: list[str] = []
        while len(answers) < 30:
            answers += (await polling.poll())[1].split("\x1e")
    assert answers == [f"43{i}[{i}]" for i in range(30)]


async def test_binary_goes_through_polling_as_base64(site: Site) -> None:
    """Both ways."""
    async with await site.polling() as polling:
        data = base64.b64encode(b"\x00\xff").decode()
        assert (await polling.post(f'451-9["echo",{{"_placeholder":true,"num":0}}]\x1eb{data}'))[0] == 200
        assert (await polling.poll())[1] == f'461-9[{{"_placeholder":true,"num":0}}]\x1eb{data}'
        # As the Java client sends it: with line ends.
        lines = base64.encodebytes(bytes(100)).decode().replace("\n", "\r\n")
        assert (await polling.post(f'451-8["echo",{{"_placeholder":true,"num":0}}]\x1eb{lines}'))[0] == 200
        assert (await polling.poll())[1].endswith("b" + base64.b64encode(bytes(100)).decode())


@pytest.mark.parametrize("body", ["abc", "", "4", '42["echo"]\x1eabc', "2", "bé", "b!", "33", "0", "5", "6", b"\xff"])
async def test_a_malformed_post_ends_the_session_and_nothing_of_it_counts(site: Site, body: str | bytes) -> None:
    """The poll that waits is told that there is no such session any more, and so is the next one."""
    async with await site.polling() as polling:
        poll = asyncio.create_task(polling.poll())
        await until(lambda: site.server.eio.sockets[polling.sid].polling.polled)
        await polling.post(body)
        for status, text in (await poll, await polling.poll()):
            assert (status, json.loads(text)["code"]) == (400, 1)
    assert await site.told.get() == ("disconnect", site.sids[0], "parse error")
    assert site.told.empty()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_post_over_the_limit_is_refused_and_ends_the_session(site: Site, chunked: bool) -> None:
    """413 at once, with packets waiting and a poll pending or not."""

    async def pieces():  # type: ignore[no-untyped-def]
        for _ in range(70):
            yield b"x" * 1_000

    async with await site.polling() as polling:
        site.server.push(site.sids[0], "waiting")
        try:
            status, _ = await polling.post(pieces() if chunked else "4" * 65_537)  # type: ignore[arg-type]
            assert status == 413
        except aiohttp.ClientOSError:
            pass  # refused before it was all sent
        assert (await polling.poll())[0] == 400


async def test_a_body_that_does_not_come_ends_the_session(serve: Serve) -> None:
    """There is a limit to the wait for it."""
    site = await serve(limits=QUICK)
    async with await site.polling() as polling:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        path = polling.url.removeprefix(site.url)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n42".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        assert await site.told.get() == ("disconnect", site.sids[0], "transport error")
        writer.close()


async def test_two_polls_at_once_end_the_session(site: Site) -> None:
    """The first is told to close, the second is refused."""
    async with await site.polling() as polling:
        first = asyncio.create_task(polling.poll())
        await until(lambda: site.server.eio.sockets[polling.sid].polling.polled)
        assert (await polling.poll())[0] == 400
        assert await first == (200, "1")


async def test_two_posts_at_once_end_the_session(site: Site) -> None:
    """Nobody could tell which was first."""
    async with await site.polling() as polling:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow():  # type: ignore[no-untyped-def]
            yield b'42["echo"'
            begun.set()
            await go_on.wait()
            yield b"]"

        post = asyncio.create_task(polling.post(slow()))  # type: ignore[arg-type]
        await until(lambda: site.server.eio.sockets[polling.sid].polling.posting)
        assert (await polling.post("3"))[0] == 400
        go_on.set()
        await post
        assert (await polling.poll())[0] == 400


async def test_an_aborted_poll_swallows_no_message(site: Site) -> None:
    """The session ends with the poll, so that nothing is given to a request that nobody reads."""
    async with await site.polling() as polling:
        poll = asyncio.create_task(polling.poll())
        await until(lambda: site.server.eio.sockets[polling.sid].polling.polled)
        poll.cancel()
        assert await site.told.get() == ("disconnect", site.sids[0], "transport close")
        assert (await polling.poll())[0] == 400


async def test_a_client_that_closes_is_let_go(site: Site) -> None:
    """Its pending poll ends with a noop, and its session is gone."""
    async with await site.polling() as polling:
        poll = asyncio.create_task(polling.poll())
        await until(lambda: site.server.eio.sockets[polling.sid].polling.polled)
        assert await polling.post("1") == (200, "ok")
        assert await poll == (200, "6")
        assert (await polling.poll())[0] == 400
        assert await site.told.get() == ("disconnect", site.sids[0], "transport close")


# upgrade


async def upgrade(site: Site, polling: Polling) -> Socket:
    socket = await site.raw(f"EIO=4&transport=websocket&sid={polling.sid}")
    await socket.text("2probe")
    assert await socket.packet() == "3probe"
    return socket


async def test_an_upgrade_ends_the_poll_and_loses_nothing(site: Site) -> None:
    """To the poll as long as there is one, then to the websocket, in order."""
    async with await site.polling() as polling:
        sid = site.sids[0]
        poll = asyncio.create_task(polling.poll())
        await until(lambda: site.server.eio.sockets[polling.sid].polling.polled)
        socket = await upgrade(site, polling)
        assert await poll == (200, "6")
        assert await polling.poll() == (200, "6"), "so that the client can end its polling whenever it is ready"
        site.server.push(sid, "zero")
        assert await polling.poll() == (200, '42["zero"]')
        site.server.push(sid, "one", b"binary")
        site.server.publish("two", rooms=["all"])
        await socket.text("5", '421["echo",3]')
        assert await socket.packet() == '451-["one",{"_placeholder":true,"num":0}]'
        assert await socket.packet() == b"binary"
        assert await socket.packet() == '42["two"]'
        assert await socket.packet() == "431[3]"
        assert (await polling.poll())[0] == 400
        assert (await polling.post("3"))[0] == 400
        assert site.server.transport(sid) == "websocket"


async def test_an_upgrade_that_fails_leaves_the_session_polling(serve: Serve) -> None:
    """Whether the websocket goes away, says something else, or says nothing; and another may be tried."""
    site = await serve(limits=QUICK)
    async with await site.polling() as polling:
        for how in ("gone", "silent", "wrong"):
            socket = await upgrade(site, polling)
            if how == "gone":
                socket.kill()
            else:
                if how == "wrong":
                    await socket.text('42["echo"]')
                await socket.closed()
            await until(lambda: site.server.eio.sockets[polling.sid].upgrading is None)
            site.server.push(site.sids[0], how)
            assert await polling.poll() == (200, f'42["{how}"]')
        await (await upgrade(site, polling)).text("5")
        await until(lambda: site.server.stats.upgraded == 1)
    assert site.told.empty()


async def test_the_java_client_gets_no_close_frame(site: Site) -> None:
    """It would wait for the ping timeout behind one (okhttp does not tell it): its connection ends, after what was
    sent. Others get the frame, with its code."""
    java, other = await site.socket(User_Agent="okhttp/4.12.0"), await site.socket(User_Agent="Mozilla/5.0 okhttp/4")
    site.server.publish("last", rooms=["all"])
    await asyncio.sleep(0)
    for sid in site.sids:
        site.server.close(sid, "expired")
    assert await java.event() == await other.event() == ["last"]
    closed = await java.closed()
    assert (closed.code, closed.reset) == (None, False)
    assert (await other.closed()).code is not None


async def test_who_tries_an_upgrade_first_may_connect_later(serve: Serve) -> None:
    """The websocket that brings nothing is reset, without a close frame, and the client has time to connect by polling
    after that. Once only: a second try gives it no more."""
    site = await serve(limits=Limits(connect_timeout=2, upgrade_timeout=2.5))
    async with await site.polling(connect=False) as polling, await site.polling(connect=False) as other:
        query = "EIO=4&transport=websocket&sid="
        sockets = [await site.raw(query + client.sid) for client in (polling, other)]
        for socket in sockets:
            closed = await socket.closed()
            assert (closed.code, closed.reset) == (None, True)
        assert site.server.stats.closed == {}
        assert await polling.post("40") == (200, "ok")
        await (await site.raw(query + other.sid)).closed()
        assert site.server.stats.closed == {"connect timeout": 1}
        assert (await polling.poll())[1].startswith('40{"sid":')


async def test_a_client_whose_websocket_hears_nothing_goes_on_polling(serve: Serve) -> None:
    """The server's frames get lost behind its probe: events come by polls at once, and polls without are not busy."""
    site = await serve(limits=Limits(stall_timeout=0.2))
    async with await site.polling() as polling:
        socket = await upgrade(site, polling)
        begun = asyncio.get_running_loop().time()
        for number in range(5):
            site.server.push(site.sids[0], "event", number)
            assert await polling.poll() == (200, f'42["event",{number}]')
            assert await polling.poll() == (200, "6")
        assert asyncio.get_running_loop().time() - begun >= 5 * 0.09
        socket.kill()
        await until(lambda: site.server.eio.sockets[polling.sid].upgrading is None)
        site.server.push(site.sids[0], "event", "after")
        assert await polling.poll() == (200, '42["event","after"]')
    assert site.told.empty()


async def test_an_upgrade_may_take_its_time_with_packets_waiting(serve: Serve) -> None:
    """The client has ended its polling and says so late: it is not a slow reader."""
    site = await serve(limits=Limits(stall_timeout=0.1))
    async with await site.polling() as polling:
        socket = await upgrade(site, polling)
        assert await polling.poll() == (200, "6")
        site.server.push(site.sids[0], "event")
        await asyncio.sleep(0.5)
        await socket.text("5")
        assert await socket.event() == ["event"]
    assert site.told.empty()


async def test_an_upgrade_without_a_probe(site: Site) -> None:
    """Elephant.io's: the packet `5` at once. Its poll ends with a noop, and nothing is lost."""
    async with await site.polling() as polling:
        poll = asyncio.create_task(polling.poll())
        await until(lambda: site.server.eio.sockets[polling.sid].polling.polled)
        socket = await site.raw(f"EIO=4&transport=websocket&sid={polling.sid}")
        await socket.text("5", '421["echo",1]')
        assert await poll == (200, "6")
        assert await socket.packet() == "431[1]"
        assert site.server.transport(site.sids[0]) == "websocket"


async def test_a_second_websocket_gets_101_and_is_closed(site: Site) -> None:
    """A refusal would be an uncaught error in the JavaScript client; the first goes on."""
    async with await site.polling() as polling:
        socket = await upgrade(site, polling)
        await socket.text("5")
        second = await site.raw(f"EIO=4&transport=websocket&sid={polling.sid}")
        assert second.status == 101
        await second.text("2probe", "5", '42["echo"]')
        await second.closed()
        await socket.text('421["echo",1]')
        assert await socket.packet() == "431[1]"
        assert site.told.get_nowait() == ("echo", 1)
        assert site.told.empty()


# heartbeat


async def test_pings_go_on_as_long_as_they_are_answered(serve: Serve) -> None:
    """And the connection stays."""
    site = await serve(ping_interval=0.1, ping_timeout=0.1)
    socket = await site.socket()
    for _ in range(4):
        assert (await socket.frame())[:2] == (1, b"2")
        await socket.text("3")
    assert site.told.empty()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_silence_ends_the_connection(serve: Serve, transport: str) -> None:
    """Within interval and timeout, on both transports."""
    site = await serve(ping_interval=0.15, ping_timeout=0.1)
    async with asyncio.timeout(PATIENCE):  # less than a server's own interval and timeout
        if transport == "websocket":
            socket = await site.socket()
            await socket.closed()
        else:
            async with await site.polling() as polling:
                assert await polling.poll() == (200, "2")
                assert (await polling.poll())[0] == 400
                assert (await polling.poll())[0] == 400
        assert await site.told.get() == ("disconnect", site.sids[0], "ping timeout")


async def test_a_pong_without_a_ping_ends_the_connection(site: Site) -> None:
    """On both transports: it is no sign of life."""
    socket = await site.socket()
    await socket.text("3")
    assert (await socket.closed()).code == 1002
    async with await site.polling() as polling:
        assert await polling.post("3") == (200, "ok")
        assert (await polling.poll())[0] == 400
    assert site.server.stats.closed == {"parse error": 2}


async def test_the_wall_clock_means_nothing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting it a year forward or back closes no connection."""
    site = await serve(ping_interval=0.1, ping_timeout=0.1)
    times = itertools.cycle([0.0, 4e9])
    monkeypatch.setattr("time.time", lambda: next(times))
    socket = await site.socket()
    for _ in range(3):
        assert (await socket.frame())[:2] == (1, b"2")
        await socket.text("3")
    assert site.told.empty()


async def test_clients_that_connect_together_are_not_pinged_together(serve: Serve) -> None:
    """The first pings of a hundred spread over time."""
    site = await serve(ping_interval=0.4, ping_timeout=5)
    sockets = [await site.socket() for _ in range(30)]
    loop, times = asyncio.get_running_loop(), []

    async def ping(socket: Socket) -> None:
        assert (await socket.frame())[:2] == (1, b"2")
        times.append(loop.time())

    await asyncio.gather(*map(ping, sockets))
    assert max(times) - min(times) > 0.05


# how many


async def test_more_connections_than_allowed_are_told_to_come_later(serve: Serve) -> None:
    """503 with Retry-After, and place again when somebody has left."""
    site = await serve(limits=Limits(max_connections=2))
    first, _second = await site.socket(), await site.socket()
    third = await site.raw()
    assert third.status == 503
    assert "Retry-After" in third.head
    first.kill()
    await site.told.get()
    await site.socket()
    assert site.server.stats.refused == {"connections": 1}


async def test_an_address_has_few_connections_that_are_not_let_in(serve: Serve) -> None:
    """Accepted connections and those of another address do not count; one that ends makes room."""
    server = Server(
        limits=Limits(max_unauthenticated_per_address=2), client_address=lambda request: request.headers["X-Address"]
    )
    site = await serve(server)
    waiting = await site.raw(X_Address="a")
    for _ in range(5):
        await site.socket(X_Address="a")
    other = await site.raw(X_Address="a")
    assert (await site.raw(X_Address="a")).status == 429
    assert (await site.raw(X_Address="b")).status == 101
    other.kill()
    await until(lambda: server.stats.unauthenticated == 2)
    assert (await site.raw(X_Address="a")).status == 101
    waiting.kill()
    assert server.stats.refused == {"unauthenticated_per_address": 1}


async def test_an_address_has_a_limited_number_of_connections(serve: Serve) -> None:
    """Those let in count as well. An IPv6 network of 64 bits is one address, and IPv4 in IPv6 is IPv4."""
    server = Server(limits=Limits(max_per_address=2), client_address=lambda request: request.headers["X-Address"])
    site = await serve(server)
    for first, second, third, other in (
        ("192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:0:1::", "2001:db8:0:1::1"),
        ("no address", "no address", "no address", ""),
    ):
        one = await site.socket(X_Address=first)
        await site.socket(X_Address=second)
        refused = await site.raw(X_Address=third)
        assert refused.status == 429
        assert "Retry-After" in refused.head
        await site.socket(X_Address=other or "none")
        one.kill()
        await site.told.get()
        await site.socket(X_Address=third)
    assert server.stats.refused == {"connections_per_address": 3}


async def test_many_who_come_at_once_keep_to_the_limit(serve: Serve) -> None:
    """A connection is counted when it is looked at, not later: of many of one address no more than the limit get in."""
    server = Server(limits=Limits(max_per_address=5, max_unauthenticated_per_address=0))
    site = await serve(server)
    sockets = await asyncio.gather(*(site.raw() for _ in range(30)))
    assert sorted(socket.status for socket in sockets) == [101] * 5 + [429] * 25
    assert server.stats.connections == 5


async def test_who_never_connects_to_a_namespace_is_closed(serve: Serve) -> None:
    """It is closed within the connect timeout, on both transports; so is a client that leaves its last namespace."""
    site = await serve(limits=QUICK)
    silent, stays, leaves = await site.raw(), await site.socket(), await site.socket()
    await leaves.text("41")
    async with await site.polling(connect=False) as polling:
        await silent.closed()
        await leaves.closed()
        await until(lambda: polling.sid not in site.server.eio.sockets)
    await stays.text('421["echo",1]')
    assert await stays.packet() == "431[1]"
    assert site.server.stats.closed == {"connect timeout": 3}


REFUSED = [
    ("EIO=4&transport=polling&sid=" + "x" * 20, {}, "session_elsewhere", True),
    ("EIO=4&transport=websocket", {"Upgrade": "", "Connection": "close"}, "upgrade_headers_missing", True),
    ("EIO=3&transport=polling", {}, "protocol_version", True),
    ("EIO=4&transport=pigeon", {}, "transport_unknown", False),
    ("EIO=4&transport=polling", {"Origin": "https://elsewhere.example"}, "origin", False),
    ("EIO=4&transport=polling", {}, "connections", True),
]


@pytest.mark.parametrize(("query", "headers", "reason", "logged"), REFUSED, ids=[one[2] for one in REFUSED])
async def test_a_refusal_names_its_reason(
    serve: Serve, caplog: pytest.LogCaptureFixture, query: str, headers: dict[str, str], reason: str, logged: bool
) -> None:
    """In the answer, in the counters, and, where an operator can do something, once in the log with what to do."""
    site = await serve(limits=Limits(max_connections=1))
    socket = await site.socket()
    for _ in range(3):
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{site.url}/socket.io/?{query}", headers=headers) as response,
        ):
            assert response.status >= 400
            assert (await response.json())["reason"] == reason
    assert site.server.stats.refused == {reason: 3}
    lines = [record for record in caplog.records if record.getMessage() == "client_refused"]
    assert len(lines) == logged
    assert not lines or (lines[0].reason == reason and lines[0].hint)  # type: ignore[attr-defined]
    socket.kill()


async def test_a_session_that_has_ended_is_no_other_servers(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """An ended session is refused without a hint about the proxy."""
    async with await site.polling() as polling:
        site.server.close(site.sids[0], "enough")
        status, text = await polling.poll()
        assert (status, text) == (400, '{"code":1,"message":"Session ID unknown"}')
    assert caplog.records == []


async def test_a_post_with_a_content_encoding_is_refused_unread(site: Site) -> None:
    """The body is not decompressed."""
    async with await site.polling() as polling:
        status, text = await polling.post(b"\x1f\x8b nothing", headers={"Content-Encoding": "gzip"})
        assert (status, json.loads(text)["reason"]) == (415, "encoded")


async def test_one_address_fills_no_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Twenty malformed packets, one line."""
    for _ in range(20):
        socket = await site.socket()
        await socket.text("4x")
        await socket.closed()
    assert site.server.stats.malformed == 20
    assert len(caplog.records) <= 2


def test_limits_are_positive() -> None:
    """A limit that is not is told by name."""
    for bad in ({"max_packet": 0}, {"stall_timeout": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Limits(**bad)  # type: ignore[arg-type]
    assert Limits(max_connections=0).max_connections == 0
