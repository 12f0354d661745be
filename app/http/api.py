"""The REST API for reading sessions, chats and messages.

A list's `position` is read before its data, so the data plus the events after the position, applied where `updatedSeq`
is not lower, give the present state. The cursor of chats is the lowest `lastSeq` listed so far. A chat only moves up,
so it is listed once, and a chat that moves up meanwhile is in the events.

Lists are limited in bytes and number, and are read from the database in steps. A token may have a few requests at a
time, until the client has read the answers; others wait.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import orjson
from aiohttp import web

from app import fields, schemas
from app.auth import ALL_SESSIONS
from app.domain.events import render_chat, render_message, render_position
from app.domain.models import Message
from app.errors import AppError, Fault, RateLimited
from app.http.access import Access
from app.http.listener import GuardedHandler
from app.services.accounts import Accounts
from app.storage.mongo import Store
from app.turns import Turns

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
MAX_BYTES: Final = 1024 * 1024
"""Maximum size of a list, which always has at least one item."""
FIRST_STEP: Final = 8
STEP: Final = 32
"""Messages read from the database at a time, at first and then at most: each may have some hundred kB."""
MAX_SESSIONS: Final = 10_000
AT_ONCE: Final = 64
AT_ONCE_FOR_ONE: Final = 4
MAX_WAITING: Final = 1_000
WAIT_SECONDS: Final = 10.0

_Handler = Callable[[web.Request], Awaitable[web.Response]]


class Api:
    def __init__(self, access: Access, store: Store, accounts: Accounts) -> None:
        self._access, self._store, self._accounts = access, store, accounts
        busy = RateLimited("Too many requests with this token at the same time.")
        self._turns = Turns(AT_ONCE, each=AT_ONCE_FOR_ONE, waiting=MAX_WAITING, error=busy)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        sessions = "/api/v1/sessions"
        for slash in ("", "/"):
            router.add_get(sessions + slash, self._in_turn(self.sessions))
            router.add_get(sessions + "/{session_id}/chats" + slash, self._in_turn(self.chats))
            router.add_get(sessions + "/{session_id}/chats/{chat_id}/messages" + slash, self._in_turn(self.messages))

    async def sessions(self, request: web.Request) -> web.Response:
        principal = self._access.bearer(request)
        if "read" not in principal.scopes:
            raise AppError("not_found", "Not found, or the token does not allow it.")
        query = _query(request, "limit", "cursor")
        limit = _limit(query, MAX_SESSIONS)
        after = _read_cursor(query["cursor"], "s") if "cursor" in query else ""
        named = {one for one in principal.sessions if fields.SESSION_ID.match(one) and one > after}
        seqs = dict.fromkeys(named, 0)
        every = ALL_SESSIONS in principal.sessions
        seqs |= await self._store.seqs(None if every else named, after=after, limit=limit + 1)
        if every:  # an account may have reported its state before any message
            seqs = dict.fromkeys(await self._accounts.names(after, limit + 1), 0) | seqs
        rows = sorted(seqs.items())[: limit + 1]
        described = await self._accounts.describe([one for one, _ in rows[:limit]])
        data = _fitting(described[one] | {"position": self._position(seq)} for one, seq in rows[:limit])
        more = len(data) < len(rows)
        following = _make_cursor("s", rows[len(data) - 1][0]) if more else None
        return _answer(data, {"nextCursor": following} if more or query else {})

    async def chats(self, request: web.Request) -> web.Response:
        session_id = self._access.session_of(request, "read")
        query = _query(request, "limit", "cursor")
        limit = _limit(query)
        before = _chats_cursor(query["cursor"]) if "cursor" in query else None
        seq = await self._store.seq(session_id)
        found = await self._store.lists.read_chats(session_id, before, limit + 1)
        data = _fitting(render_chat(chat) for chat in found[:limit])
        following = _make_cursor("c", found[len(data) - 1].last_seq) if len(found) > len(data) else None
        return _answer(data, {"position": self._position(seq), "nextCursor": following})

    async def messages(self, request: web.Request) -> web.Response:
        session_id = self._access.session_of(request, "read")
        chat_id = schemas.load_chat_id(request.match_info["chat_id"])
        query = _query(request, "limit", "before", "after")
        limit = _limit(query)
        before, after = _number(query, "before"), _number(query, "after")
        if before is not None and after is not None:
            raise _invalid("after", "Give either before or after, not both.")
        seq = await self._store.seq(session_id)
        chat_id = await self._store.name_of(session_id, chat_id)
        data: list[bytes] = []
        size, more, lists = 0, True, self._store.lists
        while more and len(data) < limit and size < MAX_BYTES:
            fit = (MAX_BYTES - size) * len(data) // size + 1 if data else FIRST_STEP
            step = min(STEP, fit, limit - len(data))
            found = await lists.read_messages(session_id, chat_id, before=before, after=after, limit=step + 1)
            more = len(found) > step
            page = (found if after is not None else found[::-1])[:step]
            fitting = _fitting(map(render_message, page), MAX_BYTES - size, one=not data)
            more = more or len(fitting) < len(page)
            data += fitting
            size += sum(map(len, fitting))
            if len(fitting) < len(page):
                break
            before, after = _next(page, before, after)
        if after is None:
            data.reverse()
        return _answer(data, {"position": self._position(seq), "hasMore": more})

    def _position(self, seq: int) -> dict[str, Any]:
        return render_position(self._store.position(seq))

    def _in_turn(self, handler: _Handler) -> _Handler:
        """Run the handler when it is its token's turn. The turn ends when the client has read the answer."""

        async def wait(request: web.Request) -> web.Response:
            key = str(hash(request.headers.get("Authorization", "")))
            async with contextlib.AsyncExitStack() as turn:
                await turn.enter_async_context(self._turns.take(key, seconds=WAIT_SECONDS))
                response = await handler(request)
                if isinstance(request.protocol, GuardedHandler):
                    request.protocol.close_when_taken(turn.pop_all())
                return response

        return wait


