"""Writes commands: every change of a session is a command, and commands are written in groups.

- The queues of all sessions together are limited in number and bytes. If there is no room, a command is refused at
  once.
- TOGETHER groups of several sessions are written at a time, each in one transaction, so that a slow commit does not
  stop all sessions. While they are written, the next group collects (without a timer). Commands that may take long, and
  sessions with conflicts, have ALONE transactions of their own.
- A group that fails is halved, so that one command or session does not fail the others.
- Sessions that another process writes too are retried with jitter until the deadline. After that, and if the database
  does not answer, the senders are told to repeat.
- Accepted commands are answered only after the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import structlog

from app.domain.known import Command, Outcome, Refusal, Result
from app.domain.models import MessageResult, UpdateResult
from app.errors import AppError, Unavailable
from app.metrics import Metrics
from app.services.edges import Edges
from app.services.queues import Group, Queues, Waiting
from app.storage import repeats
from app.storage.group import Conflict
from app.storage.mongo import PARALLEL_WRITES, Store

log = structlog.get_logger(__name__)

TOGETHER = 2
ALONE = PARALLEL_WRITES - TOGETHER
FOLLOW_UP_SECONDS = 5.0
"""Delay before follow-up commands are tried again."""
END_SECONDS = 1.0
"""How long closing the writer may take."""
STOPPED = "The server stopped before this was stored. Send it again."
ABANDONED_AFTER_SECONDS = 0.5
"""A conflict that lasts longer is not with a working writer but with a killed one: see Store.end_abandoned."""
BUSY = "The database is busy. Try again."


class Stored(NamedTuple):
    """The results of a body's messages and updates, each in order."""

    messages: list[MessageResult]
    updates: list[UpdateResult]


