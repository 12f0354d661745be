"""Reading: sessions, chats, messages.

A list's `position` is read before its data: the data, and then the events after the position, applied where
`updatedSeq` is not lower, give the present state. A cursor is the lowest `lastSeq` that was given: a chat only ever
moves up, so it is given once, and one that moves up meanwhile is in the events.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson
from aiohttp import web

from app import schemas
from app.auth import ALL_SESSIONS, Tokens
from app.domain.events import render_chat, render_message, render_position
from app.errors import AppError, Fault
from app.http.access import bearer, session_of
from app.storage.mongo import Store

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class Api:
    def __init__(self, tokens: Tokens, store: Store) -> None:
        self._tokens, self._store = tokens, store

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/api/v1/sessions", self.sessions)
        router.add_get("/api/v1/sessions/{session_id}/chats", self.chats)
        router.add_get("/api/v1/sessions/{session_id}/chats/{chat_id}/messages", self.messages)

    async def sessions(self, request: web.Request) -> web.Response:
        principal = bearer(request, self._tokens)
        if "read" not in principal.scopes:
            raise AppError("not_found", "Not found, or the token does not allow it.")
        named = {one for one in principal.sessions if schemas.SESSION_ID.match(one)}
        seqs = dict.fromkeys(named, 0)
        seqs |= await self._store.seqs(None if ALL_SESSIONS in principal.sessions else named)
        data = [{"sessionId": one, "position": self._position(seq)} for one, seq in sorted(seqs.items())]
        return _answer({"ok": True, "data": data})

    async def chats(self, request: web.Request) -> web.Response:
        session_id = session_of(request, self._tokens, "read")
        query = _query(request, "limit", "cursor")
        limit = _limit(query)
        before = _read_cursor(query["cursor"]) if "cursor" in query else None
        seq = await self._store.seq(session_id)
        found = await self._store.read_chats(session_id, before, limit + 1)
        page = found[:limit]
        following = _make_cursor(page[-1].last_seq) if len(found) > limit else None
        data = [render_chat(chat) for chat in page]
        return _answer({"ok": True, "data": data, "position": self._position(seq), "nextCursor": following})

    async def messages(self, request: web.Request) -> web.Response:
        session_id = session_of(request, self._tokens, "read")
        chat_id = schemas.load_chat_id(request.match_info["chat_id"])
        query = _query(request, "limit", "before", "after")
        limit = _limit(query)
        before, after = _number(query, "before"), _number(query, "after")
        if before is not None and after is not None:
            raise _invalid("after", "Either before or after, not both.")
        seq = await self._store.seq(session_id)
        found = await self._store.read_messages(session_id, chat_id, before=before, after=after, limit=limit + 1)
        page = found[:limit] if after is not None else found[-limit:]
        data = [render_message(message) for message in page]
        return _answer(
            {"ok": True, "data": data, "position": self._position(seq), "hasMore": len(found) > limit},
        )

    def _position(self, seq: int) -> dict[str, Any]:
        return render_position(self._store.position(seq))


def _answer(value: Any) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=orjson.dumps(value), content_type="application/json", headers=headers)


def _query(request: web.Request, *known: str) -> dict[str, str]:
    """The query's parameters, each given once at most. Raises AppError `invalid` for others."""
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            raise _invalid(name, f"Unknown parameter; there are: {', '.join(known)}.")
        if name in query:
            raise _invalid(name, "Given twice.")
        query[name] = value
    return query


def _limit(query: dict[str, str]) -> int:
    limit = _number(query, "limit")
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise _invalid("limit", f"Must be 1 to {MAX_LIMIT}.")
    return limit


def _number(query: dict[str, str], name: str) -> int | None:
    value = query.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 16 and int(value) <= schemas.MAX_INTEGER):
        raise _invalid(name, "Must be a whole number from 0 on.")
    return int(value)


def _make_cursor(last_seq: int) -> str:
    return base64.urlsafe_b64encode(f"c{last_seq}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> int:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        text = ""
    if not (text[:1] == "c" and text[1:].isdigit() and len(text) <= 17):
        raise _invalid("cursor", "Must be a nextCursor as it was given.")
    return int(text[1:])


def _invalid(name: str, detail: str) -> AppError:
    return AppError("invalid", f"{name[:50]}: {detail}", [Fault(f"#/{schemas.escape(name)}", detail)])