def _next(page: list[Message], before: int | None, after: int | None) -> tuple[int | None, int | None]:
    """Where the next step of a list continues."""
    if not page:
        return before, after
    return (before, page[-1].seq) if after is not None else (page[-1].seq, after)


def _fitting(items: Iterable[dict[str, Any]], most: int = MAX_BYTES, *, one: bool = True) -> list[bytes]:
    """The first items as JSON, up to `most` bytes in all; with `one`, at least the first item."""
    found: list[bytes] = []
    for item in items:
        rendered = orjson.dumps(item)
        most -= len(rendered)
        if most < 0 and (found or not one):
            break
        found.append(rendered)
    return found


def _answer(data: list[bytes], more: dict[str, Any]) -> web.Response:
    rest = orjson.dumps(more)[1:]
    body = b"".join((b'{"ok":true,"data":[', b",".join(data), b"]", b"," if more else b"", rest))
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=body, content_type="application/json", headers=headers)


def _query(request: web.Request, *known: str) -> dict[str, str]:
    """The query's parameters. Raises AppError `invalid` for unknown and repeated ones."""
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            raise _invalid(name, f"Unknown parameter. Known ones: {', '.join(known)}.")
        if name in query:
            raise _invalid(name, "Given more than once.")
        query[name] = value
    return query


def _limit(query: dict[str, str], default: int = DEFAULT_LIMIT) -> int:
    limit = _number(query, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= MAX_LIMIT:
        raise _invalid("limit", f"Must be 1 to {MAX_LIMIT}.")
    return limit


def _number(query: dict[str, str], name: str) -> int | None:
    value = query.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 16 and int(value) <= fields.MAX_INTEGER):
        raise _invalid(name, f"Must be a whole number from 0 to {fields.MAX_INTEGER}.")
    return int(value)


def _make_cursor(kind: str, value: object) -> str:
    return base64.urlsafe_b64encode(f"{kind}{value}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str, kind: str) -> str:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        text = ""
    if not text.startswith(kind):
        raise _bad_cursor()
    return text.removeprefix(kind)


def _chats_cursor(cursor: str) -> int:
    text = _read_cursor(cursor, "c")
    if not (text.isdigit() and len(text) <= 16):
        raise _bad_cursor()
    return int(text)


def _bad_cursor() -> AppError:
    return _invalid("cursor", "Must be a nextCursor from this list.")


def _invalid(name: str, detail: str) -> AppError:
    return AppError("invalid", f"{name[:50]}: {detail}", [Fault(f"#/{schemas.escape(name)}", detail)])
