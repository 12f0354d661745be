"""Delivers messages over HTTP: one request per attempt, to the address in the session's settings.

- Redirects are not followed, and proxies from the environment are not used.
- An attempt ends within SECONDS. If the connection cannot be made, nothing was sent, and the attempt is repeated. If it
  breaks later, the message may have arrived: unless the receiver recognizes repeats, the outcome is unknown.
- For a provider that accepts no id of ours, each request uses a new connection. A kept-alive one may be closed by the
  other side just when the request is sent, and the outcome would be unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import aiohttp
import orjson
import structlog

from app.domain.deliveries import UNKNOWN_OUTCOME, Report
from app.domain.events import now
from app.domain.incoming import TypingAction
from app.domain.models import MessageError
from app.providers.outgoing import Answer, Order, Request, Seen
from app.providers.refusals import AWAY
from app.providers.ways import WAYS
from app.session_settings import Sessions

log = structlog.get_logger(__name__)

SECONDS: Final = 20.0
CONNECT_SECONDS: Final = 5.0
MAX_ANSWER: Final = 64 * 1024
MAX_RETRY_AFTER: Final = 300.0
TELLING: Final = 16
"""Maximum number of concurrent requests about typing and reading; more are dropped."""


class Outgoing:
    def __init__(self, sessions: Sessions, *, seconds: float = SECONDS) -> None:
        self._sessions, self._seconds = sessions, seconds
        self._http: aiohttp.ClientSession | None = None
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def sessions(self) -> frozenset[str]:
        """The sessions whose messages are sent this way."""
        return self._sessions.over_http

    async def deliver(self, order: Order) -> Report:
        """Make one attempt."""
        send = self._sessions.of(order.message.session_id).send
        way = WAYS[send.via]
        request = way.request(order, send, now())
        if isinstance(request, MessageError):
            return Report("failed", error=request)
        try:
            return way.read(await self._post(request, keep=way.idempotent))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL):
            return Report("retry", error=AWAY)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return self.broken(order.message.session_id)

    def broken(self, session_id: str) -> Report:
        """What an attempt means whose request was not answered."""
        idempotent = WAYS[self._sessions.of(session_id).send.via].idempotent
        return Report("retry", error=AWAY) if idempotent else Report("unknown", error=UNKNOWN_OUTCOME)

    def tell_typing(self, session_id: str, chat_id: str, action: TypingAction) -> None:
        """Tell the provider that an agent is typing. May be dropped."""
        send = self._sessions.of(session_id).send
        self._tell(WAYS[send.via].typing(chat_id, action, send))

    def tell_seen(self, session_id: str, seen: Seen) -> None:
        """Tell the provider what was read. May be dropped."""
        settings = self._sessions.of(session_id)
        self._tell(WAYS[settings.send.via].seen(seen, settings.send, settings.source.phone_number_id))

    def ask_presence(self, session_id: str, chat_id: str) -> None:
        """Ask the provider to report the presence of the chat's contact. May be dropped."""
        send = self._sessions.of(session_id).send
        self._tell(WAYS[send.via].presence(chat_id, send))

    async def close(self) -> None:
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def _tell(self, request: Request | None) -> None:
        if request is not None and len(self._telling) < TELLING:
            task = asyncio.create_task(self._tell_now(request))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell_now(self, request: Request) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            answer = await self._post(request, keep=True)
            if answer.status >= 300:
                log.info("provider_not_told", status=answer.status)

    async def _post(self, request: Request, *, keep: bool) -> Answer:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=self._seconds, sock_connect=CONNECT_SECONDS)
            self._http = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        headers = dict(request.headers) | ({} if keep else {"Connection": "close"})
        async with self._http.post(request.url, data=request.body, headers=headers, allow_redirects=False) as response:
            raw = await response.content.read(MAX_ANSWER)
            return Answer(response.status, _json(raw), _seconds(response.headers.get("Retry-After", "")))


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except ValueError:
        return None


def _seconds(value: str) -> float:
    """`Retry-After` in seconds; 0 for a date or anything else."""
    return min(float(value), MAX_RETRY_AFTER) if value.isascii() and value.isdigit() and len(value) < 9 else 0.0
