"""Keeps the newest events of watched sessions in memory, so that many clients can catch up with few reads of the log.

Events are kept in pages of the log: 1-100, 101-200 and so on. A page holds events that were sent, or read from the
log. All pages together take about `max_bytes`; beyond that, the least recently used pages are evicted.

A client that catches up holds a `Pin` from the start of its last read of the log. Events that arrive after that are
not evicted, so catching up always ends in memory, at any event rate. The limit is kept by making new clients wait
(`Memory.room`). The log is authoritative: events that are not in memory are read from it.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import orjson

from app.domain.events import Event

PAGE: Final = 100
"""Events in a page."""
ENTRY_BYTES: Final = 512
"""Memory that an event takes in addition to its payload, about."""


class Entry:
    """An event as it is sent, with its payload encoded once."""

    __slots__ = ("chat_ids", "data", "event", "number", "prepared", "seq", "size")

    def __init__(self, event: Event) -> None:
        self.seq, self.event = event.seq, event.event
        self.chat_ids = event.chat_ids
        """The chats whose subscribers get it: one, or of a `chat_merged` the chat and the one that it took in."""
        self.data: Any
        try:
            encoded = orjson.dumps(event.data)
        except TypeError:
            # A lone surrogate is well-formed JSON, and orjson refuses it: the sender encodes it in its own way.
            self.data, self.size = event.data, event.size
        else:
            self.data, self.size = orjson.Fragment(encoded), len(encoded)
        self.number = 0
        """The publication of this process that sent it to the rooms; 0 if it was only read from the log."""
        self.prepared: object = None
        """The encoded event for clients that get it as a single event. Set when first needed."""


class Page:
    """Entries of one page of a session's log, in ascending order without gaps."""

    __slots__ = ("entries", "size")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.size = sum(_weight(entry) for entry in entries)


class Pin:
    """Keeps events after `seq` in memory."""

    __slots__ = ("seq",)

    def __init__(self, seq: int) -> None:
        self.seq = seq


class Memory:
    """The memory limit of all sessions together."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._used: OrderedDict[tuple[Recent, int], None] = OrderedDict()
        """Least recently used first."""
        self._waiting: list[asyncio.Future[None]] = []
        self.size = 0

    async def room(self) -> None:
        """Wait until the memory is within its limit."""
        while self.size > self._max_bytes:
            self.evict()
            if self.size <= self._max_bytes:
                return
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def grew(self, recent: Recent, number: int, size: int) -> None:
        self.size += size
        self.touch(recent, number)
        if self.size > self._max_bytes:
            self.evict()

    def touch(self, recent: Recent, number: int) -> None:
        self._used[recent, number] = None
        self._used.move_to_end((recent, number))

    def shrank(self, recent: Recent, number: int, size: int) -> None:
        self.size -= size
        del self._used[recent, number]

    def evict(self) -> None:
        """Evict pages that no pin protects until the limit is kept, then wake those who wait for room."""
        if self.size > self._max_bytes:
            floors: dict[Recent, float] = {}
            for recent, number in list(self._used):
                if recent not in floors:
                    floors[recent] = recent.floor()
                if recent.last_of(number) <= floors[recent]:
                    recent.forget(number)
                    if self.size <= self._max_bytes:
                        break
        if self.size <= self._max_bytes:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)


class Recent:
    """The part of one session's log that is in memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._pages: dict[int, Page] = {}
        self._pins: set[Pin] = set()

    def after(self, seq: int) -> Sequence[Entry] | None:
        """The events after `seq` in the page of the next event; None if that event is not in memory."""
        number = seq // PAGE
        page = self._pages.get(number)
        if page is None:
            return None
        skip = seq + 1 - page.entries[0].seq
        if not 0 <= skip < len(page.entries):
            return None
        self._memory.touch(self, number)
        return page.entries[skip:] if skip else page.entries

    def first(self, last: int) -> int:
        """The lowest number from which all events up to `last` are in memory; `last` + 1 if `last` is not."""
        first = last + 1
        while (page := self._pages.get((first - 1 - 1) // PAGE)) and page.entries[-1].seq == first - 1:
            first = page.entries[0].seq
        return first

    def append(self, entry: Entry) -> None:
        """Add the session's next event."""
        number = (entry.seq - 1) // PAGE
        page = self._pages.get(number)
        if page is None or page.entries[-1].seq != entry.seq - 1:
            self._put(number, Page([entry]))
            return
        page.entries.append(entry)
        page.size += _weight(entry)
        self._memory.grew(self, number, _weight(entry))

    def fill(self, number: int, read: Sequence[Entry]) -> None:
        """Add a page that was read: its last run without gaps, and the events that arrived during the read."""
        dense: list[Entry] = []
        for entry in reversed(read):
            if dense and entry.seq != dense[-1].seq - 1:
                break
            dense.append(entry)
        dense.reverse()
        page = self._pages.get(number)
        if page and dense and page.entries[0].seq <= dense[-1].seq + 1:
            last = dense[-1].seq
            dense += [entry for entry in page.entries if entry.seq > last]
        if dense and not (page and page.entries[0].seq <= dense[0].seq and page.entries[-1].seq >= dense[-1].seq):
            self._put(number, Page(dense))

    def pin(self, seq: int) -> Pin:
        """Keep events after `seq` in memory until `unpin`."""
        pin = Pin(seq)
        self._pins.add(pin)
        return pin

    def unpin(self, pin: Pin) -> None:
        self._pins.discard(pin)
        self._memory.evict()

    def floor(self) -> float:
        """No pin protects events up to this number."""
        return min((pin.seq for pin in self._pins), default=math.inf)

    def last_of(self, number: int) -> int:
        return self._pages[number].entries[-1].seq

    def forget(self, number: int) -> None:
        self._memory.shrank(self, number, self._pages.pop(number).size)

    def clear(self) -> None:
        """Forget everything: the session is no longer watched, or its log was replaced."""
        for number in list(self._pages):
            self.forget(number)
        self._memory.evict()

    def _put(self, number: int, page: Page) -> None:
        if number in self._pages:
            self.forget(number)
        self._pages[number] = page
        self._memory.grew(self, number, page.size)


def _weight(entry: Entry) -> int:
    # The payload, and what the sender prepares from it.
    return ENTRY_BYTES + 2 * entry.size
