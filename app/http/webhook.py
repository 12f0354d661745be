"""Where messages come in: our own form, and each provider's.

The answer is sent only after the commit. A body of our own form is stored whole or refused whole; a provider's body is
never refused for what is in it. The steps are: who asks, read the body, parse it, store what it comes to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson
from aiohttp import web

from app.domain.events import now
from app.domain.incoming import Signal
from app.domain.intake import BATCH_BYTES, BATCH_ITEMS
from app.domain.ledger import Command
from app.errors import AppError
from app.http.access import Access
from app.http.bodies import Bodies, expect_later
from app.metrics import Metrics
from app.parsing import MAX_BODY, MAX_PROVIDER_BODY, Job, Parser, Parsing
from app.providers import PROVIDERS
from app.services.ingest import Ingest

OnSignals = Callable[[str, Sequence[Signal]], None]
"""Called with a sessionId and its signals."""


class Webhook:
    def __init__(
        self,
        access: Access,
        bodies: Bodies,
        parser: Parser,
        ingest: Ingest,
        metrics: Metrics,
        on_signals: OnSignals,
    ) -> None:
        """`on_signals` is given what passes by and is not stored. It must neither wait nor raise."""
        self._access, self._bodies, self._parser = access, bodies, parser
        self._ingest, self._metrics, self._on_signals = ingest, metrics, on_signals

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for slash in ("", "/"):
            router.add_post("/webhook/{session_id}" + slash, self.own, expect_handler=expect_later)
            router.add_post("/webhook/{session_id}/{source}" + slash, self.provider, expect_handler=expect_later)

    async def own(self, request: web.Request) -> web.Response:
        session_id = self._access.session_of(request, "ingest")
        parsing = await self._read(request, session_id, None)
        return await self._store(session_id, parsing, [[*parsing.commands()]])

    async def provider(self, request: web.Request) -> web.Response:
        source = request.match_info["source"]
        session_id = self._access.session_of(request, "ingest")
        if source not in PROVIDERS:
            raise AppError("not_found", f"No such source; there are: {', '.join(PROVIDERS)}.")
        parsing = await self._read(request, session_id, source)
        for kind, count in parsing.skipped.items():
            self._metrics.skipped.labels(source, kind).inc(count)
        return await self._store(session_id, parsing, _batches(parsing.commands()))

    async def _read(self, request: web.Request, session_id: str, source: str | None) -> Parsing:
        """What the body comes to. The body itself is not kept while that is stored."""
        received_at = now()
        async with self._bodies.read(request, session_id, MAX_BODY if source is None else MAX_PROVIDER_BODY) as body:
            return await self._parser.parse(Job(session_id, received_at, body.data, body.encoding, source))

    async def _store(self, session_id: str, parsing: Parsing, batches: Iterable[Sequence[Command]]) -> web.Response:
        if parsing.signals:
            self._on_signals(session_id, parsing.signals)
        data: dict[str, Any] = {"results": []}
        for commands in batches:
            if not commands:
                continue  # signals alone: the database is not asked
            stored = await self._ingest.store(session_id, commands)
            data["results"] += [
                {"messageId": one.message_id, "seq": one.seq, "duplicate": one.duplicate} for one in stored.messages
            ]
            if stored.updates:
                data.setdefault("updates", []).extend(
                    {"messageId": one.message_id, "seq": one.seq, "state": one.state} for one in stored.updates
                )
        if parsing.skipped:
            data["skipped"] = parsing.skipped
        return web.Response(body=orjson.dumps({"ok": True, "data": data}), content_type="application/json")


def _batches(commands: Iterable[Command]) -> Iterator[list[Command]]:
    """The commands in lists that fit a transaction. They are stored one after the other, so that a large body takes
    neither the whole queue nor much memory."""
    batch: list[Command] = []
    size = 0
    for command in commands:
        if batch and (len(batch) >= BATCH_ITEMS or size + command.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(command)
        size += command.size
    if batch:
        yield batch
