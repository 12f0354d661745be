"""The write queues: every change of a session is a command in that session's queue.

- The queues of all sessions together are limited in number and bytes. If there is no room, a command is refused at
  once.
- While a session's writer writes one batch, the next one collects (without a timer). A batch is one transaction.
- If writers of different processes conflict, they retry with jitter until the deadline. After that, and if the
  database does not answer, the senders are told to repeat. A command that fails does not fail the others in its batch.
- Accepted commands are answered only after the commit.
"""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from app.domain.intake import BATCH_BYTES, BATCH_ITEMS
from app.domain.known import Command, Outcome, Refusal, Result
from app.domain.models import MessageResult, UpdateResult
from app.errors import AppError, Unavailable
from app.metrics import Metrics
from app.services.edges import Edges
from app.storage.mongo import PARALLEL_WRITES, Store
from app.storage.writer import Conflict, Writer

log = structlog.get_logger(__name__)

IDLE_WRITERS = 64
"""Maximum number of idle writers; each holds a database session."""
FOLLOW_UP_SECONDS = 5.0
"""Delay before follow-up commands are tried again."""
END_SECONDS = 1.0
"""How long closed writers may take to end."""
STOPPED = "The server stopped before this was stored. Send it again."
ABANDONED_AFTER_SECONDS = 0.5
"""A conflict that lasts longer is not with a working writer but with a killed one: see Store.end_abandoned."""


@dataclass(slots=True)
class _Waiting:
    command: Command
    result: asyncio.Future[Result]
    since: float


class Stored(NamedTuple):
    """The results of a body's messages and updates, each in order."""

    messages: list[MessageResult]
    updates: list[UpdateResult]


