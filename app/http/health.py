"""For those who run it: alive, able to serve, figures."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from app.errors import AppError, Unavailable
from app.http.access import Addresses, is_loopback
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
        metrics_public: bool,
    ) -> None:
        self._store, self._metrics, self._addresses = store, metrics, addresses
        self._draining, self._metrics_public = draining, metrics_public

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/healthz", self.alive)
        router.add_get("/readyz", self.ready)
        router.add_get("/metrics", self.figures)

    async def alive(self, request: web.Request) -> web.Response:
        """Whether the process answers. Touches nothing."""
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """Whether to send it traffic: 200, or 503 while the database is away or the server is stopping."""
        database, draining = "ok", self._draining()
        try:
            await self._store.ping()
        except Unavailable:
            database = "unavailable"
        good = database == "ok" and not draining
        return web.json_response(
            {"status": "ok" if good else "unavailable", "database": database, "draining": draining},
            status=200 if good else 503,
            headers={"Cache-Control": "no-store"},
        )

    async def figures(self, request: web.Request) -> web.Response:
        """Prometheus text. Behind a proxy that is not trusted everybody would be loopback, so such are refused."""
        if not self._metrics_public:
            forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
            address = self._addresses.of(request)
            if not is_loopback(address) or (forwarded and address == request.remote):
                raise AppError("not_found", "Not found.")
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})
