"""Sends clients the sets of who is there: whole sets, so that loss and repetition do no harm.

- A set is sent when it changes, at most once in QUIET_SECONDS, and again every AGAIN_SECONDS, before it expires at the
  client. An empty set is sent once.
- Each server tells the others its part of a set: when the part changes, and every PART_SECONDS / 3. Another server's
  part ends PART_SECONDS after it was last told, so a server that dies is gone from all sets by then. A part that was
  lost is told again, and the end of a part that was lost comes by itself.
- Which of two servers has the newer news of a person is decided by stamps, which follow the wall clock and never go
  back: a server's next stamp is higher than any it has made or heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from app.bus import Told
from app.domain import rooms
from app.services.leases import Clock, Lease, Leases, SetKey, Value
from app.services.sender import Sender

QUIET_SECONDS: Final = 0.25
EXPIRES_SECONDS: Final = 15.0
"""How long a set is valid at the client. The contract promises at most 15 s."""
AGAIN_SECONDS: Final = 6.0
PART_SECONDS: Final = 12.0
"""How long another server's part is valid. With the QUIET_SECONDS of both servers, less than the contract's 15 s."""
LOOK_SECONDS: Final = 1.0
"""How often to look for what is to be sent again: together, so that it is one write for each connection."""
TICK_SECONDS: Final = 0.05
IDLE_SECONDS: Final = 0.2
MAX_PRESENT: Final = 200
"""Sets sent right after a subscription. The others follow when they are sent again."""
MAX_PEOPLE: Final = 1_000
"""Maximum number of people in one set on the wire, and in a part that is accepted from the bus."""
MAX_STAMP: Final = 2**53

Payload = dict[str, Any]


class Sets:
    def __init__(
        self,
        sender: Sender,
        tell: Callable[[Told], None],
        fields: Mapping[str, str],
        *,
        limit: int,
        on_evicted: Callable[[], None] = lambda: None,
        clock: Clock = time.monotonic,
        wall_clock: Clock = time.time,
    ) -> None:
        """`tell` sends to the other servers. `fields`: for each kind of set that clients get, the field of its event
        that has the people. `limit`: leases in all; `on_evicted` is called for each one dropped because of it."""
        self.server: Final = secrets.token_urlsafe(6)
        self.on_changed: Callable[[SetKey], None] = lambda key: None
        """Called with each set that has changed. It must not raise."""
        self._sender, self._tell, self._fields = sender, tell, fields
        self._clock, self._wall_clock = clock, wall_clock
        self._leases = Leases(clock, limit, on_evicted)
        self._stamp = 0
        self._now: dict[tuple[SetKey, bool], None] = {}
        """What has changed: the set as clients see it (False), or the own part of it (True). Sent in this turn."""
        self._soon: dict[tuple[SetKey, bool], None] = {}
        """The same, not to be sent before QUIET_SECONDS have passed."""
        self._sent: dict[SetKey, tuple[float, list[Value]]] = {}
        """When each set was last sent, and what; the oldest first. Empty ones stay for QUIET_SECONDS."""
        self._told: dict[SetKey, tuple[float, bool]] = {}
        """When the own part of each set was last told, and whether anybody was in it; the oldest first."""
        self._ticked = self._looked = float("-inf")
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """The number of leases, including those of other servers."""
        return len(self._leases)

    # changes made on this server

    def say(self, key: SetKey, person: str, holder: str, value: Value, seconds: float = float("inf")) -> None:
        """The person is in the set for so long, unless `leave` ends it or this is said again."""
        lease = Lease(value, self._next_stamp(), self._clock() + seconds)
        self._mark(self._leases.put(key, (person, self.server, holder), lease))
        self._mark_part(key)

    def leave(self, key: SetKey, person: str, holder: str, *, after: float = 0) -> None:
        """The holder's lease ends, now or `after` so many seconds. Does nothing without one."""
        member = (person, self.server, holder)
        lease = next((lease for one, lease in self._leases.members(key) if one == member), None)
        if lease is None:
            return
        if after:
            until = min(lease.until, self._clock() + after)
            self._leases.put(key, member, Lease(lease.value, lease.stamp, until))
        else:
            self._leases.drop(key, member)
            self._mark({key})
            self._mark_part(key)

    def end(self, key: SetKey, person: str, seconds: float) -> None:
        """All leases of the person in the set end, on every server. `seconds`: how long this is remembered, at least as
        long as any of these leases may last."""
        if person not in self._leases.people(key):
            return
        for (one, server, holder), _ in self._leases.members(key):
            if (one, server) == (person, self.server):
                self._leases.drop(key, (one, server, holder))
        lease = Lease(None, self._next_stamp(), self._clock() + seconds)
        self._mark(self._leases.put(key, (person, self.server, ""), lease))
        self._mark_part(key)

    def drop_holder(self, session_id: str, kind: str, holder: str) -> None:
        """End this server's leases of the holder in all sets of the session of this kind."""
        for key in self._leases.of_session(session_id):
            if key.kind == kind:
                for person in [p for (p, server, one), _ in self._leases.members(key) if one == holder]:
                    self.leave(key, person, holder)

    def people(self, key: SetKey) -> dict[str, Value]:
        return self._leases.people(key)

    def holds(self, key: SetKey, *, but: str = "") -> bool:
        """Whether somebody is in the set on this server, by another holder than `but`."""
        members = self._leases.members(key)
        return any(
            server == self.server and holder != but and one.value is not None for (_, server, holder), one in members
        )

    def move(self, old: SetKey, key: SetKey) -> None:
        """This server's leases in one set are in another from now on."""
        for member, lease in self._leases.members(old):
            if member[1] == self.server:
                self._leases.drop(old, member)
                self._mark({old} | self._leases.put(key, member, lease))
                self._mark_part(old)
                self._mark_part(key)

    # changes made on other servers

    def hear(self, told: Told) -> None:
        """Take in another server's part of a set. What cannot be read is ignored: other versions may tell other
        things."""
        read = _read(told)
        if read is None or read[0] == self.server:
            return
        server, key, part = read
        now, changed = self._clock(), {key}
        for member, _ in self._leases.members(key):
            if member[1] == server and member[0] not in part:
                self._leases.drop(key, member)
        for person, (stamp, value) in part.items():
            self._stamp = max(self._stamp, stamp)
            changed |= self._leases.put(key, (person, server, ""), Lease(value, stamp, now + PART_SECONDS))
            if value is None:
                self._drop_older(key, person, stamp)
        self._mark(changed)

    def _drop_older(self, key: SetKey, person: str, stamp: int) -> None:
        for member, lease in self._leases.members(key):
            if member[:2] == (person, self.server) and lease.stamp < stamp:
                self._leases.drop(key, member)
                self._mark_part(key)

    def tell_again(self, session_id: str) -> None:
        """Another server asks for this server's parts of the session's sets."""
        for key in self._leases.of_session(session_id):
            if key in self._told:
                self._mark_part(key)

    # to clients and to other servers

    def present(self, session_id: str, chat_id: str | None) -> list[tuple[str, Payload]]:
        """The sets of a session, or of one chat of it, that are not empty, as events for a new subscriber."""
        found = []
        for key in self._leases.of_session(session_id):
            if key.kind in self._fields and chat_id in (None, key.chat_id) and (people := self._shown(key)):
                found.append((key.kind, self._payload(key, people)))
                if len(found) == MAX_PRESENT:
                    break
        return found

    async def run(self) -> None:
        """Send what changes, forever: at once, and by the clock."""
        while True:
            self._changed.clear()
            self.tick()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS if self._soon else IDLE_SECONDS):
                    await self._changed.wait()

    def tick(self) -> None:
        """Do all that is due by the clock."""
        now = self._clock()
        for key in self._leases.expire():
            self._mark({key})
            self._mark_part(key)
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look(now)
        due, self._now = self._now, {}
        if now - self._ticked >= TICK_SECONDS:
            self._ticked = now
            due, self._soon = due | self._soon, {}
        for key, part in due:
            last = self._told.get(key) if part else self._sent.get(key)
            if last is not None and now - last[0] < QUIET_SECONDS:
                self._soon[key, part] = None
            elif part:
                self._tell_part(key, now)
            else:
                self._send(key, now, again=False)

    def _look(self, now: float) -> None:
        """Send what is to be sent again, and forget what is empty. The oldest are first in both."""
        for key, (at, _) in list(self._told.items()):
            if now - at < PART_SECONDS / 3 - LOOK_SECONDS:
                break
            self._tell_part(key, now)
        for key, (at, _) in list(self._sent.items()):
            if now - at < AGAIN_SECONDS:
                break
            self._send(key, now, again=True)

    def _tell_part(self, key: SetKey, now: float) -> None:
        part = self._leases.part(key, self.server)
        _, anybody = self._told.pop(key, (now, False))
        if not part and not anybody:
            return
        self._told[key] = now, bool(part)
        people = [[person, lease.stamp, lease.value] for person, lease in part.items()]
        value = {"server": self.server, "chatId": key.chat_id, "part": people[:MAX_PEOPLE]}
        self._tell(Told(key.session_id, key.kind, value))

    def _send(self, key: SetKey, now: float, *, again: bool) -> None:
        people, before = self._shown(key), self._sent.get(key, (now, []))[1]
        if people == before and not (again and people):
            if not people:
                self._sent.pop(key, None)
            return
        self._sent.pop(key, None)
        self._sent[key] = now, people
        if people != before:
            self.on_changed(key)
        if key.kind not in self._fields:
            return
        to = [rooms.who(key.session_id), rooms.who(key.session_id, key.chat_id)]
        self._sender.publish(key.kind, self._payload(key, people), rooms=to, ephemeral=True)

    def _shown(self, key: SetKey) -> list[Value]:
        return list(self._leases.people(key).values())[:MAX_PEOPLE]

    def _payload(self, key: SetKey, people: list[Value]) -> Payload:
        return {
            "sessionId": key.session_id,
            "chatId": key.chat_id,
            self._fields[key.kind]: people,
            "expiresInMs": int(EXPIRES_SECONDS * 1000),
        }

    def _mark(self, changed: Iterable[SetKey]) -> None:
        for key in changed:
            if (key, False) not in self._soon:
                self._now[key, False] = None
                self._changed.set()

    def _mark_part(self, key: SetKey) -> None:
        if (key, True) not in self._soon:
            self._now[key, True] = None
            self._changed.set()

    def _next_stamp(self) -> int:
        self._stamp = max(self._stamp + 1, int(self._wall_clock() * 1000))
        return self._stamp


def _read(told: Told) -> tuple[str, SetKey, dict[str, tuple[int, Value | None]]] | None:
    """A part as another server tells it: the server, the set, and the people with their stamps and values."""
    server, chat_id, listed = (told.value.get(name) for name in ("server", "chatId", "part"))
    if not (isinstance(server, str) and isinstance(chat_id, str) and isinstance(listed, list)):
        return None
    part: dict[str, tuple[int, Value | None]] = {}
    for one in listed[:MAX_PEOPLE]:
        match one:
            case [str(person), int(stamp), None] if 0 <= stamp < MAX_STAMP:
                part[person] = stamp, None
            case [str(person), int(stamp), dict(value)] if 0 <= stamp < MAX_STAMP:
                part[person] = stamp, value
            case _:
                return None
    return server, SetKey(told.kind, told.session_id, chat_id), part
