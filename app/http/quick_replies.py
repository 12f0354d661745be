"""The texts that the agents of a session share: read and replaced as one list."""

from __future__ import annotations

import orjson
from aiohttp import web

from app import schemas
from app.http.access import Access
from app.http.bodies import Bodies, expect_later
from app.storage import quick_replies
from app.storage.mongo import Store

MAX_BODY = 1024 * 1024
MAX_VALUES = 2_000


class QuickReplies:
    def __init__(self, access: Access, bodies: Bodies, store: Store) -> None:
        self._access, self._bodies, self._store = access, bodies, store

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for slash in ("", "/"):
            path = "/api/v1/sessions/{session_id}/quick-replies" + slash
            router.add_get(path, self.read)
            router.add_put(path, self.write, expect_handler=expect_later)

    async def read(self, request: web.Request) -> web.Response:
        session_id = self._access.session_of(request, "read")
        return _answer(await self._store.ask(quick_replies.read, session_id))

    async def write(self, request: web.Request) -> web.Response:
        session_id = self._access.session_of(request, "write")
        value = await self._bodies.read_json(request, session_id, MAX_BODY, MAX_VALUES)
        replies = schemas.load_quick_replies(value)
        await self._store.ask(quick_replies.write, session_id, replies)
        return _answer(replies)


def _answer(replies: object) -> web.Response:
    body = orjson.dumps({"ok": True, "data": replies})
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})
