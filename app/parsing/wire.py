"""How the server and its worker process talk: frames of a kind, a length and a pickle, over pipes.

A body goes as it is, behind its job. Pickles are made and read by our own code only.
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
"""The end of the result: what was left out, and the signals."""
FAILED: Final = 4
"""An AppError: code, detail, faults."""


def frame(kind: int, value: object) -> bytes:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return HEAD.pack(kind, len(data)) + data


def read(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301  of our own process
