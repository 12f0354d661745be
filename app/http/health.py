"""Health endpoints for operators: liveness, readiness and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from app.errors import AppError, Unavailable
from app.hosts import is_loopback, read_host
from app.http.addresses import FORWARDING, Addresses
from app.metrics import Metrics
from app.storage.mongo import Store


class Health:
    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        addresses: Addresses,
        *,
        draining: Callable[[], bool],
        failing: Callable[[], list[str]],
        metrics_public: bool,
    ) -> None:
        self._store, self._metrics, self._addresses = store, metrics, addresses
        self._draining, self._failing, self._metrics_public = draining, failing, metrics_public
        self._asked: asyncio.Task[str] | None = None

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for slash in ("", "/"):
            router.add_get("/healthz" + slash, self.alive)
            router.add_get("/readyz" + slash, self.ready)
            router.add_get("/metrics" + slash, self.figures)

    async def alive(self, request: web.Request) -> web.Response:
        """Answer that the process is alive. Uses nothing else."""
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """Whether to send traffic to this server: 200, or 503 while the database is unavailable, a background task
        fails or the server is stopping."""
        database, draining, failing = await self._database(), self._draining(), self._failing()
        good = database == "ok" and not draining and not failing
        state: dict[str, Any] = {"status": "ok" if good else "unavailable", "database": database, "draining": draining}
        if failing:
            state["failing"] = failing
        return web.json_response(
            state,
            status=200 if good else 503,
            headers={"Cache-Control": "no-store"},
        )

    async def _database(self) -> str:
        """Check the database once for all concurrent requests, because these need no token."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asked)

    async def _ask(self) -> str:
        try:
            await self._store.ping()
        except Unavailable:
            return "unavailable"
        return "ok"

    async def figures(self, request: web.Request) -> web.Response:
        """Prometheus text. Without METRICS_PUBLIC only for this machine: not through a proxy, behind which everyone
        would be loopback, and not for other host names (DNS rebinding)."""
        if not self._metrics_public:
            host = read_host(request.headers.get("Host", ""))
            proxied = any(name in request.headers for name in FORWARDING)
            own = host is not None and is_loopback(host.name)
            if proxied or not own or not is_loopback(self._addresses.of(request)):
                raise AppError("not_found", "Not found.")
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})
