"""Agents' actions on chats and messages: authorization, the command, and the answer.

Everything is answered after it is stored. Forbidden things are answered like missing ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.auth import Principal
from app.domain.assigning import AssignChat, SetChatState
from app.domain.commands import MarkRead
from app.domain.events import Wire, now, render_chat, render_message
from app.domain.known import Command
from app.domain.models import Agent, Chat, Message
from app.domain.sending import CancelMessage, RetryMessage, SendMessage
from app.errors import AppError
from app.schemas import load_media
from app.services.bots import Bots
from app.services.deliveries import Deliveries
from app.services.ingest import Ingest
from app.services.telling import Telling

Payload = Mapping[str, Any]

_REFUSED = "The token does not allow this, or it does not exist."


class Desk:
    def __init__(self, ingest: Ingest, deliveries: Deliveries, bots: Bots, telling: Telling) -> None:
        self._ingest, self._deliveries, self._bots, self._telling = ingest, deliveries, bots, telling

    async def send(self, principal: Principal, payload: Payload) -> Wire:
        """Send a message, given a payload of `SendMessageSchema`. Raises AppError: `conflict`, `forbidden`, `invalid`
        …"""
        session_id, media = payload["sessionId"], payload.get("media")
        command = SendMessage(
            now(),
            payload["chatId"],
            Agent(principal.sub, principal.name),
            payload["clientId"],
            payload.get("text") or None,
            load_media(media) if media else None,
            payload.get("replyTo"),
            payload.get("after"),
            self._deliveries.holder(session_id),
            size=1024 + 2 * len(payload.get("text") or ""),
        )
        return await self._change_message(principal, session_id, command)

    async def retry(self, principal: Principal, payload: Payload) -> Wire:
        session_id = payload["sessionId"]
        command = RetryMessage(payload["chatId"], payload["messageId"], self._deliveries.holder(session_id))
        return await self._change_message(principal, session_id, command)

    async def cancel(self, principal: Principal, payload: Payload) -> Wire:
        command = CancelMessage(payload["chatId"], payload["messageId"])
        return await self._change_message(principal, payload["sessionId"], command)

    async def assign(self, principal: Principal, payload: Payload) -> Wire:
        told = payload["assignee"]
        assignee = told and Agent(told["id"], told.get("name"))
        command = AssignChat(payload["chatId"], assignee, "expected" in payload, payload.get("expected"))
        return await self._change_chat(principal, payload["sessionId"], command)

    async def set_state(self, principal: Principal, payload: Payload) -> Wire:
        command = SetChatState(payload["chatId"], payload["state"])
        return await self._change_chat(principal, payload["sessionId"], command)

    async def mark_read(self, principal: Principal, payload: Payload) -> Wire:
        answer = await self._change_chat(principal, payload["sessionId"], MarkRead(payload["chatId"], payload["seq"]))
        self._telling.read(payload["sessionId"], answer["chat"]["chatId"], answer["chat"]["readSeq"])
        return answer

    def renewed(self, sid: str) -> None:
        """The connection has a new token."""
        self._bots.narrow(sid)

    def serve(self, sid: str, session_id: str) -> None:
        """A bot delivers messages of the session from now on, beginning with those that are waiting for one."""
        self._bots.serve(sid, session_id)
        self._deliveries.look(session_id)

    def gone(self, sid: str) -> None:
        """A connection, possibly a bot's, has ended."""
        self._bots.gone(sid)

    async def _change_message(self, principal: Principal, session_id: str, command: Command) -> Wire:
        message = await self._apply(principal, "send", session_id, command)
        if not isinstance(message, Message):
            raise AppError("forbidden", _REFUSED)
        return {"message": render_message(message)}

    async def _change_chat(self, principal: Principal, session_id: str, command: Command) -> Wire:
        chat = await self._apply(principal, "write", session_id, command)
        if not isinstance(chat, Chat):
            raise AppError("forbidden", _REFUSED)
        rendered = render_chat(chat)
        if not principal.may("read", session_id):
            rendered |= {"name": None, "lastMessage": None}  # the scope write does not include reading
        return {"chat": rendered}

    async def _apply(self, principal: Principal, scope: str, session_id: str, command: Command) -> object:
        if not principal.may(scope, session_id):
            raise AppError("forbidden", _REFUSED)
        try:
            return await self._ingest.apply(session_id, command)
        except AppError as error:
            if error.details is not None and not principal.may("read", session_id):
                raise AppError(error.code, error.detail) from None
            raise
