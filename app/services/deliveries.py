"""Delivers the messages of agents.

- A server that stores a message and can deliver it starts at once: the transaction gives it the lease. Otherwise the
  delivery is due, and servers that can make it (those with a bot of the session) are notified by the change stream.
- A timer runs when the next delivery is due. Every SWEEP_SECONDS, each server also looks for due deliveries in the
  sessions it can deliver for: those left by a dead server, and those it was not notified of.
- An attempt starts within START_SECONDS of its lease or not at all, so that it ends before the lease does.
- The report of an attempt is repeated until it is stored, or the server stops.
- The number of concurrent attempts is limited per session and in total, so that no session waits for another's slow
  provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
import secrets
from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from app.domain.deliveries import HOLD_SECONDS, LEASE, NOT_CONNECTED, UNTAKEN, Delivery, Report
from app.domain.events import now
from app.domain.known import Outcome
from app.domain.models import Message
from app.domain.reports import ReleaseCopies, ReportDelivery
from app.errors import AppError, Unavailable
from app.metrics import Metrics
from app.providers.outgoing import Order, Quoted
from app.providers.refusals import CODES
from app.services.background import surviving
from app.services.bots import Bots
from app.services.ingest import Ingest
from app.session_settings import Sessions
from app.storage import deliveries as stored
from app.storage.mongo import Store

log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 10.0
START_SECONDS: Final = 10.0
MAX_UNDER_WAY: Final = 1_000
MAX_OF_SESSION: Final = 100
AT_ONCE: Final = 100
"""Maximum number of deliveries taken at once."""
FULL_SECONDS: Final = 1.0
"""Delay before looking again when there was no room for more attempts."""
MAX_TIMES: Final = 10_000
"""Maximum number of due times that are remembered; the sweep finds the others."""
REPORT_SECONDS: Final = 1.0
"""Delay before storing a report is tried again."""


class Way(Protocol):
    """A way of sending, implemented by `app.services.bots.Bots` and `app.http.outgoing.Outgoing`."""

    @property
    def sessions(self) -> Collection[str]:
        """The sessions that can be delivered for now."""

    async def deliver(self, order: Order) -> Report: ...

    def broken(self, session_id: str) -> Report:
        """What an attempt means that was broken off."""


class Deliveries:
    def __init__(
        self, store: Store, ingest: Ingest, sessions: Sessions, bots: Bots, outgoing: Way, metrics: Metrics
    ) -> None:
        self._store, self._ingest, self._sessions, self._metrics = store, ingest, sessions, metrics
        self._bots, self._outgoing = bots, outgoing
        self._holder: Final = secrets.token_urlsafe(6)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: set[tuple[str, int]] = set()
        self._of_session: Counter[str] = Counter()
        self._paced: dict[str, float] = {}
        """For sessions with a rate limit: when the next message may be sent, in the loop's time."""
        self._soon: set[str] = set()
        """Sessions in which to look for due deliveries now."""
        self._later: list[tuple[float, str]] = []
        """A heap of times (in the loop's time) and sessions with a delivery due then."""
        self._holding: dict[str, asyncio.TimerHandle] = {}
        self._news = asyncio.Event()
        self._closed = False

    def holder(self, session_id: str) -> str | None:
        """The holder's name for a delivery of the session that may start here now, or None."""
        room = len(self._tasks) < MAX_UNDER_WAY and self._of_session[session_id] < MAX_OF_SESSION
        paced = self._sessions.of(session_id).send.rate is not None
        able = not self._closed and room and not paced and session_id in self._way(session_id).sessions
        return self._holder if able else None

    def committed(self, outcome: Outcome) -> None:
        """An outcome with deliveries was committed: start ours, and remember when others are due."""
        for one in outcome.deliveries.values():
            self._count(one)
            if one.state == "sending" and one.lease is not None and one.lease.holder == self._holder:
                self._begin(one, outcome.new_messages.get((one.chat_id, one.message_id)))
            elif one.state == "waiting" and one.next_at is not None:
                self.look(one.session_id, one.next_at)
            if one.held and one.id not in self._holding and not self._closed:
                loop = asyncio.get_running_loop()
                self._holding[one.id] = loop.call_later(HOLD_SECONDS, self._release, one)

    def look(self, session_id: str, at: datetime | None = None) -> None:
        """Look for due deliveries of the session, now or at a later time."""
        seconds = (at - now()).total_seconds() if at is not None else 0.0
        if seconds <= 0:
            self._soon.add(session_id)
        else:
            self._look_in(session_id, seconds)
        self._news.set()

    def _look_in(self, session_id: str, seconds: float) -> None:
        if len(self._later) < MAX_TIMES:
            heapq.heappush(self._later, (asyncio.get_running_loop().time() + seconds, session_id))

    async def run(self) -> None:
        """Take due deliveries, forever."""
        loop = asyncio.get_running_loop()
        swept = loop.time() - SWEEP_SECONDS
        while True:
            next_at = min([swept + SWEEP_SECONDS, *(at for at, _ in self._later[:1])])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_at - loop.time())):
                    await self._news.wait()
            self._news.clear()
            while self._later and self._later[0][0] <= loop.time():
                self._soon.add(heapq.heappop(self._later)[1])
            with surviving("deliveries_not_taken"):
                if loop.time() >= swept + SWEEP_SECONDS:
                    swept = loop.time()
                    await self._sweep()
                await self._take_due()

    async def close(self, seconds: float) -> None:
        """Start nothing more, and wait for current attempts. Those that last longer are broken off."""
        self._closed = True
        for timer in self._holding.values():
            timer.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for _ in range(2 if late else 0):  # first the attempt, and then its report
                for task in late:
                    task.cancel()
                await asyncio.wait(late, timeout=REPORT_SECONDS)

    # taking

    async def _sweep(self) -> None:
        self._metrics.deliveries_due.set(await self._store.ask(stored.count_due, now()))
        for one in await self._store.ask(stored.untaken, now() - UNTAKEN, AT_ONCE):
            await self._ingest.apply(one.session_id, ReportDelivery(one, Report("failed", error=NOT_CONNECTED)))
        for session_id in {*self._bots.sessions, *self._outgoing.sessions}:
            self.look(session_id)

    async def _take_due(self) -> None:
        ready, self._soon = self._soon, set()
        several = []
        for session_id in ready:
            if self._closed or session_id not in self._way(session_id).sessions:
                continue
            if self._sessions.of(session_id).send.rate is not None:
                await self._take_paced(session_id)
            elif self._of_session[session_id] < MAX_OF_SESSION:
                several.append(session_id)
        while several and (room := min(AT_ONCE, MAX_UNDER_WAY - len(self._tasks))) > 0:
            taken = await self._take(several, room)
            if len(taken) < room:
                return
        for session_id in several:  # there is no room
            self._look_in(session_id, FULL_SECONDS)

    async def _take_paced(self, session_id: str) -> None:
        """Take the next message of a session with a rate limit if its time has come, and schedule the one after it."""
        loop = asyncio.get_running_loop()
        rate = self._sessions.of(session_id).send.rate or 1.0
        at = self._paced.get(session_id, 0.0)
        if at <= loop.time():
            # If the loop is slower than the rate, messages that have become possible meanwhile are sent at once.
            room = max(1, min(AT_ONCE, int((loop.time() - at) * rate))) if at else 1
            room = min(room, max(1, int(rate)), MAX_OF_SESSION - self._of_session[session_id])
            taken = await self._take([session_id], room) if room > 0 else []
            if not taken:
                return
            at = self._paced[session_id] = loop.time() + len(taken) / rate
        self._look_in(session_id, at - loop.time())

    async def _take(self, session_ids: Collection[str], room: int) -> list[Delivery]:
        taken, abandoned = await self._store.ask(stored.take_due, session_ids, now(), self._holder, room)
        messages = await self._store.ask(stored.messages_of, taken) if taken else {}
        for one in taken:
            if one.held and one.id in abandoned:
                # Its holder is dead. A copy that came since shows whether it was sent.
                await self._ingest.apply(one.session_id, ReleaseCopies(one, again=True))
            else:
                self._begin(one, messages.get(one.id))
        return taken

    # attempts

    def _begin(self, delivery: Delivery, message: Message | None) -> None:
        key = delivery.id, delivery.attempt
        if key in self._running:
            return
        self._running.add(key)
        self._of_session[delivery.session_id] += 1
        self._metrics.deliveries_under_way.inc()
        task = asyncio.create_task(self._attempt(delivery, message))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._end(task, delivery))

    def _end(self, task: asyncio.Task[None], delivery: Delivery) -> None:
        self._tasks.discard(task)
        self._running.discard((delivery.id, delivery.attempt))
        self._metrics.deliveries_under_way.dec()
        self._of_session[delivery.session_id] -= 1
        if self._of_session[delivery.session_id] <= 0:
            del self._of_session[delivery.session_id]
        elif self._of_session[delivery.session_id] == MAX_OF_SESSION - 1 and not self._closed:
            self.look(delivery.session_id)  # there is room again

    async def _attempt(self, delivery: Delivery, message: Message | None) -> None:
        way = self._way(delivery.session_id)
        try:
            if message is None:
                message = (await self._store.ask(stored.messages_of, [delivery]))[delivery.id]
            order = await self._order(delivery, message)
            assert delivery.lease is not None, "it has started"
            if now() > delivery.lease.until - LEASE + timedelta(seconds=START_SECONDS):
                return  # too late to end in time: it is due again when the lease is over
            report = await way.deliver(order)
        except Unavailable:
            return  # nothing was sent; it is due again when the lease is over
        except asyncio.CancelledError:  # the server is stopping
            report = way.broken(delivery.session_id)
        except Exception:
            log.exception("delivery_failed", session_id=delivery.session_id, delivery_id=delivery.id)
            report = way.broken(delivery.session_id)
        await self._report(delivery, report)

    async def _order(self, delivery: Delivery, message: Message) -> Order:
        quoted = None
        if message.reply_to is not None:
            place = message.session_id, message.reply_to.message_id, message.chat_id
            original = await self._store.ask(stored.message_of, *place)
            if original is not None:
                name = original.provider_ids[-1] if original.provider_ids else original.message_id
                quoted = Quoted(name, original.sender.id, original.from_me)
        number = self._sessions.of(delivery.session_id).source.phone_number_id
        return Order(delivery.id, message, quoted, number)

    async def _report(self, delivery: Delivery, report: Report) -> None:
        if report.state != "sent":
            log.info(
                "not_delivered",
                session_id=delivery.session_id,
                delivery_id=delivery.id,
                attempt=delivery.attempt,
                outcome=report.state,
                reason=report.error.code if report.error else None,
            )
        while True:
            command = ReportDelivery(delivery, report, random.random(), self.holder(delivery.session_id))  # noqa: S311
            try:
                await self._ingest.apply(delivery.session_id, command)
                return
            except AppError as error:
                log.warning("delivery_not_reported", session_id=delivery.session_id, error=error.detail)
            if self._closed:
                return  # it is due again when the lease is over
            await asyncio.sleep(REPORT_SECONDS)

    def _count(self, delivery: Delivery) -> None:
        if delivery.state == "sent":
            self._metrics.taken(now() - delivery.created_at)
        elif delivery.state in ("failed", "unknown") and delivery.error is not None:
            code = delivery.error.code
            self._metrics.deliveries_failed.labels(code if code in CODES else "other").inc()

    def _release(self, delivery: Delivery) -> None:
        """Release the copies that have waited long enough for this delivery."""
        self._holding.pop(delivery.id, None)
        if not self._closed:
            task = asyncio.create_task(self._release_now(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _release_now(self, delivery: Delivery) -> None:
        with surviving("copies_not_released"):  # done by the server that takes the delivery when its lease expires
            await self._ingest.apply(delivery.session_id, ReleaseCopies(delivery))

    def _way(self, session_id: str) -> Way:
        return self._bots if self._sessions.of(session_id).send.via == "bot" else self._outgoing