class Ingest:
    def __init__(
        self,
        store: Store,
        edges: Edges,
        metrics: Metrics,
        *,
        max_commands: int,
        max_bytes: int,
        deadline: float,
    ) -> None:
        self._store, self._edges, self._metrics = store, edges, metrics
        self._max_commands, self._max_bytes, self._deadline = max_commands, max_bytes, deadline
        self._writer = store.writer()
        self._queues = Queues(self._start_soon)
        self._starting: asyncio.Handle | None = None
        self._together: set[asyncio.Task[None]] = set()
        self._alone: set[asyncio.Task[None]] = set()
        self._commands = 0
        self._bytes = 0
        self._nothing_waits = asyncio.Event()
        self._nothing_waits.set()
        self._looked_for_abandoned = 0.0
        self.on_commit: list[Callable[[str, Outcome], None]] = []
        """Called with a session and each of its outcomes after the commit. They must not raise."""
        self._closed = False
        """Nothing more is accepted."""
        self._given_up = False
        """Nothing more is written."""

    async def store(self, session_id: str, commands: Sequence[Command]) -> Stored:
        """Apply the commands. Returns the results in order. Raises Unavailable if they should all be repeated."""
        stored = Stored([], [])
        for part in await self._submit(session_id, commands):
            for one in part if isinstance(part, list) else ():
                if isinstance(one, MessageResult):
                    stored.messages.append(one)
                else:
                    stored.updates.append(one)
        return stored

    async def repeated(self, session_id: str, commands: Sequence[Command]) -> Stored | None:
        """The results of the commands if they only repeat what is stored, otherwise None. Raises Unavailable."""
        found = await self._store.ask(repeats.find, session_id, commands)
        return None if found is None else Stored(found, [])

    async def apply(self, session_id: str, command: Command) -> Result:
        """Apply one command and return its result. Raises AppError if it is refused, and Unavailable."""
        (result,) = await self._submit(session_id, [command])
        if isinstance(result, Refusal):
            raise AppError(result.code, result.detail, details=result.details)
        return result

    async def close(self, seconds: float) -> None:
        """Accept nothing more, and write what was accepted. What is not written within `seconds` is answered 503."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._nothing_waits.wait(), seconds)
        self._given_up = True
        if late := self._together | self._alone:
            for task in late:
                task.cancel()
            await asyncio.wait(late)
        self._finish(self._queues.clear(), Unavailable(STOPPED))
        with contextlib.suppress(TimeoutError):  # they expire in the database by themselves
            await asyncio.wait_for(self._writer.close(), END_SECONDS)

    async def _submit(self, session_id: str, commands: Sequence[Command]) -> list[Result]:
        if not commands:
            return []
        size = sum(command.size for command in commands)
        if self._closed:
            raise Unavailable("The server is stopping. Try again.")
        if self._commands + len(commands) > self._max_commands or self._bytes + size > self._max_bytes:
            self._metrics.refused.labels("queue_full").inc()
            raise Unavailable("The queue is full. Try again.")
        waiting = self._put(session_id, commands)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if not isinstance(result, BaseException)]

    def _put(self, session_id: str, commands: Sequence[Command]) -> list[asyncio.Future[Result]]:
        loop = asyncio.get_running_loop()
        waiting = [Waiting(command, loop.create_future(), time.monotonic()) for command in commands]
        self._count(len(waiting), sum(command.size for command in commands))
        self._queues.put(session_id, waiting)
        return [one.result for one in waiting]

    def _follow_up(self, session_id: str, command: Command) -> None:
        """Append follow-up commands to the session's queue, with retries. Nobody waits for them."""

        def done(result: asyncio.Future[Result]) -> None:
            if not result.cancelled() and result.exception() is not None and not self._closed:
                result.get_loop().call_later(FOLLOW_UP_SECONDS, self._follow_up, session_id, command)

        if not self._closed:
            self._put(session_id, [command])[0].add_done_callback(done)

    def _count(self, commands: int, size: int) -> None:
        self._commands += commands
        self._bytes += size
        self._metrics.queue_depth.set(self._commands)
        if self._commands:
            self._nothing_waits.clear()
        else:
            self._nothing_waits.set()

    # groups

    def _start_soon(self) -> None:
        """Start at the end of this turn of the event loop, with all commands of the turn."""
        if self._starting is None:
            self._starting = asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._starting = None
        if self._given_up:
            return
        while len(self._together) < TOGETHER and (group := self._queues.take_together()):
            self._begin(group, self._together)
        while len(self._alone) < ALONE and (group := self._queues.take_alone()):
            self._begin(group, self._alone)

    def _begin(self, group: Group, tasks: set[asyncio.Task[None]]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            self._start_soon()

        task = asyncio.create_task(self._work(group))
        tasks.add(task)
        task.add_done_callback(ended)

    async def _work(self, group: Group) -> None:
        left: dict[str, Sequence[Waiting]] = {}
        since = math.inf
        try:
            left = await self._write(group)
        finally:
            for session_id in group:
                if session_id in left:
                    since = min(since, self._queues.conflicted(session_id, left[session_id]))
                else:
                    self._queues.done(session_id)
        if time.monotonic() - since > ABANDONED_AFTER_SECONDS:
            with contextlib.suppress(Unavailable):
                await self._end_abandoned()

    async def _write(self, group: Group) -> dict[str, Sequence[Waiting]]:
        """Write and answer the group, or else its halves. Returns the commands that must be retried."""
        group = self._in_time(group)
        if not group:
            return {}
        try:
            await self._attempt(group)
        except AppError as error:
            self._finish(_all(group), error)
        except asyncio.CancelledError:
            self._finish(_all(group), Unavailable(STOPPED))
            raise
        except Conflict:
            self._metrics.conflicts.inc()
            if len(group) == 1:
                return dict(group)
            return await self._write_halves(group)
        except Exception as error:
            if len(waiting := _all(group)) > 1:
                return await self._write_halves(group)
            # Without the error's text, which may contain the document and so message texts.
            places = traceback.format_tb(error.__traceback__)
            log.error("write_failed", session_id=next(iter(group)), error=type(error).__name__, traceback=places)
            self._finish(waiting, error)
        return {}

    async def _write_halves(self, group: Group) -> dict[str, Sequence[Waiting]]:
        several = list(group.items())
        middle = len(several) // 2
        first, second = dict(several[:middle]), dict(several[middle:])
        if len(several) == 1:
            session_id, waiting = several[0]
            middle = len(waiting) // 2
            first, second = {session_id: waiting[:middle]}, {session_id: waiting[middle:]}
        try:
            left = await self._write(first)
        except asyncio.CancelledError:
            self._finish(_all(second), Unavailable(STOPPED))
            raise
        if len(several) == 1 and left:  # in order
            return {session_id: [*left[session_id], *second[session_id]] for session_id in left}
        return left | await self._write(second)

    async def _attempt(self, group: Group) -> None:
        with contextlib.ExitStack() as committing:
            for session_id in group:
                committing.enter_context(self._edges.committing(session_id))
            seconds = min(one.since for one in _all(group)) + self._deadline - time.monotonic()
            with self._metrics.commit_seconds.time():
                outcomes = await self._writer.apply(
                    {session_id: [one.command for one in several] for session_id, several in group.items()}, seconds
                )
            for session_id, outcome in outcomes.items():
                self._edges.publish(session_id, outcome.events)
        pushed = time.monotonic()
        for session_id, outcome in outcomes.items():
            for one in group[session_id]:
                self._metrics.receipt_to_push.observe(pushed - one.since)
            self._metrics.stored(outcome)
            self._finish(group[session_id], outcome.results)
            for told in self.on_commit:
                told(session_id, outcome)
            for command in outcome.follow_up:
                self._follow_up(session_id, command)

    def _in_time(self, group: Group) -> Group:
        """The group without commands past their deadline, which are answered."""
        oldest = time.monotonic() - self._deadline
        if late := [one for one in _all(group) if one.since <= oldest]:
            self._finish(late, Unavailable(BUSY))
            rest = {name: [one for one in several if one.since > oldest] for name, several in group.items()}
            group = {name: several for name, several in rest.items() if several}
        return group

    def _finish(self, waiting: Collection[Waiting], results: Sequence[Result] | Exception) -> None:
        """Answer the commands, each with its result or all with the error."""
        for number, one in enumerate(waiting):
            if one.result.done():
                continue
            if isinstance(results, Exception):
                one.result.set_exception(results)
            else:
                one.result.set_result(results[number])
        self._count(-len(waiting), -sum(one.command.size for one in waiting))

    async def _end_abandoned(self) -> None:
        now = time.monotonic()
        if now - self._looked_for_abandoned >= ABANDONED_AFTER_SECONDS:
            self._looked_for_abandoned = now
            if ended := await self._store.end_abandoned():
                log.warning("abandoned_transactions_ended", count=ended)


def _all(group: Group) -> list[Waiting]:
    return [one for several in group.values() for one in several]
