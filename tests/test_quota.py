"""Quota: work is spread over turns of the event loop."""

from __future__ import annotations

import asyncio
from collections import Counter

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from app.errors import AppError
from app.http.problems import REFUSALS_IN_A_TURN, middleware
from app.metrics import Metrics
from app.quota import Quota


class Turn:
    """Counts the turns of the loop, from now on."""

    def __init__(self) -> None:
        self.number = 0
        self._go_on()

    def _go_on(self) -> None:
        self.number += 1
        self._handle = asyncio.get_running_loop().call_soon(self._go_on)

    def stop(self) -> None:
        self._handle.cancel()


async def test_a_turn_has_no_more_than_its_share() -> None:
    """Whatever is asked for at once: in order, and no more than the limit in a turn, but for the last one's excess."""
    quota, turn, order = Quota(10), Turn(), []
    done: Counter[int] = Counter()

    async def work(number: int) -> None:
        await quota.take(4)
        order.append(number)
        done[turn.number] += 4

    await asyncio.gather(*(work(number) for number in range(20)))
    turn.stop()
    assert order == list(range(20))
    assert max(done.values()) <= 12
    assert len(done) >= 7


async def test_who_has_gone_takes_nothing() -> None:
    """A share that nobody waits for any more goes to the next one."""
    quota = Quota(1)
    await quota.take()
    tasks = [asyncio.create_task(quota.take()) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [task.cancelled() for task in tasks] == [False, True, False]


async def test_refused_requests_do_not_fill_a_turn() -> None:
    """A thousand refusals at once are answered a few in each turn; a good request among them does not wait."""
    answer, turn = middleware(Metrics()), Turn()
    answered: Counter[int] = Counter()
    request = make_mocked_request("GET", "/nowhere")
    before: list[int] = []

    async def refused(request: web.Request) -> web.StreamResponse:
        raise AppError("unauthorized", "A token is required.") if len(answered) % 2 else web.HTTPNotFound

    async def good(request: web.Request) -> web.StreamResponse:
        return web.Response()

    async def refuse() -> None:
        assert (await answer(request, refused)).status in (401, 404)
        answered[turn.number] += 1

    async def serve() -> None:
        assert (await answer(request, good)).status == 200
        before.append(answered.total())

    await asyncio.gather(*(refuse() for _ in range(1_000)), serve())
    turn.stop()
    assert answered.total() == 1_000
    assert max(answered.values()) <= REFUSALS_IN_A_TURN
    assert before[0] <= REFUSALS_IN_A_TURN
