"""The protocol between the server and its worker process: frames of a kind, a length and a pickle, over pipes.

A body is sent unchanged after its job. Only our own code writes and reads the pickles.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any, Final

HEAD: Final = struct.Struct(">BI")
JOB: Final = 1
PART: Final = 2
"""A command of the result, with its sessionId."""
DONE: Final = 3
"""The end of the result: what was skipped, and the signals."""
FAILED: Final = 4
"""An AppError: code, detail, faults."""


def frame(kind: int, value: object) -> bytes:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return HEAD.pack(kind, len(data)) + data


def read(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301  of our own process
