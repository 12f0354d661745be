"""Which agents look at a chat, so that two of them do not answer at once.

Viewers are people, not connections: an agent in five tabs is in the set once, since the first of them. A connection
views one chat at a time. An agent who leaves stays for LINGER_SECONDS, so that a reload does not flicker; so does one
whose connection has ended, or whose token has expired or lost its right.
"""

from __future__ import annotations

import time
from typing import Final

from app.auth import Principal
from app.domain.events import format_time, now
from app.services.leases import SetKey
from app.services.sets import Sets

VIEWERS: Final = "viewers"
LINGER_SECONDS: Final = 10.0


class Viewers:
    def __init__(self, sets: Sets) -> None:
        self._sets = sets
        self._of: dict[str, tuple[SetKey, str]] = {}
        """What each connection views, and its person."""

    def view(self, sid: str, principal: Principal, session_id: str, chat_id: str | None) -> None:
        """The connection shows this chat from now on, and no other. None: it shows none of the session. The caller has
        checked the right."""
        if chat_id is None:
            self.end(sid, session_id)
            return
        key, person = SetKey(VIEWERS, session_id, chat_id), principal.sub
        if self._of.get(sid) != (key, person):
            self.end(sid)
        there = self._sets.people(key).get(person)
        since = there["since"] if there is not None else format_time(now())
        value = {"id": person, "name": principal.name, "since": since}
        self._of[sid] = key, person
        self._sets.say(key, person, sid, value, principal.exp - time.time() + LINGER_SECONDS)

    def viewed(self, sid: str) -> SetKey | None:
        """The set of the chat that the connection views."""
        return self._of[sid][0] if sid in self._of else None

    def end(self, sid: str, session_id: str | None = None) -> None:
        """The connection has ended, may no longer read the session, or shows none of its chats any more."""
        key, person = self._of.get(sid, (None, ""))
        if key is not None and session_id in (None, key.session_id):
            del self._of[sid]
            self._sets.leave(key, person, sid, after=LINGER_SECONDS)
