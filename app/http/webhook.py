"""Where messages come in: our own form, and each provider's.

The answer is sent only after the commit. A body of our own form is stored whole or refused whole; a provider's body is
never refused for what is in it. The steps are: who asks, read the body, parse it, store what it comes to.
"""

from __future__ import annotations

import orjson
from aiohttp import web

from app.auth import Tokens
from app.domain.events import now
from app.domain.models import MessageResult
from app.errors import AppError
from app.http.access import session_of
from app.http.bodies import Bodies, expect_later
from app.metrics import Metrics
from app.parsing import MAX_BODY, MAX_PROVIDER_BODY, Job, Parser, Parsing
from app.providers import PROVIDERS
from app.services.ingest import Ingest


class Webhook:
    def __init__(self, tokens: Tokens, bodies: Bodies, parser: Parser, ingest: Ingest, metrics: Metrics) -> None:
        self._tokens, self._bodies, self._parser = tokens, bodies, parser
        self._ingest, self._metrics = ingest, metrics

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for slash in ("", "/"):
            router.add_post("/webhook/{session_id}" + slash, self.own, expect_handler=expect_later)
            router.add_post("/webhook/{session_id}/{source}" + slash, self.provider, expect_handler=expect_later)

    async def own(self, request: web.Request) -> web.Response:
        session_id = session_of(request, self._tokens, "ingest")
        parsing = await self._read(request, session_id, None)
        return await self._store(session_id, parsing)

    async def provider(self, request: web.Request) -> web.Response:
        source = request.match_info["source"]
        session_id = session_of(request, self._tokens, "ingest")
        if source not in PROVIDERS:
            raise AppError("not_found", f"No such source; there are: {', '.join(PROVIDERS)}.")
        parsing = await self._read(request, session_id, source)
        for kind, count in parsing.skipped.items():
            self._metrics.skipped.labels(source, kind).inc(count)
        return await self._store(session_id, parsing)

    async def _read(self, request: web.Request, session_id: str, source: str | None) -> Parsing:
        """What the body comes to. The body itself is not kept while that is stored."""
        received_at = now()
        async with self._bodies.read(request, session_id, MAX_BODY if source is None else MAX_PROVIDER_BODY) as body:
            return await self._parser.parse(Job(session_id, received_at, body.data, body.encoding, source))

    async def _store(self, session_id: str, parsing: Parsing) -> web.Response:
        """Store one command after the other, so that a large body takes neither the queue nor much memory."""
        results: list[MessageResult] = []
        for command in parsing.commands():
            results += await self._ingest.store(session_id, [command])
        data = [{"messageId": one.message_id, "seq": one.seq, "duplicate": one.duplicate} for one in results]
        body = orjson.dumps({"ok": True, "data": {"results": data}})
        return web.Response(body=body, content_type="application/json")
