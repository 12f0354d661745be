"""Near-valid packets and frames against the running server, which must survive without leaks.

The short form runs always; ENGINE_FUZZ=10000 sets how many. The seed is printed; ENGINE_FUZZ_SEED repeats a run.
"""

import asyncio
import gc
import itertools
import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from app.engine import Limits, packets

from .client import Closed, close_body, deflate, frame
from .conftest import Serve, Site, until

COUNT = int(os.environ.get("ENGINE_FUZZ", "400"))
SEED = int(os.environ.get("ENGINE_FUZZ_SEED", random.randrange(2**32)))

names = st.one_of(
    st.sampled_from(
        ["echo", "connect", "disconnect", "connect_error", "*", "trigger_event", "", "on_echo", "__class__"]
    ),
    st.text(max_size=8),
)
json_texts = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=8),
        st.sampled_from([{"_placeholder": True, "num": 0}, {"_placeholder": True, "num": 99}, {"_placeholder": 1}]),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
).map(lambda value: packets.dumps(value).decode(errors="replace"))  # fmt: skip
events = st.tuples(names, st.lists(json_texts, max_size=3)).map(
    lambda e: "[" + ",".join([packets.dumps(e[0]).decode(), *e[1]]) + "]"
)
packet_texts = st.tuples(
    st.sampled_from(["4", "4", "4", "4", "4", "4", "4", "3", "2", "1", "0", "5", "6", "7", "", "b", "2probe"]),
    st.sampled_from(["2", "2", "2", "0", "1", "3", "4", "5", "6", "7", "", "-"]),
    st.sampled_from(["", "", "", "0-", "1-", "2-", "11-", "4294967295-", "-", "1.5-"]),
    st.sampled_from(["", "", "", "/,", "/custom,", "/custom", "/,/,", "/" + "x" * 300 + ","]),
    st.sampled_from(["", "", "1", "0", "007", "9" * 16, "-1", "a"]),
    st.one_of(events, json_texts, st.just(""), st.just("[" * 50 + "]" * 50), st.text(max_size=10)),
).map("".join)
attachments = st.binary(max_size=20)
conversations = st.lists(st.one_of(packet_texts, packet_texts, packet_texts, attachments), min_size=1, max_size=10)

frames = st.one_of(
    st.builds(
        frame,
        st.one_of(
            packet_texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
            st.binary(max_size=140),
            st.sampled_from([b"", b"\xff", close_body(1000), close_body(1005), b"\x03", deflate(b'42["echo"]')]),
        ),
        st.sampled_from([1, 1, 1, 1, 2, 0, 8, 9, 10, 3, 15]),
        fin=st.sampled_from([True, True, True, False]),
        rsv=st.sampled_from([0, 0, 0, 0, 4, 1]),
        mask=st.sampled_from([b"abcd", b"abcd", b"abcd", b"abcd", None]),
    ),
    st.binary(max_size=20),
)
streams = st.tuples(
    st.lists(frames, min_size=1, max_size=10).map(b"".join), st.lists(st.integers(0, 2**16), max_size=6)
)


async def ready(serve: Serve) -> Site:
    site = await serve(limits=Limits(event_burst=10_000, close_timeout=0.2))

    async def custom(sid: str, handshake: Any, auth: Any) -> None:
        pass

    site.server.on("connect", custom, namespace="/custom")
    for name in packets.RESERVED - {"connect", "disconnect"}:
        site.server.on(name, lambda sid, *args: pytest.fail("a reserved name ran"))
    return site


async def finish(site: Site) -> None:
    """Check that it still serves, and that nothing is left over."""
    socket = await site.socket()
    assert await socket.ask("echo", "alive") == ["alive"]
    socket.kill()
    eio = site.server.eio
    await until(lambda: not eio.sockets and not site.server.manager.clients and not eio.tasks)
    await until(lambda: not eio.connections.watched)
    assert site.server.manager.rooms == {}
    assert site.server.stats.connections == site.server.stats.unauthenticated == site.server.stats.congested == 0
    assert site.server.stats.handler_errors == site.server.stats.failures == 0
    ran = [site.told.get_nowait() for _ in range(site.told.qsize())]
    ended = [told[1] for told in ran if told[0] == "disconnect"]
    assert sorted(ended) == sorted(site.sids), "each that was let in was let go, once"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def examples(strategy: Any, count: int) -> list[Any]:
    """A number of examples from the printed seed."""
    print("seed", SEED)
    got: list[Any] = []

    @seed(SEED)
    @settings(max_examples=count, database=None, phases=[Phase.generate], deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(strategy)
    def collect(example: Any) -> None:
        got.append(example)

    collect()
    return got


async def talk(site: Site, data: list[bytes]) -> None:
    """Send everything on an accepted connection, and read until it ends or is silent."""
    try:
        socket = await site.socket()
    except Closed:
        return
    try:
        for piece in data:
            socket.send(piece)
            await asyncio.sleep(0)
        socket.send(frame(close_body(1000), 8))
        socket.writer.write_eof()  # what came before may have swallowed the close frame
        await socket.closed()
    except OSError:
        pass
    finally:
        socket.kill()


async def all_of(site: Site, many: list[list[bytes]]) -> None:
    todo = iter(many)

    async def worker() -> None:
        for data in todo:
            await talk(site, data)
            site.sockets.clear()

    await asyncio.gather(*[worker() for _ in range(20)])


async def test_near_valid_packets_do_no_harm(serve: Serve) -> None:
    """Types, counts, namespaces, ids, JSON, names and attachments, almost right."""
    site, before = await ready(serve), descriptors()
    conversation: list[list[bytes]] = [
        [frame(p.encode("utf-8", "surrogatepass")) if isinstance(p, str) else frame(p, 2) for p in example]
        for example in examples(conversations, COUNT)
    ]
    await all_of(site, conversation)
    await finish(site)
    gc.collect()
    await until(lambda: descriptors() <= before)


async def test_near_valid_frames_split_anywhere_do_no_harm(serve: Serve) -> None:
    """Opcodes, bits, masks, lengths and close bodies, almost right, in pieces."""
    site, before = await ready(serve), descriptors()
    pieces = []
    for data, cuts in examples(streams, COUNT):
        at = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
        pieces.append([data[a:b] for a, b in itertools.pairwise(at)])
    await all_of(site, pieces)
    await finish(site)
    gc.collect()
    await until(lambda: descriptors() <= before)
