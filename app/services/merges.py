"""Finishes merges of chats that were started by a server that was killed.

The server that merges two chats moves their messages in steps. Every LOOK_SECONDS, each server looks for unfinished
merges. If no message of a merge has moved since the last look, the server continues it. Several servers may continue
the same merge: a step that was already done does nothing.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

import structlog

from app.domain.incoming import Contact
from app.domain.merges import MoveMessages
from app.domain.people import TellContacts
from app.services.background import surviving
from app.services.ingest import Ingest
from app.storage.mongo import Store

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 3.0


class Merges:
    def __init__(self, store: Store, ingest: Ingest) -> None:
        self._store, self._ingest = store, ingest
        self._to_unite = list(store.to_unite)
        self._left: dict[tuple[str, str, str], int | None] = {}

    async def run(self) -> None:
        while True:
            with surviving("merges_not_resumed"):
                await self._look()
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311

    async def _look(self) -> None:
        """Raises Unavailable, in which case the next look continues."""
        while self._to_unite:
            session_id, alias = self._to_unite[-1]
            await self._ingest.store(session_id, [TellContacts([Contact(alias.address, aliases=[alias.lid])])])
            self._to_unite.pop()
        before, self._left = self._left, await self._store.merging()
        for merge, first in self._left.items():
            if merge in before and before[merge] == first:
                session_id, old, chat_id = merge
                log.info("merge_resumed", session_id=session_id)
                # The other steps follow automatically.
                await self._ingest.store(session_id, [MoveMessages(old, chat_id)])
