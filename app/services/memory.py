"""The newest events of the watched sessions, in memory, so that a crowd that comes back reads the log once for all.

Events are kept in pages of the log: 1-100, 101-200 and so on. Pages are filled by what is sent and by what was read,
and over all sessions they take `max_bytes`, about; beyond that the pages that were used least recently go.

Who catches up holds a `Pin` from the moment at which his last read began: what has come in since is not evicted, so
that his reading ends in memory whatever the rate. The bound is kept by letting newcomers wait (`Memory.room`).
The log stays the truth: what is not here is read.
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
"""What an event takes in memory beside its payload."""


class Entry:
    """An event as it goes out: its payload is encoded once."""

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
        """The publication of this process in which it went to the rooms; 0 for one that was only read."""
        self.prepared: object = None
        """What the sender has made of it for those who get it as a single event, once somebody has asked for that."""


class Page:
    """Entries of one page of a session's log, dense and ascending."""

    __slots__ = ("entries", "size")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.size = sum(_weight(entry) for entry in entries)


class Pin:
    """Keeps what is newer than `seq` in memory."""

    __slots__ = ("seq",)

    def __init__(self, seq: int) -> None:
        self.seq = seq


class Memory:
    """The bound over all sessions."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._used: OrderedDict[tuple[Recent, int], None] = OrderedDict()
        """Least recently used first."""
        self._waiting: list[asyncio.Future[None]] = []
        self.size = 0

    async def room(self) -> None:
        """Wait until the memory is within its bound."""
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
        """Let pages go that nobody may need from memory, until the bound is kept, and let those in who wait for it."""
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
    """What is in memory of one session's log."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._pages: dict[int, Page] = {}
        self._pins: set[Pin] = set()

    def after(self, seq: int) -> Sequence[Entry] | None:
        """What follows `seq` in the page of the event after it; None where that is not here."""
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
        """The lowest number from which everything up to `last` is here; `last` + 1 where not even that is."""
        first = last + 1
        while (page := self._pages.get((first - 1 - 1) // PAGE)) and page.entries[-1].seq == first - 1:
            first = page.entries[0].seq
        return first

    def append(self, entry: Entry) -> None:
        """Take in the session's next event."""
        number = (entry.seq - 1) // PAGE
        page = self._pages.get(number)
        if page is None or page.entries[-1].seq != entry.seq - 1:
            self._put(number, Page([entry]))
            return
        page.entries.append(entry)
        page.size += _weight(entry)
        self._memory.grew(self, number, _weight(entry))

    def fill(self, number: int, read: Sequence[Entry]) -> None:
        """Take in what was read of a page: the dense run that ends it, and what has come in since."""
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
        """Keep what is newer than `seq` until `unpin`."""
        pin = Pin(seq)
        self._pins.add(pin)
        return pin

    def unpin(self, pin: Pin) -> None:
        self._pins.discard(pin)
        self._memory.evict()

    def floor(self) -> float:
        """Nobody needs from memory what is not above this."""
        return min((pin.seq for pin in self._pins), default=math.inf)

    def last_of(self, number: int) -> int:
        return self._pages[number].entries[-1].seq

    def forget(self, number: int) -> None:
        self._memory.shrank(self, number, self._pages.pop(number).size)

    def clear(self) -> None:
        """The session is not watched any more, or its log is not what it was."""
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
