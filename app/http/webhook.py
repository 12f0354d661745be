"""The webhooks, which receive messages in our own form and in each provider's.

The answer is sent after the commit. A body in our own form is stored or refused as a whole; a provider's body is never
refused for its content. The steps are: authorize the request, read the body, parse it, store the resulting commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, cast

import orjson
from aiohttp import web

from app.auth import Principal
from app.domain.events import now
from app.domain.incoming import Signal
from app.domain.intake import BATCH_BYTES, BATCH_ITEMS
from app.domain.known import Command
from app.errors import AppError
from app.http.access import Access
from app.http.bodies import Bodies, expect_later
from app.metrics import Metrics
from app.parsing import MAX_BODY, MAX_PROVIDER_BODY, Job, Parser, Parsing
from app.parsing.parser import QUICK_BYTES
from app.providers import PROVIDERS, Provider, SourceSettings
from app.providers.provider import Numbers
from app.services.ingest import Ingest
from app.services.large_bodies import LargeBodies
from app.session_settings import Sessions

OnSignals = Callable[[str, Sequence[Signal]], None]
"""Called with a sessionId and its signals."""


class Webhook:
    def __init__(
        self,
        access: Access,
        sessions: Sessions,
        bodies: Bodies,
        parser: Parser,
        ingest: Ingest,
        metrics: Metrics,
        on_signals: OnSignals,
    ) -> None:
        """`on_signals` receives signals, which are not stored. It must not block or raise."""
        self._access, self._sessions, self._bodies, self._parser = access, sessions, bodies, parser
        self._ingest, self._metrics, self._on_signals = ingest, metrics, on_signals
        self._large = LargeBodies()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for slash in ("", "/"):
            router.add_post("/webhook/{session_id}" + slash, self.own, expect_handler=expect_later)
            router.add_post("/webhook/{session_id}/{source}" + slash, self.provider, expect_handler=expect_later)
            for name, provider in PROVIDERS.items():
                path = f"/webhook/{{session_id}}/{{source:{name}}}"
                if provider.challenge:
                    router.add_get(path + slash, self.challenge, allow_head=False)
                if provider.event_in_path:
                    router.add_post(path + "/{event}" + slash, self.provider, expect_handler=expect_later)

    async def own(self, request: web.Request) -> web.Response:
        session_id = self._access.session_of(request, "ingest")
        async with await self._bodies.read(request, session_id, MAX_BODY) as body:
            job = Job(session_id, now(), body.data, body.encoding, unmarked=self._sessions.unmarked)
            parsing = await self._parser.parse(job)
        return await self._store(parsing, _by_session(parsing.commands()))

    async def provider(self, request: web.Request) -> web.Response:
        source, session_id = request.match_info["source"], request.match_info["session_id"]
        provider, settings = PROVIDERS.get(source), self._sessions.of(session_id).source
        signs = provider is not None and provider.signs(settings)
        owner = None if signs else self._access.owner_of(request, "ingest")
        if provider is None:
            raise AppError("not_found", f"Unknown source. Known ones: {', '.join(PROVIDERS)}.")
        if signs and provider.signature not in request.headers:
            raise self._access.unauthorized(request, f"The body must be signed ({provider.signature}).")
        parsing, digest = await self._receive(request, provider, owner)
        for kind, count in parsing.skipped.items():
            self._metrics.skipped.labels(source, kind).inc(count)
        batches = _batches(parsing.commands())
        begun = list(islice(batches, 2))
        if len(begun) < 2 or not digest:
            return await self._store(parsing, chain(begun, batches))
        key = f"{session_id}/{source}/{digest}"
        return _json(await self._large.answer(key, lambda: self._answer(parsing, chain(begun, batches), ask=True)))

    async def _receive(self, request: web.Request, provider: Provider, owner: Principal | None) -> tuple[Parsing, str]:
        """Read and parse a provider's body. `owner` None: the body must be signed. Also returns the digest of a body
        that is not small.

        This is a separate function so that the body is freed before its commands are stored.
        """
        source, session_id = request.match_info["source"], request.match_info["session_id"]
        settings, received_at = self._sessions.of(session_id).source, now()
        async with await self._bodies.read(request, session_id, MAX_PROVIDER_BODY) as body:
            raw = cast(bytes, body.data)  # hmac accepts both types

            @cache
            def signed(secrets: tuple[str, ...]) -> bool:
                return bool(secrets) and provider.verify(raw, request.headers, secrets)

            def allowed(other: str, others: SourceSettings) -> bool:
                """Whether the body may change another session, by that session's secret or by the token."""
                if other == session_id:
                    return True
                return signed(others.webhook_secrets) if owner is None else owner.may("ingest", other)

            def prove() -> tuple[bool, Numbers | None, str]:
                if owner is None and not signed(settings.webhook_secrets):
                    return False, None, ""
                numbers = self._sessions.numbers(allowed) if provider.several_accounts else None
                return True, numbers, sha256(raw).hexdigest() if body.encoding or large else ""

            # Hashing a large body, perhaps with several secrets, takes long. It releases the interpreter lock in a
            # thread.
            large = len(raw) > QUICK_BYTES
            proven, numbers, digest = await asyncio.to_thread(prove) if large else prove()
            if not proven:
                raise self._access.unauthorized(request, "The signature is wrong.")
            unmarked = self._sessions.unmarked
            job = Job(session_id, received_at, body.data, body.encoding, source, numbers, unmarked)
            return await self._parser.parse(job), digest

    async def challenge(self, request: web.Request) -> web.Response:
        """Answer a provider's check of the webhook address, made before it posts anything."""
        challenge = PROVIDERS[request.match_info["source"]].challenge
        assert challenge is not None, "it has a route"
        answer = challenge(request.query, self._sessions.of(request.match_info["session_id"]).source)
        if answer is None:
            raise self._access.unauthorized(request, "The verify token is wrong.")
        return web.Response(text=answer, content_type="text/plain", headers={"X-Content-Type-Options": "nosniff"})

    async def _store(self, parsing: Parsing, batches: Iterable[tuple[str, Sequence[Command]]]) -> web.Response:
        return _json(await self._answer(parsing, batches))

    async def _answer(
        self, parsing: Parsing, batches: Iterable[tuple[str, Sequence[Command]]], *, ask: bool = False
    ) -> bytes:
        """Store a body's commands. `ask`: check first whether it repeats what is stored, until a batch does not."""
        for session_id, signals in parsing.signals:
            self._on_signals(session_id, signals)
        data: dict[str, Any] = {"results": []}
        for session_id, commands in batches:
            stored = await self._ingest.repeated(session_id, commands) if ask else None
            if stored is None:
                ask = False
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
        return orjson.dumps({"ok": True, "data": data})


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _batches(commands: Iterable[tuple[str, Command]]) -> Iterator[tuple[str, list[Command]]]:
    """The commands of each session, in lists that fit into a transaction. They are stored one after the other, so that
    a large body uses neither the whole queue nor much memory."""
    for session_id, several in groupby(commands, key=itemgetter(0)):
        batch: list[Command] = []
        size = 0
        for _, command in several:
            if batch and (len(batch) >= BATCH_ITEMS or size + command.size > BATCH_BYTES):
                yield session_id, batch
                batch, size = [], 0
            batch.append(command)
            size += command.size
        if batch:
            yield session_id, batch


def _by_session(commands: Iterable[tuple[str, Command]]) -> list[tuple[str, list[Command]]]:
    """All commands of a body in our own form, which is stored as a whole. Signals make no commands."""
    together: dict[str, list[Command]] = {}
    for session_id, command in commands:
        together.setdefault(session_id, []).append(command)
    return list(together.items())
