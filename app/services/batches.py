"""Collects events into lists, for streams that requested batches.

While a live stream of a session wants lists, the session's events are collected and sent as one list: when there are
`max_events` of them or LIST_BYTES, or `seconds` after the first. A stream of several chats must get its events in
order, so it gets a separate list for each run of events of one chat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from app.services.memory import Entry
from app.services.sender import Sender

EVENTS: Final = "events"
LIST_BYTES: Final = 48 * 1024
"""Maximum size of a list, unless one event alone is larger. Less than what makes a connection congested."""


def render(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The payload of an `events` event."""
    return [{"event": entry.event, "data": entry.data} for entry in entries]


def lists(entries: Sequence[Entry], max_events: int, *, by_chat: bool) -> Iterator[Sequence[Entry]]:
    """Split the entries into lists within the limits. `by_chat`: each list has events of one chat."""
    first = size = 0
    for index, entry in enumerate(entries):
        full = index - first >= max_events or size + entry.size > LIST_BYTES
        if index > first and (full or (by_chat and entry.chat_ids != entries[first].chat_ids)):
            yield entries[first:index]
            first, size = index, 0
        size += entry.size
    if first < len(entries):
        yield entries[first:]


class _Gathered:
    """The collected events of one session, and the number of live streams that want them."""

    __slots__ = ("entries", "exact", "size", "timer", "wanted")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.size = 0
        self.timer: asyncio.TimerHandle | None = None
        self.wanted = 0
        self.exact = 0
        """How many of these streams belong to connections that may be recovered."""


class Batches:
    """Collects events for all sessions. `offset` returns the offset of a publication number."""

    def __init__(self, sender: Sender, offset: Callable[[int], str], *, max_events: int, seconds: float) -> None:
        self.max_events, self.seconds = max_events, seconds
        self._sender, self._offset = sender, offset
        self._sessions: dict[str, _Gathered] = {}
        self._exact: dict[str, None] = {}
        """Sessions with collected events for connections that may be recovered."""

    def enter(self, session_id: str, *, exact: bool) -> None:
        """A live stream wants lists from now on. `exact`: its connection may be recovered."""
        self.flush(session_id)
        gathered = self._sessions.setdefault(session_id, _Gathered())
        gathered.wanted += 1
        gathered.exact += exact

    def leave(self, session_id: str, *, exact: bool) -> None:
        """A stream that wanted lists is no longer live. It gets everything collected so far."""
        self.flush(session_id)
        gathered = self._sessions[session_id]
        gathered.wanted -= 1
        gathered.exact -= exact
        if not gathered.wanted:
            del self._sessions[session_id]

    def add(self, session_id: str, entry: Entry) -> None:
        """Add an event that is being sent to the session's rooms."""
        gathered = self._sessions.get(session_id)
        if gathered is None:
            return
        if gathered.size + entry.size > LIST_BYTES:
            self.flush(session_id)
        gathered.entries.append(entry)
        gathered.size += entry.size
        if gathered.exact:
            self._exact[session_id] = None
        if len(gathered.entries) >= self.max_events:
            self.flush(session_id)
        elif gathered.timer is None:
            gathered.timer = asyncio.get_running_loop().call_later(self.seconds, self.flush, session_id)

    def flush_others(self, session_id: str) -> None:
        """Send what was collected in other sessions. Called before a publication of this session gets its number, so
        that a client that sees the number has all earlier events. Recovery relies on this."""
        for other in list(self._exact):
            if other != session_id:
                self.flush(other)

    def flush(self, session_id: str) -> None:
        """Send what was collected. After that, streams that want lists have everything up to the edge."""
        gathered = self._sessions.get(session_id)
        if gathered is None:
            return
        if gathered.timer:
            gathered.timer.cancel()
            gathered.timer = None
        self._exact.pop(session_id, None)
        entries, gathered.entries, gathered.size = gathered.entries, [], 0
        if not entries:
            return
        self._send(entries, [("session", session_id)])
        for run in lists(entries, self.max_events, by_chat=True):
            self._send(run, [("chat", session_id, chat_id) for chat_id in run[0].chat_ids])

    def discard(self, session_id: str) -> None:
        """Discard what was collected, because the session's streams are being closed."""
        self._exact.pop(session_id, None)
        if gathered := self._sessions.get(session_id):
            gathered.entries, gathered.size = [], 0

    def close(self) -> None:
        for gathered in self._sessions.values():
            if gathered.timer:
                gathered.timer.cancel()

    def _send(self, entries: Sequence[Entry], to: Sequence[tuple[str, ...]]) -> None:
        events = render(entries)
        for kind, more in (("b", ()), ("br", (self._offset(entries[-1].number),))):
            rooms = [(name, kind, *key) for name, *key in to]
            self._sender.publish(EVENTS, events, *more, rooms=rooms)
