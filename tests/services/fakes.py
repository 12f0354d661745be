"""Small fakes of what the services need, for thousands of connections without sockets and database."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Hashable, Iterable, Sequence
from typing import Any

from app.bus import Report, Told
from app.domain.events import Event, now
from app.domain.known import Outcome
from app.domain.models import Position
from app.errors import Unavailable

EPOCH = "epoch"


def event(seq: int, session_id: str = "shop", chat_id: str = "a", text: str = "") -> Event:
    """One entry of a log, with the parts that the services use."""
    data = {"sessionId": session_id, "chatId": chat_id, "seq": seq, "message": {"text": text or f"message {seq}"}}
    return Event(session_id, chat_id, seq, "new_message", data, now())


class FakeLog:
    """The log of all sessions. A read takes a turn of the loop, or waits while `answers` is cleared."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = defaultdict(list)
        self.epoch = EPOCH
        self.reads = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.away = False

    def add(self, count: int, session_id: str = "shop", chats: Sequence[str] = ("a",), text: str = "") -> list[Event]:
        """Append a number of events, of these chats in turn. Returns them."""
        log = self.events[session_id]
        first = log[-1].seq + 1 if log else 1
        added = [event(seq, session_id, chats[seq % len(chats)], text) for seq in range(first, first + count)]
        log.extend(added)
        return added

    def position(self, seq: int) -> Position:
        return Position(self.epoch, seq)

    async def seq(self, session_id: str) -> int:
        await self._answer()
        log = self.events[session_id]
        return log[-1].seq if log else 0

    async def names_of(self, session_id: str, chat_id: str) -> list[str]:
        return [chat_id]

    async def kept_after(self, session_id: str, upto: int, most: int) -> int:
        self.reads += 1
        await self._answer()
        kept = [one.seq for one in self.events[session_id] if upto - most < one.seq <= upto]
        return kept[0] - 1 if kept else upto

    async def read_events(
        self, session_id: str, after: int, upto: int, limit: int, chat_ids: Collection[str] | None = None
    ) -> list[Event]:
        self.reads += 1
        await self._answer()
        log = self.events[session_id]
        start = max(0, after - log[0].seq + 1) if log else 0
        wanted = [one for one in log[start:] if one.seq <= upto and (chat_ids is None or one.chat_id in chat_ids)]
        return wanted[:limit]

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        await self.answers.wait()
        if self.away:
            raise Unavailable


class FakeSender:
    """Records what each connection gets. Connections read everything at once, except those in `slow`, which wait for
    `takes`."""

    def __init__(self) -> None:
        self.rooms: dict[Hashable, dict[str, None]] = defaultdict(dict)
        self.got: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.closed: dict[str, str] = {}
        self.slow: dict[str, asyncio.Event] = {}
        self.largest = 0
        """Events sent to one connection between two drains."""

    def publish(self, event: str, *args: Any, rooms: Iterable[Hashable], ephemeral: bool = False) -> None:
        for sid in {sid: None for room in rooms for sid in self.rooms[room]}:
            self.got[sid].append((event, *args))

    def push(self, sid: str, event: str, *args: Any, ephemeral: bool = False) -> None:
        self.got[sid].append((event, *args))

    def prepare(self, event: str, *args: Any) -> object:
        return (event, *args)

    def push_prepared(self, sid: str, events: Sequence[Any]) -> None:
        self.got[sid].extend(events)

    def join(self, sid: str, room: Hashable) -> None:
        self.rooms[room][sid] = None

    def leave(self, sid: str, room: Hashable) -> None:
        self.rooms[room].pop(sid, None)

    def waiting(self, sid: str) -> int:
        return 0

    async def drained(self, sid: str) -> bool:
        if sid in self.slow:
            await self.slow[sid].wait()
        return sid not in self.closed

    def is_open(self, sid: str) -> bool:
        return sid not in self.closed

    def close(self, sid: str, reason: str) -> None:
        self.closed[sid] = reason


class FakeBus:
    """The bus and the numbers of a fake log. It breaks with the log."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log
        self.heard = asyncio.Event()
        """Set while somebody listens."""
        self.beats = asyncio.Event()
        """Set: it says once more that there is nothing new."""
        self._broken = asyncio.Event()

    def away(self) -> None:
        self._log.away = True
        self._broken.set()

    def back(self) -> None:
        self._log.away = False
        self._broken.clear()

    through_database = True

    def follow(self, session_id: str) -> None: ...

    def stop_following(self, session_id: str) -> None: ...

    def ring(self, session_id: str, outcome: Outcome) -> None: ...

    async def check(self) -> None: ...

    async def close(self) -> None: ...

    def tell(self, told: Told) -> None: ...

    async def send(self) -> None: ...

    async def listen(self) -> AsyncIterator[Report | None]:
        await self.ping(1)
        self.heard.set()
        yield None
        broken, beats = asyncio.create_task(self._broken.wait()), asyncio.create_task(self.beats.wait())
        await asyncio.wait([broken, beats], return_when=asyncio.FIRST_COMPLETED)
        if not broken.done():
            yield None
            await broken
        beats.cancel()
        self.heard.clear()
        raise Unavailable

    async def seqs(self, session_ids: Collection[str] | None = None) -> dict[str, int]:
        return {one: await self._log.seq(one) for one in session_ids or ()}

    async def ping(self, timeout: float) -> None:
        if self._log.away:
            raise Unavailable
