"""Socket.IO's connection state recovery: what is kept of a connection that has gone, and what an offset means.

The client is given a private id (`pid`) when it connects, and an offset as the last argument of each durable event.
It comes back with its `pid` and the last offset that it saw, over all its streams, which it keeps even when it is
given a new `pid`. No event is kept for it: an offset leads to a cursor in each stream, and the log does the rest.

Such a connection is live in all its streams or in none, so there are two kinds of offsets:
- live, `process.number`: the publication's number in this process. The edge of each session knows up to where it was
  sent at that number. The same bytes go to everybody. What is gathered for batches goes before a later number is told.
- catching up, `pid.generation.cursors`: the cursors of all streams, said outright.
What was said before a stream began (or began anew) says nothing about it: it is where it began. An offset of another
process or of another `pid` says nothing at all. Publications are remembered for as long as somebody may come back who
has seen no later one; where a stream that stays live begins moves on with what is forgotten.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from app.services.edge import Edge

INTENDED = frozenset({"client namespace disconnect", "server namespace disconnect", "client disconnect"})
"""Reasons of a disconnect that somebody wanted: nothing is kept then."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a stream began, and when: at which publication, and at which change of the connection's streams."""

    seq: int
    number: int
    generation: int
    restored: int = 0
    """The last publication when the stream was given back, with `seq` as its cursor."""


@dataclass(frozen=True, slots=True)
class Offset:
    """The last thing that the client saw. One of `number` and `cursors` is set."""

    number: int | None = None
    generation: int = 0
    cursors: Mapping[str, int] = field(default_factory=dict)


def make_pid() -> str:
    return secrets.token_urlsafe(15)


def make_offset(pid: str, generation: int, cursors: Mapping[str, int]) -> str:
    """The offset of an event that is caught up."""
    packed = base64.urlsafe_b64encode(orjson.dumps(cursors)).decode()
    return f"{pid}.{generation}.{packed}"


def read_offset(offset: object, process: str, pid: str) -> Offset | None:
    """What the offset says; None where it says nothing to this process and connection."""
    if not isinstance(offset, str):
        return None
    try:
        name, *rest = offset.split(".")
        if name == process and len(rest) == 1:
            return Offset(number=int(rest[0]))
        if name == pid and len(rest) == 2:
            cursors = orjson.loads(base64.urlsafe_b64decode(rest[1]))
            if isinstance(cursors, dict) and all(type(seq) is int for seq in cursors.values()):
                return Offset(generation=int(rest[0]), cursors=cursors)
    except ValueError:
        pass
    return None


def cursor(edge: Edge, began: Beginning, offset: Offset | None) -> int | None:
    """The number up to which the client has the session's stream; None where that is not known exactly."""
    if offset is None:
        return began.seq
    if offset.number is not None:
        if offset.number <= began.number:
            return began.seq
        seq = edge.seq_at(offset.number)
        if seq is None:
            return began.seq if offset.number <= began.restored else None
        # Not less than where it was given back; but more, where the one that was given back was a late-comer.
        return max(seq, began.seq)
    if offset.generation < began.generation:
        return began.seq
    return max(offset.cursors.get(edge.session_id, 0), began.seq)
