"""Parses small bodies on the event loop, and others in the worker process.

The worker is started when it is first needed, parses one body at a time, and exits when it has been idle for a while.
It refuses a body that uses too much CPU time. If a body is not parsed in time, the worker is killed, and the next body
gets a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Final

import structlog

from app import json_input
from app.errors import AppError, Unavailable
from app.parsing import wire
from app.parsing.encodings import unpack
from app.parsing.job import Job, Parsing, run
from app.turns import Turns

log = structlog.get_logger(__name__)

QUICK_BYTES: Final = 64 * 1024
QUICK_NODES: Final = 1_000
"""A body within both limits takes a few milliseconds at most."""
PARSE_SECONDS: Final = 60.0
"""Elapsed time. The worker's own limit is shorter, but in CPU time."""
IDLE_SECONDS: Final = 60.0
MAX_WAITING: Final = 256
"""Bodies of one session that may wait for the worker."""
STOPPING: Final = "The server is stopping. Try again."
PIPE_BYTES: Final = 256 * 1024

_ROOT: Final = Path(__file__).parent.parent.parent


class Parser:
    def __init__(self) -> None:
        self._turns = Turns(
            1, waiting=MAX_WAITING, error=Unavailable("Too many request bodies are waiting. Try again.")
        )
        self._process: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._jobs: set[asyncio.Task[Parsing]] = set()
        self._ending: asyncio.Task[int] | None = None
        """Waits for an idle worker to exit."""
        self._closed = False

    async def parse(self, job: Job) -> Parsing:
        """Raises AppError as `job.run` does, and Unavailable."""
        if (quick := _quick(job)) is not None:
            return run(quick)
        # If the client disconnects, the worker must still finish the body: the task continues without the client.
        task = asyncio.create_task(self._parse(job))
        self._jobs.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise Unavailable(STOPPING) from None
            raise
        finally:
            del task  # its exception refers to this frame, and so to the body

    async def close(self) -> None:
        """Stop the worker. Its remaining bodies are answered Unavailable."""
        self._closed = True
        for task in self._jobs:
            task.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs)
        await self._end()
        if self._ending is not None:
            await self._ending

    def _done(self, task: asyncio.Task[Parsing]) -> None:
        self._jobs.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, even if nobody waits any more

    async def _parse(self, job: Job) -> Parsing:
        async with self._turns.take(job.session_id):
            if self._closed:
                raise Unavailable(STOPPING)
            try:
                async with asyncio.timeout(PARSE_SECONDS):
                    process = await self._started()
                    return await _ask(process, job)
            except TimeoutError:
                log.warning("body_takes_too_long", session_id=job.session_id, source=job.source, bytes=len(job.body))
                await self._end()
                raise Unavailable("The body could not be parsed in time. Try again.") from None
            except (OSError, EOFError) as error:
                log.error("parser_ended", error=type(error).__name__)
                await self._end()
                raise Unavailable("The body could not be parsed now. Try again.") from error
            except asyncio.CancelledError:
                await self._end()
                raise
            finally:
                self._wait_idle()

    def _wait_idle(self) -> None:
        if self._process is not None:
            self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._give_up)

    async def _started(self) -> asyncio.subprocess.Process:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "app.parsing.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(_ROOT)},
                start_new_session=True,  # Ctrl-C is for the server, which then stops the worker
                limit=PIPE_BYTES,
            )
        return self._process

    def _give_up(self) -> None:
        """The worker has been idle for long: close its input, and it exits."""
        self._idle = None
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._ending = asyncio.create_task(self._process.wait())
            self._process = None

    async def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _quick(job: Job) -> Job | None:
    """The job with its body decompressed, if it is quick to parse; otherwise None."""
    if len(job.body) > QUICK_BYTES:
        return None
    if job.encoding:
        try:
            job = job._replace(body=unpack(job.body, job.encoding, QUICK_BYTES), encoding="")
        except AppError as error:
            if error.code == "too_large":
                return None
            raise
    return job if len(job.body) <= QUICK_NODES or json_input.most_nodes(job.body) <= QUICK_NODES else None


async def _ask(process: asyncio.subprocess.Process, job: Job) -> Parsing:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(wire.frame(wire.JOB, (job._replace(body=b""), len(job.body))))
    for first in range(0, len(job.body), PIPE_BYTES):
        process.stdin.write(job.body[first : first + PIPE_BYTES])
        await process.stdin.drain()
    parsing = Parsing()
    while True:
        kind, length = wire.HEAD.unpack(await process.stdout.readexactly(wire.HEAD.size))
        data = await process.stdout.readexactly(length)
        if kind == wire.FAILED:
            raise AppError(*wire.read(data))
        if kind == wire.DONE:
            parsing.skipped, parsing.signals = wire.read(data)
            return parsing
        parsing.parts.append(data)