class _Queue:
    __slots__ = ("task", "waiting", "writer")

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.writer: Writer | None = None
        self.task: asyncio.Task[None] | None = None


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
        self._queues: dict[str, _Queue] = {}
        self._parallel = asyncio.Semaphore(PARALLEL_WRITES)
        self._commands = 0
        self._bytes = 0
        self._looked_for_abandoned = 0.0
        self.on_deliveries: Callable[[Outcome], None] = lambda outcome: None
        """Called with an outcome that has new or changed deliveries, once it is committed. It must not raise."""
        self._closed = False

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

    async def apply(self, session_id: str, command: Command) -> Result:
        """Apply one command and return its result. Raises AppError if it is refused, and Unavailable."""
        (result,) = await self._submit(session_id, [command])
        if isinstance(result, Refusal):
            raise AppError(result.code, result.detail, details=result.details)
        return result

    async def close(self, seconds: float) -> None:
        """Accept nothing more, and write what was accepted. What is not written within `seconds` is answered 503."""
        self._closed = True
        tasks = {queue.task for queue in self._queues.values() if queue.task}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        await _end(self._queues.values())
        self._queues.clear()

    async def _submit(self, session_id: str, commands: Sequence[Command]) -> list[Result]:
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
        queue = self._queues.get(session_id)
        if queue is None:
            queue = self._queues[session_id] = _Queue()
        waiting = [_Waiting(command, loop.create_future(), time.monotonic()) for command in commands]
        queue.waiting.extend(waiting)
        self._count(len(waiting), sum(command.size for command in commands))
        if queue.task is None:
            queue.task = asyncio.create_task(self._work(session_id, queue))
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

    async def _work(self, session_id: str, queue: _Queue) -> None:
        """Write the session's batches until the queue is empty."""
        try:
            while queue.waiting:
                async with self._parallel:
                    await self._write(session_id, queue, _take_batch(queue.waiting))
        finally:
            queue.task = None
            if queue.waiting:  # cancelled
                rest = [*queue.waiting]
                queue.waiting.clear()
                self._finish(rest, Unavailable(STOPPED))
        await self._give_up_idle(session_id)

    async def _give_up_idle(self, session_id: str) -> None:
        """Close the writers that have been idle the longest. `session_id` has just become idle."""
        # No await from here to the end of the loop: nobody may submit to a queue that is being removed.
        self._queues[session_id] = self._queues.pop(session_id)
        idle = [name for name, queue in self._queues.items() if queue.task is None]
        given_up = [self._queues.pop(name) for name in idle[: max(0, len(self._queues) - IDLE_WRITERS)]]
        await _end(given_up)

    async def _write(self, session_id: str, queue: _Queue, batch: list[_Waiting]) -> None:
        try:
            outcome = await self._attempt_until(session_id, queue, batch)
        except AppError as error:
            self._finish(batch, error)
        except asyncio.CancelledError:
            self._finish(batch, Unavailable(STOPPED))
            raise
        except Exception as error:
            if len(batch) == 1:
                # Without the error's text, which may contain the document and so message texts.
                places = traceback.format_tb(error.__traceback__)
                log.error("write_failed", session_id=session_id, error=type(error).__name__, traceback=places)
                self._finish(batch, error)
                return
            rest = deque(batch)
            try:
                while rest:
                    await self._write(session_id, queue, [rest.popleft()])
            finally:
                if rest:
                    self._finish(rest, Unavailable(STOPPED))
        else:
            pushed = time.monotonic()
            for one in batch:
                self._metrics.receipt_to_push.observe(pushed - one.since)
            self._metrics.stored(outcome)
            self._finish(batch, outcome.results)
            if outcome.deliveries:
                self.on_deliveries(outcome)
            for command in outcome.follow_up:
                self._follow_up(session_id, command)

    def _finish(self, batch: Collection[_Waiting], results: Sequence[Result] | Exception) -> None:
        """Answer the commands, each with its result or all with the error."""
        if isinstance(results, Exception):
            for one in batch:
                if not one.result.done():
                    one.result.set_exception(results)
        else:
            for one, result in zip(batch, results, strict=True):
                if not one.result.done():
                    one.result.set_result(result)
        self._count(-len(batch), -sum(one.command.size for one in batch))

    async def _attempt_until(self, session_id: str, queue: _Queue, batch: list[_Waiting]) -> Outcome:
        """Apply the batch, with retries after conflicts, until the oldest command's deadline."""
        commands = [one.command for one in batch]
        begun = time.monotonic()
        deadline = min(one.since for one in batch) + self._deadline
        for attempt in range(1_000_000):
            now = time.monotonic()
            if now >= deadline:
                break
            if queue.writer is None:
                queue.writer = self._store.writer(session_id)
            try:
                with self._edges.committing(session_id):
                    with self._metrics.commit_seconds.time():
                        outcome = await queue.writer.apply(commands, deadline - now)
                    self._edges.publish(session_id, outcome.events)
                return outcome
            except Conflict:
                self._metrics.conflicts.inc()
                if now - begun > ABANDONED_AFTER_SECONDS:
                    await self._end_abandoned()
            await asyncio.sleep(random.uniform(0, min(0.1, 0.002 * 2 ** min(attempt, 10))))  # noqa: S311
        raise Unavailable("The database is busy. Try again.")

    async def _end_abandoned(self) -> None:
        now = time.monotonic()
        if now - self._looked_for_abandoned < ABANDONED_AFTER_SECONDS:
            return
        self._looked_for_abandoned = now
        if ended := await self._store.end_abandoned():
            log.warning("abandoned_transactions_ended", count=ended)


def _take_batch(waiting: deque[_Waiting]) -> list[_Waiting]:
    """The commands of the next transaction: at least one, and otherwise within the limits of a batch."""
    batch = [waiting.popleft()]
    size = batch[0].command.size
    while waiting and len(batch) < BATCH_ITEMS and size + waiting[0].command.size <= BATCH_BYTES:
        size += waiting[0].command.size
        batch.append(waiting.popleft())
    return batch


async def _end(queues: Iterable[_Queue]) -> None:
    """End the writers concurrently."""
    writers = [queue.writer for queue in queues if queue.writer]
    if writers:
        # The database discards sessions that could not be ended.
        await asyncio.wait([asyncio.create_task(writer.end()) for writer in writers], timeout=END_SECONDS)
