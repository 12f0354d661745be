"""Reports to providers what agents have read and that they are typing, if the session's settings want it.

Nobody waits for this, and it is not repeated: losing a report does no harm.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

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


class Outward(Protocol):
    """Implemented by `app.http.outgoing.Outgoing`."""

    def tell_typing(self, session_id: str, chat_id: str, action: TypingAction) -> None: ...

    def tell_seen(self, session_id: str, seen: Seen) -> None: ...


class Telling:
    def __init__(self, store: Store, sessions: Sessions, bots: Bots, outward: Outward) -> None:
        self._store, self._sessions, self._bots, self._outward = store, sessions, bots, outward
        self._told: dict[tuple[str, str], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def typing(self, session_id: str, chat_id: str, action: TypingAction) -> None:
        """An agent is typing in the chat, or has stopped."""
        send = self._sessions.of(session_id).send
        if send.typing and send.via == "bot":
            self._bots.tell(session_id, "typing_out", {"sessionId": session_id, "chatId": chat_id, "action": action})
        elif send.typing:
            self._outward.tell_typing(session_id, chat_id, action)

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
                self._bots.tell(session_id, "read_out", seen.payload(session_id))
            else:
                self._outward.tell_seen(session_id, seen)
