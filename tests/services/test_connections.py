"""Accepting connections, and their number per person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.engine.reasons import REASONS
from app.errors import AppError
from app.services.closing import INTENDED, REPLACED
from tests.services.server import Server

LIMIT = 3


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server(max_per_sub=LIMIT)
    server.log.add(10)
    yield server
    await server.close()


async def gone(server: Server, sid: str) -> str:
    """An ended connection with a subscription that may be recovered. Returns its pid."""
    await server.connect(sid, recover=True)
    await server.come_back(sid, 10)
    await server.all_live()
    pid = server.connections.get(sid).pid
    assert pid is not None
    server.connections.disconnect(sid, "transport close")
    return pid


async def test_many_who_return_at_once_keep_to_the_limit(server: Server) -> None:
    """While all of them wait for the database, no more than the limit are let in; the others are refused at once."""
    pids = [await gone(server, f"old{n}") for n in range(4 * LIMIT)]
    server.log.answers.clear()
    back = [asyncio.create_task(server.connect(f"new{n}", recover=True, pid=pid)) for n, pid in enumerate(pids)]
    done, waiting = await asyncio.wait(back, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(waiting)) == (3 * LIMIT, LIMIT)
    server.log.answers.set()
    results = await asyncio.gather(*back, return_exceptions=True)
    refused = [result for result in results if isinstance(result, AppError)]
    assert {error.code for error in refused} == {"too_many_connections"}
    assert [result for result in results if result is None] == [None] * LIMIT
    assert len(server.connections.sids) == LIMIT
    for sid in server.connections.sids:
        server.connections.disconnect(sid, "client disconnect")
    for n in range(LIMIT):
        await server.connect(f"again{n}")  # nothing is counted that has gone


async def test_who_is_not_let_in_after_all_is_not_counted(server: Server) -> None:
    """A connection that ends while it waits to be recovered makes room for another."""
    for n in range(LIMIT - 1):
        await server.connect(f"c{n}")
    pid = await gone(server, "old")
    server.log.answers.clear()
    back = asyncio.create_task(server.connect("new", recover=True, pid=pid))
    await asyncio.sleep(0)
    with pytest.raises(AppError, match="too_many_connections"):
        await server.connect("other")
    back.cancel()
    await asyncio.gather(back, return_exceptions=True)
    assert back.cancelled()
    await server.connect("other")


async def test_a_client_takes_the_place_of_its_old_connection(server: Server) -> None:
    """A client that reconnects before its end was noticed is accepted, even at the person's limit."""
    for n in range(LIMIT):
        await server.connect(f"c{n}", recover=True)
    await server.connect("back", recover=True, pid=server.connections.get("c0").pid)
    assert sorted(server.connections.sids) == ["back", "c1", "c2"]
    assert server.sender.closed == {"c0": REPLACED}
    with pytest.raises(AppError, match="too_many_connections"):
        await server.connect("more", recover=True, pid="of nobody")


async def test_nothing_is_kept_of_who_wanted_to_go(server: Server) -> None:
    """A connection that its client, or this server, has ended on purpose cannot be recovered."""
    assert {reason.text for reason in REASONS.values() if not reason.returns} == INTENDED
    for reason in INTENDED:
        await server.connect(reason, recover=True)
        server.connections.disconnect(reason, reason)
    assert server.recovery.kept == []
