"""Which contacts are online, as their provider reports it.

Providers report changes only, so the last report holds for PRESENCE_SECONDS. It is forgotten when the server that got
it ends, or when the account is no longer connected: not to know is better than to show something old.

While agents look at a chat, the provider is asked for the contact's presence every ASK_SECONDS, if the session's
settings want it (`send.presence`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from app.domain.events import format_time
from app.domain.incoming import PresenceSignal
from app.services.leases import Clock, SetKey
from app.services.sets import Sets
from app.services.typing import PROVIDER
from app.services.viewers import VIEWERS

PRESENCE: Final = "presence"
PRESENCE_SECONDS: Final = 600.0
ASK_SECONDS: Final = 60.0


class Presence:
    def __init__(self, sets: Sets, ask: Callable[[str, str], None], clock: Clock = time.monotonic) -> None:
        """`ask` asks the provider for the presence of a chat, given the sessionId and the chatId."""
        self._sets, self._ask, self._clock = sets, ask, clock
        self._asked: dict[SetKey, float] = {}
        """The viewers' sets of the chats that are asked for, and when; the oldest first."""

    def contact(self, session_id: str, signal: PresenceSignal) -> None:
        """A provider reports that a contact is online, or when it last was."""
        key = SetKey(PRESENCE, session_id, signal.chat_id)
        seen = format_time(signal.last_seen) if signal.last_seen else None
        value = {"id": signal.sender.id, "state": signal.state, "lastSeen": seen}
        self._sets.say(key, signal.sender.id, PROVIDER, value, PRESENCE_SECONDS)

    def look(self, session_id: str, chat_id: str) -> None:
        """An agent on this server looks at the chat."""
        key = SetKey(VIEWERS, session_id, chat_id)
        if key not in self._asked:
            self._asked[key] = self._clock()
            self._ask(session_id, chat_id)

    def ask_again(self, session_id: str) -> None:
        """Ask now for all chats of the session that are looked at: whoever was asked may have forgotten it."""
        for key in list(self._asked):
            if key.session_id == session_id:
                del self._asked[key]
                if self._sets.holds(key):
                    self.look(session_id, key.chat_id)

    def look_again(self) -> None:
        """Ask again where somebody still looks, and forget the other chats. To be called every few seconds."""
        now = self._clock()
        for key, at in list(self._asked.items()):
            if now - at < ASK_SECONDS:
                break
            del self._asked[key]
            if self._sets.holds(key):
                self.look(key.session_id, key.chat_id)
