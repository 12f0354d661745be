"""What is sent in one turn of the loop goes out as one write per connection, in the order in which it was sent.

The outbox is one log of the turn: events to rooms, events to single connections, acknowledgements. It is written out
at the turn's end, or at once when somebody enters or leaves a room with something pending, so that who is in a room
when it is written out is who was in it when the event was published.

Writing out runs no code of the user's. Connections that became congested by it are reported at the turn's end.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from .messages import Message
from .stats import Stats


class Recipient(Protocol):
    """A connection, as far as it is written to."""

    write: Callable[[bytes], None] | None
    """None while it polls."""
    deflate: bool

    @property
    def waits(self) -> bool:
        """Whether bytes wait for it."""

    def hold(self, messages: Sequence[Message]) -> None:
        """Instead of `write`, where that is None."""

    def broken(self) -> None:
        """`write` has raised."""

    def report_congested(self) -> None:
        """The turn in which it became congested ends."""


class Room(dict[str, Recipient]):
    """Members by their Socket.IO id. Compared by identity, so that a tuple of rooms names its recipients."""

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
        """What several runs hold, in order, to be written to whoever is in all of them."""
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
        """Without what is ephemeral; only slow connections need it, so it is not kept."""
        return _join([m.deflated if deflate else m.plain for m in self.messages if not m.ephemeral])


def _join(parts: list[bytes]) -> bytes:
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Outbox:
    """The log of what is sent in this turn. `turn` counts the turns in which something was."""

    def __init__(self, stats: Stats) -> None:
        self.turn = 0
        self._stats = stats
        self._runs: list[_Run] = []
        self._congested: dict[Recipient, None] = {}  # in the order in which they became so
        self._scheduled = self._writing = False

    def send(self, target: Target, messages: Sequence[Message]) -> None:
        """Log one event or acknowledgement (a packet and its attachments) for its recipients."""
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
        """Bytes of this turn that are not written out yet, for one connection."""
        size = 0
        for run in self._runs:
            target = run.target
            if target is connection or (type(target) is tuple and any(sid in room for room in target for sid in sids)):
                size += run.size
        return size

    def congested(self, connection: Recipient) -> None:
        """Note that a connection has become congested; its user is told at the turn's end, once all that was sent
        is handed over."""
        self._congested[connection] = None
        self._schedule()

    def flush(self) -> None:
        """Write out now. Calls nothing of the user's, so who is in which room stays as it is."""
        if not self._writing:  # else whoever asks is about to be written to anyway
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
                self._write_out()  # what the report has sent goes before the next report
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
        """The turn has one kind of recipients, which is what a broadcast spends its time in."""
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
        """Those who are to get the same, get the same bytes: what the turn holds for each set of recipients is joined
        once, however the events for different recipients alternate."""
        targets: dict[Target, list[int]] = {}
        for number, run in enumerate(runs):
            targets.setdefault(run.target, []).append(number)
        # Of which targets each connection is, as a tuple, since that of most connections is the same object.
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
