"""Sending over HTTP: the same as `send_message`, for programs."""

from __future__ import annotations

import orjson
from aiohttp import web

from app import schemas
from app.http.access import Access
from app.http.bodies import Bodies, expect_later
from app.services.desk import Desk

MAX_BODY = 512 * 1024
MAX_VALUES = 1_000

_SCHEMA = schemas.MessageToSendSchema()


class Answers:
    def __init__(self, access: Access, bodies: Bodies, desk: Desk) -> None:
        self._access, self._bodies, self._desk = access, bodies, desk

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for slash in ("", "/"):
            path = "/api/v1/sessions/{session_id}/chats/{chat_id}/messages" + slash
            router.add_post(path, self.send, expect_handler=expect_later)

    async def send(self, request: web.Request) -> web.Response:
        principal = self._access.owner_of(request, "send")
        session_id, chat_id = request.match_info["session_id"], request.match_info["chat_id"]
        chat_id = schemas.load_chat_id(chat_id)
        value = await self._bodies.read_json(request, session_id, MAX_BODY, MAX_VALUES)
        payload = schemas.load(_SCHEMA, value) | {"sessionId": session_id, "chatId": chat_id}
        data = await self._desk.send(principal, payload)
        return web.Response(body=orjson.dumps({"ok": True, "data": data}), content_type="application/json")
