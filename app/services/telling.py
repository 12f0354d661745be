"""Tells providers what agents have read and that they are typing, and asks for the presence of contacts, if the
session's settings want it.

Nobody waits for this, and it is not repeated: losing a report does no harm. If the session's bot is connected to
another server, the report goes there over the bus.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from app.bus import Told
from app.domain.incoming import TypingAction
from app.providers.outgoing import Seen
from app.services.background import surviving
from app.services.bots import Bots
from app.session_settings import Sessions
from app.storage import deliveries as stored
from app.storage.mongo import Store

MAX_SEEN: Final = 50
"""Maximum number of messages of a chat reported as read at once: the last ones."""
MAX_TOLD: Final = 10_000
"""Number of chats for which it is remembered what was reported."""
UNDER_WAY: Final = 16
TYPING_SECONDS: Final = 4.0
"""Typing that goes on is told this often at most. Clients repeat it every 5 s."""
TO_BOTS: Final = "bots"
"""The kind of the values on the bus: what a bot on another server is to be told."""
_EVENTS: Final = ("typing_out", "read_out", "presence_subscribe")


class Outward(Protocol):
    """Implemented by `app.http.outgoing.Outgoing`."""

    def tell_typing(self, session_id: str, chat_id: str, action: TypingAction) -> None: ...

    def tell_seen(self, session_id: str, seen: Seen) -> None: ...

    def ask_presence(self, session_id: str, chat_id: str) -> None: ...


class Telling:
    def __init__(
        self, store: Store, sessions: Sessions, bots: Bots, outward: Outward, tell: Callable[[Told], None]
    ) -> None:
        """`tell` sends to the other servers."""
        self._store, self._sessions, self._bots, self._outward = store, sessions, bots, outward
        self._tell = tell
        self._told: dict[tuple[str, str], int] = {}
        self._typing: dict[tuple[str, str], tuple[TypingAction, float]] = {}
        """What was last told of each chat, and when."""
        self._tasks: set[asyncio.Task[None]] = set()

    def typing(self, session_id: str, chat_id: str, action: TypingAction) -> None:
        """Agents are typing in the chat, or have stopped. Does nothing if that was told already."""
        send = self._sessions.of(session_id).send
        before, at = self._typing.pop((session_id, chat_id), ("stopped", float("-inf")))
        now = time.monotonic()
        if not send.typing or (action == before and (action == "stopped" or now - at < TYPING_SECONDS)):
            if before != "stopped":
                self._typing[session_id, chat_id] = before, at
            return
        if action != "stopped":
            self._typing[session_id, chat_id] = action, now
            if len(self._typing) > MAX_TOLD:
                del self._typing[next(iter(self._typing))]
        if send.via == "bot":
            self._tell_bot(session_id, "typing_out", {"chatId": chat_id, "action": action})
        else:
            self._outward.tell_typing(session_id, chat_id, action)

    def ask_presence(self, session_id: str, chat_id: str) -> None:
        """Ask for the presence of the chat's contact: agents look at it."""
        send = self._sessions.of(session_id).send
        if send.presence and send.via == "bot":
            self._tell_bot(session_id, "presence_subscribe", {"chatId": chat_id})
        elif send.presence:
            self._outward.ask_presence(session_id, chat_id)

    def hear(self, told: Told) -> None:
        """Another server has something for a bot of the session. What is not known is ignored."""
        event, payload = told.value.get("event"), told.value.get("payload")
        if event in _EVENTS and isinstance(payload, dict):
            self._bots.tell(told.session_id, event, payload)

    def _tell_bot(self, session_id: str, event: str, payload: Mapping[str, Any]) -> None:
        payload = {"sessionId": session_id, **payload}
        if not self._bots.tell(session_id, event, payload):
            self._tell(Told(session_id, TO_BOTS, {"event": event, "payload": payload}))

    def read(self, session_id: str, chat_id: str, seq: int) -> None:
        """The chat was read up to this number."""
        told = self._told.get((session_id, chat_id), 0)
        wanted = self._sessions.of(session_id).send.read_receipts
        if not wanted or seq <= told or len(self._tasks) >= UNDER_WAY:
            return
        self._told[session_id, chat_id] = seq
        if len(self._told) > MAX_TOLD:
            del self._told[next(iter(self._told))]
        task = asyncio.create_task(self._read(session_id, chat_id, told, seq))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, session_id: str, chat_id: str, above: int, upto: int) -> None:
        with surviving("reading_not_told"):
            found = await self._store.ask(stored.seen_in, session_id, chat_id, above, upto, MAX_SEEN)
            if not found:
                return
            seen = Seen(chat_id, [(one.message_id, one.sender.id) for one in found])
            if self._sessions.of(session_id).send.via == "bot":
                self._tell_bot(session_id, "read_out", seen.payload(session_id))
            else:
                self._outward.tell_seen(session_id, seen)
