"""The inbox page: built files from `app/static`, and what the page must know of the server.

The headers let the page run its own scripts and styles and nothing else; pictures and sounds of messages come from
anywhere.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

STATIC: Final = Path(__file__).parent.parent / "static"
CONFIG_TAG: Final = '<meta name="roomcast" content="{}"'
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https: http:; "
        "media-src https: http:; connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_UNBUILT = "<!doctype html><title>Roomcast</title><p>The page is not built yet: run <code>make page</code>."


class Page:
    def __init__(self, config: Mapping[str, Any], static: Path = STATIC) -> None:
        """`config` is what the page is given, as JSON in a meta tag."""
        index = static / "index.html"
        text = index.read_text(encoding="utf-8") if index.is_file() else _UNBUILT
        shown = html.escape(orjson.dumps(dict(config)).decode())
        self._index = text.replace(CONFIG_TAG, CONFIG_TAG.replace("{}", shown)).encode()
        self._static = static

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/", self.index)
        if (self._static / "assets").is_dir():
            router.add_static("/assets", self._static / "assets")
        for file in self._static.glob("*.*"):
            if file.name != "index.html":
                router.add_get(f"/{file.name}", self._file(file))

    async def index(self, request: web.Request) -> web.Response:
        headers = {**HEADERS, "Cache-Control": "no-cache"}
        return web.Response(body=self._index, content_type="text/html", charset="utf-8", headers=headers)

    @staticmethod
    def _file(path: Path) -> Any:
        async def send(request: web.Request) -> web.FileResponse:
            return web.FileResponse(path, headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"})

        return send


async def set_cache_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`: the names of built files change with their content."""
    if request.path.startswith("/assets/") and response.status == 200:
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
