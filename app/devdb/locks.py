"""Locks that the kernel gives up with the process that holds them, however it ends."""

from __future__ import annotations

import fcntl
from typing import IO, Any


def try_lock(file: IO[Any]) -> bool:
    """Locks the file for as long as it is open, unless somebody else has it. Works across processes and within one."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
