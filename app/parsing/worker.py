"""The worker process: reads jobs from standard input, writes what they come to; ends with its input."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from dataclasses import replace
from typing import IO, Final

from app.errors import AppError
from app.parsing import wire
from app.parsing.job import Job, run

MEMORY_BYTES: Final = 1024 * 1024 * 1024
NICENESS: Final = 5
"""The server and its database go first."""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(wire.HEAD.size):
        _, length = wire.HEAD.unpack(head)
        job, size = wire.read(source.read(length))
        _answer(replace(job, body=source.read(size)), sink)
        sink.flush()


def _answer(job: Job, sink: IO[bytes]) -> None:
    try:
        parsing = run(job)
    except AppError as error:
        sink.write(wire.frame(wire.FAILED, (error.code, error.detail, error.faults)))
        return
    except (MemoryError, RecursionError):
        sink.write(wire.frame(wire.FAILED, ("too_large", "The body takes too much memory to read.", ())))
        return
    for part in parsing.commands():
        sink.write(wire.frame(wire.PART, part))
    sink.write(wire.frame(wire.DONE, (parsing.skipped, parsing.signals)))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
