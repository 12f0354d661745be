"""How much work a client can cause, counted in parsed frames, decompressed bytes and packets."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from app.engine import Limits, frames, packets, websocket

from .client import Socket, close_body, deflate, frame
from .conftest import Serve, Site

FOUR_MB = 4_000_000


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Frames unmasked, bytes inflated, Socket.IO packets decoded, pongs framed."""
    counted: Counter[str] = Counter()

    def count(module: Any, name: str, size: Callable[[Any], int] = lambda _: 1) -> None:
        function = getattr(module, name)

        def counting(*args: Any) -> Any:
            counted[name] += 0
            result = function(*args)
            counted[name] += size(result)
            return result

        monkeypatch.setattr(module, name, counting)

    count(frames, "unmask")
    count(websocket, "inflate", len)
    count(packets, "decode")
    return counted


async def say(site: Site, data: bytes, *, let_in: bool, **headers: str) -> Socket:
    """A WebSocket that sends everything at once and reads until the server closes."""
    socket = await (site.socket if let_in else site.raw)(**headers)
    try:
        socket.send(data)
        await socket.writer.drain()
    except ConnectionError:
        pass  # the server has had enough
    return socket


LET_IN = pytest.mark.parametrize("let_in", [False, True])


@LET_IN
@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(frame(b"", 9), id="pings"),
        pytest.param(frame(b"x" * 125, 9), id="full pings"),
        pytest.param(frame(b"", 10), id="pongs"),
        pytest.param(frame(b"4", 1, fin=False) + frame(b"", 0, fin=False) * 1_000_000, id="empty fragments"),
        pytest.param(frame(b"3"), id="Engine.IO pongs"),
        pytest.param(frame(b""), id="empty messages"),
        pytest.param(frame(b"4"), id="empty packets"),
        pytest.param(frame(b"42[0]"), id="events that are none"),
        pytest.param(frame(b'42["echo"]'), id="events"),
        pytest.param(frame(b"439[]"), id="acknowledgements"),
        pytest.param(frame(close_body(1000), 8), id="close frames"),
    ],
)
async def test_four_megabytes_of_frames_cost_little(site: Site, work: Counter[str], piece: bytes, let_in: bool) -> None:
    """The client is closed when its rate limit is exceeded, and the rest is not parsed."""
    socket = await say(site, piece * (FOUR_MB // len(piece) + 1), let_in=let_in)
    await socket.closed()
    assert sum(site.server.stats.closed.values()) == 1
    assert work["unmask"] <= 1_100
    assert work["decode"] <= 100


@LET_IN
@pytest.mark.parametrize("event", [b'42["echo",1,"%s"]' % (b"x" * 65_000), b"4x" + b"x" * 65_000])
async def test_deflated_packets_are_not_inflated_behind_a_close(
    site: Site, work: Counter[str], event: bytes, let_in: bool
) -> None:
    """A few kilobytes that would be hundreds of megabytes: no more is decompressed than the client may send."""
    piece = frame(deflate(event), rsv=4)
    socket = await say(
        site, piece * (FOUR_MB // len(piece)), let_in=let_in, Sec_WebSocket_Extensions="permessage-deflate"
    )
    await socket.closed()
    assert sum(site.server.stats.closed.values()) == 1
    allowed = 81 if let_in else 5
    assert 0 < work["inflate"] <= allowed * 65_536


async def test_nothing_is_parsed_behind_a_close_of_our_own(site: Site, work: Counter[str]) -> None:
    """After a close by the user, data from the client is discarded."""
    socket = await site.socket()
    before = work["unmask"]
    site.server.close(site.sids[0], "enough")
    socket.send(frame(b'42["echo",1]') * 1_000 + frame(b"x" * 10, 9) * 1_000)
    await socket.closed()
    assert work["unmask"] == before
    assert await site.told.get() == ("disconnect", site.sids[0], "enough")
    assert site.told.empty()


async def test_packets_behind_a_close_in_a_post_do_not_count(site: Site, work: Counter[str]) -> None:
    """Of thirty thousand packets in one body, only those up to the first malformed one are parsed."""
    async with await site.polling() as polling:
        before = work["decode"]
        assert await polling.post("\x1e".join(['42["echo"]', "4x"] + ['42["echo"]'] * 5_000)) == (200, "ok")
        assert work["decode"] <= before + 2
        assert (await polling.poll())[0] == 400


async def test_a_client_that_is_not_let_in_may_not_send_much(serve: Serve, work: Counter[str]) -> None:
    """Large packets for a namespace that the client has not joined are parsed only a few times."""
    site = await serve(limits=Limits(max_waiting_event_bytes=100_000))
    event = '42["echo",' + "[" + ",".join(["[]"] * 10_000) + "]]"
    socket = await site.raw()
    await socket.text(*[event] * 20)
    await socket.closed()
    assert site.server.stats.closed == {"rate limited": 1}
    assert work["decode"] <= 100_000 // len(event)


async def test_large_packets_count_for_several(serve: Serve, work: Counter[str]) -> None:
    """The cost of a packet grows with its size, so a client may send fewer large ones."""
    site = await serve(limits=Limits(event_rate=0.01))  # a slow machine must not earn the client more
    event = '42["echo",[' + ",".join(["[]"] * 20_000) + "]]"
    socket = await site.socket()
    before = work["decode"]
    await socket.text(*[event] * 60)
    await socket.closed()
    assert site.server.stats.closed == {"rate limited": 1}
    assert work["decode"] - before <= 80 // (len(event) // 8_192) + 1


async def test_an_honest_client_may_ping_and_fragment(site: Site) -> None:
    """A hundred pings, and a packet in a thousand fragments with pings between them."""
    socket = await site.socket()
    socket.send(frame(b"ping", 9) * 50)
    payload = b"42" + json.dumps(["echo", "x" * 12_000]).encode()
    parts = [payload[at : at + 64] for at in range(0, len(payload), 64)]
    for number, part in enumerate(parts):
        socket.send(frame(part, 0 if number else 1, fin=number == len(parts) - 1))
        if number % 16 == 0:
            socket.send(frame(b"ping", 9))
    assert await site.told.get() == ("echo", "x" * 12_000)
    assert site.told.empty()
