"""Leases: who is in which set, for how long, and which server says so.

- A lease says that a person is in a set until a time. It belongs to a holder on a server, such as a connection, so that
  a person who is in a set through three tabs stays in it until the last of them has gone.
- A lease without a value is an end: it hides the person's leases that are older, whichever server has them.
- Nothing is kept of an empty set. Beyond `limit` leases the oldest ones are dropped, and counted.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

Clock = Callable[[], float]
"""Seconds of a clock that never goes back."""
Value = Mapping[str, Any]
"""What a set tells of a person; JSON."""
Member = tuple[str, str, str]
"""The person, the server, and the holder there."""


@dataclass(frozen=True, slots=True)
class SetKey:
    """One set: what it tells (the name of its event), and of which chat."""

    kind: str
    session_id: str
    chat_id: str


@dataclass(frozen=True, slots=True)
class Lease:
    value: Value | None
    """None: the person's older leases have ended."""
    stamp: int
    """Its age among all leases of all servers."""
    until: float
    """Its end, in seconds of the clock."""


class Leases:
    """The leases of all servers, as far as they are known here."""

    def __init__(self, clock: Clock, limit: int, on_evicted: Callable[[], None] = lambda: None) -> None:
        """`on_evicted` is called for each lease that was dropped because of the limit."""
        self._clock, self._limit, self._on_evicted = clock, limit, on_evicted
        self._sets: dict[SetKey, dict[Member, Lease]] = {}
        self._of_session: dict[str, dict[SetKey, None]] = {}
        self._order: dict[tuple[SetKey, Member], None] = {}
        """All leases, the oldest first by when they were last granted."""
        self._checks: dict[SetKey, float] = {}
        """When each set is searched for leases that have ended: not later than the first one ends."""
        self._heap: list[tuple[float, int, SetKey]] = []
        self._numbers: Final = itertools.count()

    def __len__(self) -> int:
        return len(self._order)

    def of_session(self, session_id: str) -> list[SetKey]:
        """The sets of the session that have leases."""
        return list(self._of_session.get(session_id, ()))

    def members(self, key: SetKey) -> list[tuple[Member, Lease]]:
        return list(self._sets.get(key, {}).items())

    def put(self, key: SetKey, member: Member, lease: Lease) -> set[SetKey]:
        """Grant the lease, or replace it. Returns the sets that may have changed: this one, and one that lost a lease
        because of the limit."""
        changed = {key}
        if (key, member) in self._order:
            del self._order[key, member]
        elif len(self._order) >= self._limit:
            oldest, its_member = next(iter(self._order))
            self.drop(oldest, its_member)
            self._on_evicted()
            changed.add(oldest)
        if key not in self._sets:
            self._sets[key] = {}
            self._of_session.setdefault(key.session_id, {})[key] = None
        self._sets[key][member] = lease
        self._order[key, member] = None
        self._check_at(key, lease.until)
        return changed

    def drop(self, key: SetKey, member: Member) -> bool:
        """End the lease. Returns whether there was one."""
        leases = self._sets.get(key, {})
        if leases.pop(member, None) is None:
            return False
        del self._order[key, member]
        if not leases:
            del self._sets[key]
            self._checks.pop(key, None)
            of_session = self._of_session[key.session_id]
            del of_session[key]
            if not of_session:
                del self._of_session[key.session_id]
        return True

    def expire(self) -> set[SetKey]:
        """Drop the leases that have ended. Returns the sets that had them."""
        now = self._clock()
        changed = set()
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            if self._checks.get(key) != at:
                continue  # another check has replaced this one
            del self._checks[key]
            for member, lease in self.members(key):
                if lease.until <= now:
                    self.drop(key, member)
                    changed.add(key)
            if left := self._sets.get(key):
                self._check_at(key, min(lease.until for lease in left.values()))
        return changed

    def people(self, key: SetKey) -> dict[str, Value]:
        """Who is in the set, each person once, in an order that is the same on every server."""
        leases = self._sets.get(key, {}).items()
        ended: dict[str, int] = {}
        for (person, _, _), lease in leases:
            if lease.value is None:
                ended[person] = max(lease.stamp, ended.get(person, 0))
        newest = _newest((member[0], lease) for member, lease in leases if lease.stamp > ended.get(member[0], -1))
        order = sorted(newest, key=lambda person: (_since(newest[person]) or "", person))
        return {person: value for person in order if (value := newest[person].value) is not None}

    def part(self, key: SetKey, server: str) -> dict[str, Lease]:
        """What one server says about the set: for each person its newest lease, or end."""
        leases = self._sets.get(key, {}).items()
        return _newest((member[0], lease) for member, lease in leases if member[1] == server)

    def _check_at(self, key: SetKey, until: float) -> None:
        if until < self._checks.get(key, float("inf")):
            self._checks[key] = until
            heapq.heappush(self._heap, (until, next(self._numbers), key))


def _newest(leases: Iterable[tuple[str, Lease]]) -> dict[str, Lease]:
    """Each person's newest lease, with the earliest `since` of all of that person's leases."""
    newest: dict[str, Lease] = {}
    first: dict[str, str] = {}
    for person, lease in leases:
        if person not in newest or lease.stamp > newest[person].stamp:
            newest[person] = lease
        if (since := _since(lease)) is not None:
            first[person] = min(since, first.get(person, since))
    for person, since in first.items():
        lease = newest[person]
        if lease.value is not None and lease.value.get("since") != since:
            newest[person] = replace(lease, value={**lease.value, "since": since})
    return newest


def _since(lease: Lease) -> str | None:
    since = lease.value.get("since") if lease.value is not None else None
    return since if isinstance(since, str) else None
