"""Where messages come in: our own form, and each provider's.

The answer is sent only after the commit. A body of ours is taken whole or refused whole; a provider's body is never
refused for what is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime

import orjson
from aiohttp import web

from app import json_input, schemas
from app.auth import Tokens
from app.domain.events import now
from app.domain.models import IncomingMessage, StoreMessages
from app.errors import AppError
from app.http.access import session_of
from app.metrics import Metrics
from app.providers import PROVIDERS, Parsed
from app.services.ingest import BATCH_ALIASES, BATCH_BYTES, BATCH_COMMANDS, Ingest

MAX_BODY = 1024 * 1024
MAX_PROVIDER_BODY = 16 * 1024 * 1024


class Webhook:
    def __init__(self, tokens: Tokens, ingest: Ingest, metrics: Metrics, body_timeout: float) -> None:
        self._tokens, self._ingest, self._metrics = tokens, ingest, metrics
        self._body_timeout = body_timeout

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/webhook/{session_id}", self.own)
        router.add_post("/webhook/{session_id}/{source}", self.provider)

    async def own(self, request: web.Request) -> web.Response:
        session_id = session_of(request, self._tokens, "ingest")
        received_at = now()
        body = await read_json_body(request, MAX_BODY, self._body_timeout)
        messages = schemas.load_messages(json_input.loads(body), session_id, received_at)
        return await self._store(session_id, [StoreMessages(received_at, messages, size=len(body))])

    async def provider(self, request: web.Request) -> web.Response:
        name = request.match_info["source"]
        session_id = session_of(request, self._tokens, "ingest")
        if name not in PROVIDERS:
            raise AppError("not_found", f"No such source; there are: {', '.join(PROVIDERS)}.")
        received_at = now()
        body = await read_json_body(request, MAX_PROVIDER_BODY, self._body_timeout)
        loop = asyncio.get_running_loop()
        if len(body) > BATCH_BYTES:  # long enough to be felt by everybody else
            parsed = await loop.run_in_executor(None, _parse, name, body, session_id, received_at)
        else:
            parsed = _parse(name, body, session_id, received_at)
        for kind, count in parsed.skipped.items():
            self._metrics.skipped.labels(name, kind).inc(count)
        return await self._store(session_id, list(_commands(parsed, received_at)))

    async def _store(self, session_id: str, commands: list[StoreMessages]) -> web.Response:
        results = await self._ingest.store(session_id, commands)
        data = [{"messageId": one.message_id, "seq": one.seq, "duplicate": one.duplicate} for one in results]
        body = orjson.dumps({"ok": True, "data": {"results": data}})
        return web.Response(body=body, content_type="application/json")


async def read_json_body(request: web.Request, limit: int, timeout: float) -> bytes:
    """The body, which must say that it is JSON. Raises AppError: 415, 413 over `limit` bytes, 400 when it stalls."""
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise AppError("unsupported_media_type", "Send the body as Content-Type: application/json.")
    too_large = AppError("too_large", f"A body may have {limit} bytes.")
    if (request.content_length or 0) > limit:
        raise too_large
    if request.content.is_eof() and "Content-Encoding" not in request.headers:
        whole = request.content.read_nowait()  # it came with the head, as small ones do
        if len(whole) > limit:
            raise too_large
        return whole
    body = bytearray()
    try:
        async with asyncio.timeout(timeout):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except (TimeoutError, web.RequestPayloadError) as error:
        raise AppError("malformed", "The request body is incomplete.") from error
    return bytes(body)


def _parse(name: str, body: bytes, session_id: str, received_at: datetime) -> Parsed:
    return PROVIDERS[name].parse(json_input.loads_provider(body), session_id, received_at)


def _commands(parsed: Parsed, received_at: datetime) -> Iterator[StoreMessages]:
    """A provider's body in parts that fit a transaction; what it tells of people comes before its messages."""
    for first in range(0, len(parsed.aliases), BATCH_ALIASES):
        aliases = parsed.aliases[first : first + BATCH_ALIASES]
        yield StoreMessages(received_at, aliases=aliases, size=128 * len(aliases))
    part: list[IncomingMessage] = []
    size = 0
    for message in parsed.messages:
        weight = _weight(message)
        if part and (len(part) >= BATCH_COMMANDS or size + weight > BATCH_BYTES):
            yield StoreMessages(received_at, part, size=size)
            part, size = [], 0
        part.append(message)
        size += weight
    if part:
        yield StoreMessages(received_at, part, size=size)


def _weight(message: IncomingMessage) -> int:
    quoted = message.reply_to.text if message.reply_to else None
    return 512 + 2 * (len(message.text or "") + len(quoted or ""))
