"""Delivering over HTTP: one request for each attempt, to the address that the session's settings name.

- Redirects are not followed, and no proxy of the environment is used.
- An attempt ends within SECONDS. Where the connection could not be made, nothing was sent, and it is tried again. Where
  it broke later, the message may have arrived: unless the receiver knows a repeat, the outcome is unknown.
- A provider that takes no id of ours gets a connection of its own for each request: on one that is kept, the other side
  may be hanging up just as the request goes out, and then nobody would know.
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
from app.providers.outgoing import Answer, Order, Request, Seen, Way
from app.providers.refusals import AWAY
from app.providers.ways import WAYS
from app.session_settings import Sessions

log = structlog.get_logger(__name__)

SECONDS: Final = 20.0
CONNECT_SECONDS: Final = 5.0
MAX_ANSWER: Final = 64 * 1024
MAX_RETRY_AFTER: Final = 300.0
TELLING: Final = 16
"""Requests under way, in all, that tell of typing and reading; what finds no room is left out."""


class Outgoing:
    def __init__(self, sessions: Sessions, *, seconds: float = SECONDS) -> None:
        self._sessions, self._seconds = sessions, seconds
        self._http: aiohttp.ClientSession | None = None
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def sessions(self) -> list[str]:
        """The sessions whose messages leave this way."""
        return self._sessions.over_http()

    async def deliver(self, order: Order) -> Report:
        """One attempt."""
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
            return _broken(way)

    def tell_typing(self, session_id: str, chat_id: str, action: TypingAction) -> None:
        """Tell the provider that an agent types. It may be left out."""
        send = self._sessions.of(session_id).send
        self._tell(WAYS[send.via].typing(chat_id, action, send))

    def tell_seen(self, session_id: str, seen: Seen) -> None:
        """Tell the provider what was read. It may be left out."""
        settings = self._sessions.of(session_id)
        self._tell(WAYS[settings.send.via].seen(seen, settings.send, settings.source.phone_number_id))

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


def _broken(way: Way) -> Report:
    return Report("retry", error=AWAY) if way.idempotent else Report("unknown", error=UNKNOWN_OUTCOME)


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except ValueError:
        return None


def _seconds(value: str) -> float:
    """`Retry-After` in seconds; 0 for a date or anything else."""
    return min(float(value), MAX_RETRY_AFTER) if value.isascii() and value.isdigit() and len(value) < 9 else 0.0
