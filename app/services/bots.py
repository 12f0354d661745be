"""Bots: connections that deliver the messages of sessions.

- A bot declares the sessions it serves. It gets one message of a chat at a time, and acknowledges each within
  ANSWER_SECONDS.
- The bots of a session on this server share its messages: the next one goes to a bot that has answered its last
  message, and of these to the one with the least to do.
- If a bot disconnects or does not answer, the message goes to the next one. A message keeps its id: if the bot passes
  the id to the provider, a repeat is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

from app.domain.deliveries import NOT_CONNECTED, Report
from app.domain.models import MAX_NAME, MessageError
from app.errors import AppError
from app.providers.outgoing import Order
from app.providers.payload import deliver_payload
from app.providers.refusals import AWAY, BOT_SILENT, rejected
from app.providers.values import as_id

ANSWER_SECONDS: Final = 30.0
MAX_UNDER_WAY: Final = 500
"""Maximum number of unacknowledged messages of one bot."""
MAX_SERVED: Final = 1_000
"""Maximum number of sessions that one bot may serve."""


class Asking(Protocol):
    """Sends to a connection and waits for its acknowledgement, implemented by `app.engine.Server`."""

    async def call(self, event: str, data: Any, *, sid: str, timeout: float) -> Any: ...

    def push(self, sid: str, event: str, *args: Any, ephemeral: bool = False) -> None: ...


class Allowed(Protocol):
    def __call__(self, sid: str, session_id: str) -> bool:
        """Whether the connection may deliver for the session now."""


class _Bot:
    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.sessions: set[str] = set()
        self.under_way = 0
        self.silent = False
        """Whether it did not answer its last message."""
        self.gone = asyncio.Event()


class Bots:
    def __init__(self, asking: Asking, allowed: Allowed, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._asking, self._allowed, self._seconds = asking, allowed, answer_seconds
        self._bots: dict[str, _Bot] = {}
        self._serving: dict[str, list[_Bot]] = {}
        self.on_serving: list[Callable[[str, bool], None]] = []
        """Called when a session gets its first bot on this server, and when it has lost the last one."""

    def serve(self, sid: str, session_id: str) -> None:
        """The connection delivers messages of the session from now on. Raises AppError `too_many_subscriptions`."""
        bot = self._bots.setdefault(sid, _Bot(sid))
        if session_id in bot.sessions:
            return
        if len(bot.sessions) >= MAX_SERVED:
            raise AppError("too_many_subscriptions", f"A connection may serve {MAX_SERVED} sessions.")
        bot.sessions.add(session_id)
        self._serving.setdefault(session_id, []).append(bot)
        if len(self._serving[session_id]) == 1:
            for told in self.on_serving:
                told(session_id, True)

    def gone(self, sid: str) -> None:
        """The connection has ended. Its unacknowledged messages go to other bots."""
        bot = self._bots.pop(sid, None)
        if bot is None:
            return
        bot.gone.set()
        for session_id in bot.sessions:
            self._stop(bot, session_id)

    def narrow(self, sid: str) -> None:
        """The connection has a new token: it no longer serves the sessions that this does not allow."""
        bot = self._bots.get(sid, _Bot(sid))
        for session_id in [one for one in bot.sessions if not self._allowed(sid, one)]:
            bot.sessions.remove(session_id)
            self._stop(bot, session_id)

    def _stop(self, bot: _Bot, session_id: str) -> None:
        self._serving[session_id].remove(bot)
        if not self._serving[session_id]:
            del self._serving[session_id]
            for told in self.on_serving:
                told(session_id, False)

    @property
    def sessions(self) -> Collection[str]:
        """The sessions with a bot on this server."""
        return self._serving.keys()

    def tell(self, session_id: str, event: str, payload: Mapping[str, Any]) -> bool:
        """Send something to one bot of the session, without waiting for an acknowledgement. Returns whether there is
        one."""
        bot = self._choose(session_id)
        if bot is not None:
            self._asking.push(bot.sid, event, payload, ephemeral=True)
        return bot is not None

    async def deliver(self, order: Order) -> Report:
        """Have a bot deliver the message. Reports `retry` if there is no bot, or if it does not answer or
        disconnects."""
        bot = self._choose(order.message.session_id)
        if bot is None:
            return Report("retry", error=NOT_CONNECTED)
        bot.under_way += 1
        try:
            answer = await self._ask(bot, deliver_payload(order))
        finally:
            bot.under_way -= 1
        bot.silent = answer is None
        if answer is None:
            return Report("retry", error=BOT_SILENT)
        return _report(answer)

    def broken(self, session_id: str) -> Report:
        return Report("retry", error=BOT_SILENT)  # it knows a repeat by its id

    def _choose(self, session_id: str) -> _Bot | None:
        able = [
            bot
            for bot in self._serving.get(session_id, ())
            if bot.under_way < MAX_UNDER_WAY and self._allowed(bot.sid, session_id)
        ]
        return min(able, key=lambda bot: (bot.silent, bot.under_way), default=None)

    async def _ask(self, bot: _Bot, payload: dict[str, Any]) -> Any:
        """The bot's acknowledgement. None if it does not answer in time, or disconnects."""
        call = asyncio.ensure_future(self._asking.call("deliver", payload, sid=bot.sid, timeout=self._seconds + 1))
        gone = asyncio.ensure_future(bot.gone.wait())
        try:
            await asyncio.wait({call, gone}, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
            return call.result() if call.done() else None
        finally:
            for task in (call, gone):
                task.cancel()
            await asyncio.gather(call, gone, return_exceptions=True)


def _report(answer: Any) -> Report:
    """The meaning of the bot's acknowledgement. An invalid one counts as no answer."""
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
        return Report("retry", error=BOT_SILENT)
    if answer["ok"]:
        return Report("sent", as_id(answer.get("messageId")))
    error = _error(answer.get("error"))
    return Report("retry" if answer.get("retry") is True else "failed", error=error)


def _error(told: Any) -> MessageError:
    code, title = (told.get("code"), told.get("title")) if isinstance(told, dict) else (None, None)
    if isinstance(code, str) and code and isinstance(title, str):
        return MessageError(code[:MAX_NAME], title[:MAX_NAME])
    return AWAY if told is None else rejected(str(told))
