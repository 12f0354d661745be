"""Client events over Socket.IO. For each event, the payload is validated, a service called, and its answer returned.

Every answer is `{"ok": true, "data": …}` or `{"ok": false, "error": {"code", "message", "details"?}}`.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import socketio
import structlog
from marshmallow import Schema
from socketio.exceptions import ConnectionRefusedError as Refused

from app import schemas
from app.auth import Tokens
from app.errors import AppError, Fault
from app.metrics import Metrics
from app.services.attendance import Attendance
from app.services.closing import TOKEN_REVOKED
from app.services.connections import Connections
from app.services.desk import Desk
from app.services.subscriptions import Subscriptions

log = structlog.get_logger(__name__)

Self = TypeVar("Self", bound="InboxNamespace")
Payload = dict[str, Any]
Command = Callable[[Self, str, Payload], Awaitable[Payload]]


def command(schema: type[Schema]) -> Callable[[Command[Self]], Callable[..., Awaitable[Payload]]]:
    """Declare a handler that takes one payload of this schema and returns the answer's data."""
    loader = schema()

    def declare(handle: Command[Self]) -> Callable[..., Awaitable[Payload]]:
        @functools.wraps(handle)
        async def handler(self: Self, sid: str, *args: object) -> Payload:
            try:
                if len(args) != 1:
                    raise AppError("invalid", "Send one object.", [Fault("#", f"{len(args)} arguments.")])
                return {"ok": True, "data": await handle(self, sid, schemas.load(loader, args[0]))}
            except AppError as error:
                self.metrics.refused.labels(error.code).inc()
                log.info("event_refused", event_name=handle.__name__, connection_id=sid, code=error.code)
                return {"ok": False, "error": error.render()}

        return handler

    return declare


class InboxNamespace(socketio.AsyncNamespace):  # type: ignore[misc]  # python-socketio has no types
    def __init__(
        self,
        tokens: Tokens,
        connections: Connections,
        subscriptions: Subscriptions,
        desk: Desk,
        attendance: Attendance,
        metrics: Metrics,
    ) -> None:
        super().__init__("/")
        self.tokens, self.desk, self.metrics = tokens, desk, metrics
        self.connections, self.subscriptions, self.attendance = connections, subscriptions, attendance

    async def on_connect(self, sid: str, environ: object, auth: object = None) -> None:
        auth = auth if isinstance(auth, dict) else {}
        try:
            principal = self.tokens.verify(auth.get("token"))
            await self.connections.connect(
                sid,
                principal,
                recover=auth.get("recovery") is True,
                pid=auth.get("pid"),
                offset=auth.get("offset"),
            )
        except AppError as error:
            self.metrics.refused.labels(error.code).inc()
            log.info("connection_refused", connection_id=sid, code=error.code)
            raise Refused(error.code, {"code": error.code}) from error
        if self.tokens.is_revoked(principal):  # revoked meanwhile, so it was not closed with the others
            self.connections.disconnect(sid, TOKEN_REVOKED)
            raise Refused("unauthorized", {"code": "unauthorized"})
        log.debug("connected", connection_id=sid)

    async def on_disconnect(self, sid: str, reason: str | None = None) -> None:
        self.connections.disconnect(sid, reason)
        self.desk.gone(sid)
        self.attendance.gone(sid)
        log.debug("disconnected", connection_id=sid, reason=reason)

    @command(schemas.SubscribeSchema)
    async def on_subscribe(self, sid: str, payload: Payload) -> Payload:
        position = schemas.load_position(payload.get("position"))
        return await self.subscriptions.subscribe(
            self.connections.get(sid), payload["sessionId"], payload.get("chatId"), position, payload.get("batch")
        )

    @command(schemas.UnsubscribeSchema)
    async def on_unsubscribe(self, sid: str, payload: Payload) -> Payload:
        self.subscriptions.unsubscribe(self.connections.get(sid), payload["sessionId"], payload.get("chatId"))
        return {}

    @command(schemas.MarkReadSchema)
    async def on_mark_read(self, sid: str, payload: Payload) -> Payload:
        return await self.desk.mark_read(self.connections.get(sid).principal, payload)

    @command(schemas.SendMessageSchema)
    async def on_send_message(self, sid: str, payload: Payload) -> Payload:
        return await self.desk.send(self.connections.get(sid).principal, payload)

    @command(schemas.SentMessageSchema)
    async def on_retry_message(self, sid: str, payload: Payload) -> Payload:
        return await self.desk.retry(self.connections.get(sid).principal, payload)

    @command(schemas.SentMessageSchema)
    async def on_cancel_message(self, sid: str, payload: Payload) -> Payload:
        return await self.desk.cancel(self.connections.get(sid).principal, payload)

    @command(schemas.AssignChatSchema)
    async def on_assign_chat(self, sid: str, payload: Payload) -> Payload:
        return await self.desk.assign(self.connections.get(sid).principal, payload)

    @command(schemas.ChatStateSchema)
    async def on_set_chat_state(self, sid: str, payload: Payload) -> Payload:
        return await self.desk.set_state(self.connections.get(sid).principal, payload)

    @command(schemas.TypingSchema)
    async def on_typing(self, sid: str, payload: Payload) -> Payload:
        connection = self.connections.get(sid)
        self.attendance.typing(connection, payload["sessionId"], payload["chatId"], payload["action"])
        return {}

    @command(schemas.ViewSchema)
    async def on_view(self, sid: str, payload: Payload) -> Payload:
        self.attendance.view(self.connections.get(sid), payload["sessionId"], payload["chatId"])
        return {}

    @command(schemas.ServeSchema)
    async def on_serve(self, sid: str, payload: Payload) -> Payload:
        session_id = payload["sessionId"]
        if not self.connections.get(sid).principal.may("deliver", session_id):
            raise AppError("forbidden", "The token does not allow this session, or it does not exist.")
        self.desk.serve(sid, session_id)
        return {}

    @command(schemas.AuthenticateSchema)
    async def on_authenticate(self, sid: str, payload: Payload) -> Payload:
        try:
            principal = self.tokens.verify(payload["token"])
        except AppError as error:
            raise AppError("forbidden", "The token is not valid.") from error
        self.connections.authenticate(sid, principal)
        self.desk.renewed(sid)
        self.attendance.renewed(self.connections.get(sid))
        return {"exp": principal.exp}
