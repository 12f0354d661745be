"""Reads revoked tokens from the database and closes the connections that use them.

Every server reads each second those that are new to it, so a revocation takes effect everywhere within seconds, also
after a restart and without a change stream. While the database does not answer, the known revocations stay in force.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from app.auth import Tokens
from app.domain.revocations import Revocation
from app.services.background import surviving
from app.services.closing import TOKEN_REVOKED
from app.services.connections import Connections

ASK_SECONDS: Final = 1.0


class Register(Protocol):
    """Where revocations are kept. `app.storage.mongo.Store` is one."""

    async def revocations(self, number: int) -> tuple[int, list[Revocation]]: ...


class Revoker:
    def __init__(self, register: Register, tokens: Tokens, connections: Connections) -> None:
        self._register, self._tokens, self._connections = register, tokens, connections
        self._number = 0
        """Of the last revocation that was read."""

    async def run(self) -> None:
        while True:
            with surviving("revocations_not_read"):
                await self.learn()
            await asyncio.sleep(ASK_SECONDS)

    async def learn(self) -> None:
        """Read the new revocations once. Raises Unavailable."""
        self._number, found = await self._register.revocations(self._number)
        if found:
            self._tokens.revoke(found)
            self._connections.close_where(self._tokens.is_revoked, TOKEN_REVOKED)
