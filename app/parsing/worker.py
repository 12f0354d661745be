"""The worker process: reads jobs from standard input and writes their results. It exits at the end of its input."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from typing import IO, Final

from app.errors import AppError
from app.parsing import wire
from app.parsing.job import Job, run

MEMORY_BYTES: Final = 1024 * 1024 * 1024
CPU_SECONDS: Final = 10.0
"""CPU time for one body, which does not depend on how busy the machine is."""
NICENESS: Final = 5
"""Lower priority than the server and its database."""


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    signal.signal(signal.SIGVTALRM, _too_long)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(wire.HEAD.size):
        _, length = wire.HEAD.unpack(head)
        job, size = wire.read(source.read(length))
        _answer(job._replace(body=source.read(size)), sink)
        sink.flush()


class _TooLongError(BaseException):
    """Not an Exception, so that no parser treats it as an invalid value."""


def _too_long(signum: int, frame: object) -> None:
    raise _TooLongError


def _answer(job: Job, sink: IO[bytes]) -> None:
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
        try:
            parsing = run(job)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except _TooLongError:
        sink.write(
            wire.frame(wire.FAILED, ("too_large", f"The body takes more than {CPU_SECONDS:.0f} s to parse.", ()))
        )
        return
    except AppError as error:
        sink.write(wire.frame(wire.FAILED, (error.code, error.detail, error.faults)))
        return
    except (MemoryError, RecursionError):
        sink.write(wire.frame(wire.FAILED, ("too_large", "The body takes too much memory to parse.", ())))
        return
    for part in parsing.commands():
        sink.write(wire.frame(wire.PART, part))
    sink.write(wire.frame(wire.DONE, (parsing.skipped, parsing.signals)))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
