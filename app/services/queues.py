"""The queues of commands, one per session, and the choice of the commands that are written together.

- A group has at most GROUP_COMMANDS commands, GROUP_BYTES bytes and GROUP_SESSIONS sessions, which take turns by bytes.
  The session that has waited longest comes first.
- A session is in one group at a time, so that its commands are written in order.
- A command that may take long (`Command.alone`) gets a group of its own, and so does a session after a conflict, until
  it has been written once.
- After a conflict a session pauses for a random time, which grows with each conflict.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.domain.intake import BATCH_BYTES, BATCH_ITEMS
from app.domain.known import Command, Result

GROUP_COMMANDS: Final = BATCH_ITEMS
GROUP_BYTES: Final = BATCH_BYTES
GROUP_SESSIONS: Final = 64
SHARE_BYTES: Final = 8 * 1024
"""Bytes that a session may add to a group in one turn; at least one command."""
PAUSE_SECONDS: Final = 0.002
LONGEST_PAUSE_SECONDS: Final = 0.1


@dataclass(slots=True)
class Waiting:
    command: Command
    result: asyncio.Future[Result]
    since: float


Group = Mapping[str, Sequence[Waiting]]
"""Commands that are written together, by sessionId."""


@dataclass(slots=True)
class _Queue:
    waiting: deque[Waiting] = field(default_factory=deque)
    busy: bool = False
    """Whether it is in a group, or pausing."""
    conflicts: int = 0
    """Number of conflicts since it was last written."""
    since: float = 0.0
    """When the first of these conflicts happened (monotonic clock)."""

    @property
    def alone(self) -> bool:
        return self.conflicts > 0 or self.waiting[0].command.alone


class Queues:
    """The queues of all sessions with waiting commands."""

    def __init__(self, on_ready: Callable[[], None]) -> None:
        """`on_ready` is called when a group can be taken."""
        self._on_ready = on_ready
        self._queues: dict[str, _Queue] = {}
        self._together: dict[str, _Queue] = {}
        """Queues that are ready, in the order of their turns."""
        self._alone: dict[str, _Queue] = {}

    def put(self, session_id: str, several: Sequence[Waiting]) -> None:
        queue = self._queues.setdefault(session_id, _Queue())
        queue.waiting.extend(several)
        self._offer(session_id, queue)

    def take_alone(self) -> Group | None:
        """The next command that gets a group of its own, or commands of a session that does."""
        if not self._alone:
            return None
        session_id = next(iter(self._alone))
        queue = self._alone.pop(session_id)
        queue.busy = True
        if queue.waiting[0].command.alone:
            return {session_id: [queue.waiting.popleft()]}
        taken: list[Waiting] = []
        _take(queue, taken, GROUP_COMMANDS, GROUP_BYTES)
        return {session_id: taken}

    def take_together(self) -> Group | None:
        """The next commands of several sessions."""
        if not self._together:
            return None
        group: dict[str, list[Waiting]] = {}
        commands, size = 0, 0
        turns = deque(list(self._together.items())[:GROUP_SESSIONS])
        while turns and commands < GROUP_COMMANDS:
            session_id, queue = turns.popleft()
            room = GROUP_BYTES - size
            if group and queue.waiting[0].command.size > room:
                continue
            taken = group.setdefault(session_id, [])
            before = len(taken)
            size += _take(queue, taken, GROUP_COMMANDS - commands, min(SHARE_BYTES, room))
            commands += len(taken) - before
            if queue.waiting and not queue.waiting[0].command.alone:
                turns.append((session_id, queue))
        for session_id in group:
            self._together.pop(session_id).busy = True
        return group

    def done(self, session_id: str) -> None:
        """The session's part of a group is written, or has failed."""
        queue = self._queues[session_id]
        queue.busy, queue.conflicts = False, 0
        if queue.waiting:
            self._offer(session_id, queue)
        else:
            del self._queues[session_id]

    def conflicted(self, session_id: str, several: Sequence[Waiting]) -> float:
        """Put commands back that were not written because of a conflict; the session pauses. Returns the time of its
        first conflict (monotonic clock)."""
        queue = self._queues[session_id]
        queue.waiting.extendleft(reversed(several))
        queue.conflicts += 1
        if queue.conflicts == 1:
            queue.since = time.monotonic()
        longest = min(LONGEST_PAUSE_SECONDS, PAUSE_SECONDS * 2 ** min(queue.conflicts, 10))
        asyncio.get_running_loop().call_later(random.uniform(0, longest), self._pause_is_over, session_id)  # noqa: S311
        return queue.since

    def clear(self) -> list[Waiting]:
        """Remove and return all waiting commands."""
        rest = [one for queue in self._queues.values() for one in queue.waiting]
        for queue in self._queues.values():
            queue.waiting.clear()
        self._together.clear()
        self._alone.clear()
        return rest

    def _pause_is_over(self, session_id: str) -> None:
        queue = self._queues[session_id]
        queue.busy = False
        if queue.waiting:  # otherwise it was cleared meanwhile
            self._offer(session_id, queue)

    def _offer(self, session_id: str, queue: _Queue) -> None:
        if not queue.busy and session_id not in self._together and session_id not in self._alone:
            (self._alone if queue.alone else self._together)[session_id] = queue
        self._on_ready()


def _take(queue: _Queue, taken: list[Waiting], most: int, room: int) -> int:
    """Move the next commands of the queue to `taken`: at least one, and those that fit. Returns their bytes."""
    size, before = 0, len(taken)
    while queue.waiting and len(taken) - before < most:
        command = queue.waiting[0].command
        if len(taken) > before and (command.alone or size + command.size > room):
            break
        taken.append(queue.waiting.popleft())
        size += command.size
    return size
