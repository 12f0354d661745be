"""The state of each session's account at its provider, and whether its messages can be sent.

- A report is sent to clients at once, and stored in the background, so that the webhook does not wait for the database.
  The state of the newest report is right after a restart, too. `since` is the first report of the same state.
- Reports go to the other servers over the bus. Since a bus may lose them, each server reads the states of its watched
  sessions every REFRESH_SECONDS.
- Clients get `session` after a subscription and whenever it changes. `available` says whether a delivery could be made
  now: over HTTP always, by bots while one is connected to any server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, get_args

from app.bus import Told
from app.domain import rooms
from app.domain.accounts import Account, render_account
from app.domain.events import Wire, now
from app.domain.incoming import ConnectionSignal, ConnectionState
from app.services.background import surviving
from app.services.sender import Sender
from app.session_settings import Sessions
from app.storage import accounts as stored
from app.storage.mongo import Store

SESSION: Final = "session"
CONNECTION: Final = "connection"
"""The kind of the values on the bus."""
MAX_KNOWN: Final = 10_000
READ_AT_ONCE: Final = 1_000
REFRESH_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 1.0


class Accounts:
    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        sender: Sender,
        tell: Callable[[Told], None],
        watched: Callable[[], Iterable[str]],
        has_bot: Callable[[str], bool],
    ) -> None:
        """`tell` sends to the other servers. `watched`: the sessions with subscribers on this server. `has_bot`:
        whether a bot delivers the session's messages, on any server."""
        self._store, self._sessions, self._sender = store, sessions, sender
        self._tell, self._watched, self._has_bot = tell, watched, has_bot
        self._known: dict[str, Account | None] = {}
        """The newest report of each session, where there is one; the least recently used first."""
        self._unstored: dict[str, Account] = {}
        self._shown: dict[str, Wire] = {}
        """What subscribers of watched sessions were last sent."""
        self._wanted: dict[str, None] = {}
        """Sessions that new subscribers wait for."""
        self._reader: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    # reports

    def reported(self, session_id: str, signal: ConnectionSignal) -> None:
        """A provider reports the account's state."""
        at = now()
        account = self._learn(session_id, Account(signal.state, signal.detail, at, at))
        if len(self._unstored) < MAX_KNOWN or session_id in self._unstored:
            self._unstored[session_id] = account
        self._news.set()
        self.tell_again(session_id)

    def tell_again(self, session_id: str) -> None:
        """Tell the other servers what is known of the session here, if anything."""
        account = self._known.get(session_id)
        if account is None:
            return
        since, told_at = int(account.since.timestamp() * 1000), int(account.at.timestamp() * 1000)
        value = {"state": account.state, "detail": account.detail, "since": since, "at": told_at}
        self._tell(Told(session_id, CONNECTION, value))

    def hear(self, told: Told) -> Account | None:
        """Another server has got a report. What cannot be read is ignored: other versions may tell other things.
        Returns the state as it is now."""
        account = _read(told.value)
        return account and self._learn(told.session_id, account)

    def _learn(self, session_id: str, account: Account) -> Account:
        account = account.after(self._known.pop(session_id, None))
        self._keep(session_id, account)
        self.changed(session_id)
        return account

    def _keep(self, session_id: str, account: Account | None) -> None:
        self._known.pop(session_id, None)
        self._known[session_id] = account
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    # to clients

    def render(self, session_id: str, account: Account | None) -> Wire:
        """`session` of the contract."""
        settings = self._sessions.of(session_id)
        via = settings.send.via
        return {
            "sessionId": session_id,
            "name": settings.name,
            "connection": render_account(account),
            "sending": {"via": via, "available": via != "bot" or self._has_bot(session_id)},
        }

    def changed(self, session_id: str) -> None:
        """Something of `session` may have changed: send it to subscribers if it has."""
        before = self._shown.get(session_id)
        if before is None:
            return  # nobody was sent it, or not yet
        event = self.render(session_id, self._known.get(session_id))
        if event != before:
            self._shown[session_id] = event
            self._sender.publish(SESSION, event, rooms=(rooms.account(session_id),))

    async def present(self, session_id: str, sid: str) -> None:
        """Send `session` to a new subscriber."""
        if session_id not in self._known:
            self._wanted[session_id] = None
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(self._read_wanted())
            await asyncio.wait([self._reader])
        event = self.render(session_id, self._known.get(session_id))
        self._shown.setdefault(session_id, event)
        self._sender.push(sid, SESSION, event)

    async def describe(self, session_ids: Collection[str]) -> dict[str, Wire]:
        """`session` of each of these. Raises Unavailable."""
        found = await self._store.ask(stored.read, session_ids)
        return {one: self.render(one, self._newest(one, found.get(one))) for one in session_ids}

    async def names(self, after: str, limit: int) -> list[str]:
        """The sessions with a stored state, in order, above `after`. Raises Unavailable."""
        return await self._store.ask(stored.names, after, limit)

    def _newest(self, session_id: str, account: Account | None) -> Account | None:
        known = self._known.get(session_id)
        return known if known is not None and (account is None or known.at > account.at) else account

    # the database

    async def run(self) -> None:
        """Store reports and read those of watched sessions, forever."""
        refreshed = float("-inf")
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, refreshed + REFRESH_SECONDS - loop.time())):
                    await self._news.wait()
            self._news.clear()
            with surviving("account_not_stored"):
                await self._save()
            if self._unstored:
                self._news.set()
                await asyncio.sleep(RETRY_SECONDS)
            elif loop.time() - refreshed >= REFRESH_SECONDS:
                refreshed = loop.time()
                with surviving("account_not_read"):
                    await self._refresh()

    async def _save(self) -> None:
        while self._unstored:
            session_id, account = next(iter(self._unstored.items()))
            saved = await self._store.ask(stored.save, session_id, account)
            if self._unstored.get(session_id) is account:
                del self._unstored[session_id]
            self._take(session_id, saved)

    async def _refresh(self) -> None:
        watched = list(self._watched())
        self._shown = {one: event for one, event in self._shown.items() if one in set(watched)}
        await self._read_all(watched)

    async def _read_wanted(self) -> None:
        """Read what subscribers wait for, many sessions at a time."""
        with surviving("account_not_read"):
            while self._wanted:
                wanted, self._wanted = list(self._wanted), {}
                await self._read_all(wanted)

    async def _read_all(self, session_ids: Sequence[str]) -> None:
        for first in range(0, len(session_ids), READ_AT_ONCE):
            await self._read(session_ids[first : first + READ_AT_ONCE])

    async def _read(self, session_ids: Collection[str]) -> None:
        found = await self._store.ask(stored.read, session_ids)
        for one in session_ids:
            self._take(one, found.get(one))

    def _take(self, session_id: str, account: Account | None) -> None:
        """What is stored, unless something newer is known."""
        self._keep(session_id, self._newest(session_id, account))
        self.changed(session_id)


def _read(value: Any) -> Account | None:
    state = value.get("state")
    known = next((one for one in get_args(ConnectionState) if one == state), None)
    detail, since, at = value.get("detail"), value.get("since"), value.get("at")
    if known is None or not isinstance(detail, str | None) or not isinstance(since, int) or not isinstance(at, int):
        return None
    try:
        return Account(known, detail, *(datetime.fromtimestamp(one / 1000, UTC) for one in (since, at)))
    except (ValueError, OverflowError, OSError):
        return None
