"""Combines everything sent in one turn of the loop into one write per connection, in order.

The outbox is a log of the turn: events to rooms, events to single connections, acknowledgements. It is flushed at the
end of the turn, or at once when a client enters or leaves a room with pending events, so that the members at the time
of the flush are the members at the time of publishing.

A flush runs no user code. Connections that became congested are reported at the end of the turn.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from .messages import Message
from .stats import Stats


class Recipient(Protocol):
    """The part of a connection that the outbox needs."""

    write: Callable[[bytes], None] | None
    """None while it polls."""
    deflate: bool

    @property
    def waits(self) -> bool:
        """Whether it has unsent bytes."""

    def hold(self, messages: Sequence[Message]) -> None:
        """Used instead of `write` if that is None."""

    def broken(self) -> None:
        """Called when `write` has raised."""

    def report_congested(self) -> None:
        """Called at the end of the turn in which it became congested."""


class Room(dict[str, Recipient]):
    """Members by Socket.IO id. Compared by identity, so that a tuple of rooms identifies its recipients."""

    __slots__ = ("pending",)

    def __init__(self) -> None:
        super().__init__()
        self.pending = False

    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__  # type: ignore[assignment]


Target = Recipient | tuple[Room, ...]


class _Run:
    """Consecutive messages for the same recipients."""

    __slots__ = ("_deflated", "_plain", "ephemeral", "events", "messages", "size", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.messages: list[Message] = []
        self.events = 0
        self.size = 0
        self.ephemeral = False
        self._plain: bytes | None = None
        self._deflated: bytes | None = None

    @classmethod
    def joining(cls, runs: list["_Run"]) -> "_Run":
        """The messages of several runs, in order, for recipients of all of them."""
        if len(runs) == 1:
            return runs[0]
        joined = cls(())
        for run in runs:
            joined.messages += run.messages
            joined.ephemeral = joined.ephemeral or run.ephemeral
        return joined

    def recipients(self) -> Collection[Recipient]:
        target = self.target
        if type(target) is not tuple:
            return (target,)  # type: ignore[return-value]
        if len(target) == 1:
            return target[0].values()
        union: dict[str, Recipient] = {}
        for room in target:
            union.update(room)
        return union.values()

    @property
    def plain(self) -> bytes:
        if self._plain is None:
            self._plain = _join([m.plain for m in self.messages])
        return self._plain

    @property
    def deflated(self) -> bytes:
        if self._deflated is None:
            self._deflated = _join([m.deflated for m in self.messages])
        return self._deflated

    def durable(self, deflate: bool) -> bytes:
        """The messages without ephemeral ones. Not cached, because only slow connections need it."""
        return _join([m.deflated if deflate else m.plain for m in self.messages if not m.ephemeral])


def _join(parts: list[bytes]) -> bytes:
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Outbox:
    """The log of the current turn. `turn` counts the turns in which something was sent."""

    def __init__(self, stats: Stats) -> None:
        self.turn = 0
        self._stats = stats
        self._runs: list[_Run] = []
        self._congested: dict[Recipient, None] = {}  # in the order in which they became congested
        self._scheduled = self._writing = False

    def send(self, target: Target, messages: Sequence[Message]) -> None:
        """Add one event or acknowledgement (a packet and its attachments) for its recipients."""
        runs = self._runs
        if runs and (runs[-1].target is target or runs[-1].target == target):
            run = runs[-1]
        else:
            if not runs:
                self._schedule()
            run = _Run(target)
            runs.append(run)
            if type(target) is tuple:
                for room in target:
                    room.pending = True
        run.messages.extend(messages)
        run.size += sum([len(message.plain) for message in messages])
        run.events += 1
        if messages[0].ephemeral:
            run.ephemeral = True

    def waiting(self, connection: Recipient, sids: Iterable[str]) -> int:
        """Bytes of this turn for one connection that are not flushed yet."""
        size = 0
        for run in self._runs:
            target = run.target
            if target is connection or (type(target) is tuple and any(sid in room for room in target for sid in sids)):
                size += run.size
        return size

    def congested(self, connection: Recipient) -> None:
        """A connection has become congested. This is reported at the end of the turn, after the flush."""
        self._congested[connection] = None
        self._schedule()

    def flush(self) -> None:
        """Flush now. Runs no user code, so room memberships do not change."""
        if not self._writing:  # otherwise the flush that is running includes it
            self._write_out()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._end_of_turn)

    def _end_of_turn(self) -> None:
        try:
            self._write_out()
            while self._congested:
                connection = next(iter(self._congested))
                del self._congested[connection]
                connection.report_congested()
                self._write_out()  # flush what a report has sent before the next report
        finally:
            self._scheduled = False
            self.turn += 1

    def _write_out(self) -> None:
        while self._runs:
            runs, self._runs = self._runs, []
            self._writing = True
            try:
                for run in runs:
                    if type(run.target) is tuple:
                        for room in run.target:
                            room.pending = False
                if len(runs) == 1:
                    self._write_run(runs[0])
                else:
                    self._write_runs(runs)
            finally:
                self._writing = False

    def _write_run(self, run: _Run) -> None:
        """Write a turn with one set of recipients. This is the hot path of broadcasts."""
        recipients = run.recipients()
        as_plain = len(recipients)
        plain = run.plain
        for connection in recipients:
            if connection.write is None or connection.deflate or (run.ephemeral and connection.waits):
                as_plain -= 1  # counted by exception
                self._write_one(connection, run)
            else:
                try:
                    connection.write(plain)
                except RuntimeError:
                    connection.broken()
        self._stats.events_sent += len(recipients) * run.events
        self._stats.bytes_sent += as_plain * len(plain)

    def _write_runs(self, runs: list[_Run]) -> None:
        """Write a turn with several sets of recipients. The bytes for each set are joined once, however the events for
        different recipients alternate."""
        targets: dict[Target, list[int]] = {}
        for number, run in enumerate(runs):
            targets.setdefault(run.target, []).append(number)
        # The targets of each connection, as a tuple, which is the same object for most connections.
        belongs: dict[Recipient, tuple[Target, ...]] = {}
        for target, numbers in targets.items():
            recipients, alone = runs[numbers[0]].recipients(), (target,)
            for connection in recipients:
                if connection in belongs:
                    belongs[connection] += alone
                else:
                    belongs[connection] = alone
            self._stats.events_sent += len(recipients) * sum([runs[number].events for number in numbers])
        joined: dict[tuple[Target, ...], _Run] = {}
        for connection, key in belongs.items():
            if key not in joined:
                numbers = sorted([number for target in key for number in targets[target]])
                joined[key] = _Run.joining([runs[number] for number in numbers])
            self._write_one(connection, joined[key])

    def _write_one(self, connection: Recipient, run: _Run) -> None:
        write = connection.write
        if write is None:
            connection.hold(run.messages)
            return
        if run.ephemeral and connection.waits:
            self._stats.ephemeral_dropped += sum([m.ephemeral for m in run.messages])
            data = run.durable(connection.deflate)
        elif connection.deflate:
            data = run.deflated
        else:
            data = run.plain
        if data:
            self._stats.bytes_sent += len(data)
            try:
                write(data)
            except RuntimeError:
                connection.broken()
