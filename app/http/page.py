"""The inbox page: the built files in `app/static`, and the settings that the page needs.

The content security policy only allows the page's own scripts and styles. Pictures, sounds and videos load only from
the given media origins: the address in a message is chosen by a stranger, and loading it would tell the stranger when
the message was read, and could reach into the reader's own network.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from app import __version__
from app.settings import Settings

STATIC: Final = Path(__file__).parent.parent / "static"
CONFIG_TAG: Final = '<meta name="roomcast" content="{}"'
HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_UNBUILT = "<!doctype html><title>Roomcast</title><p>The page is not built yet: run <code>make page</code>."


def config_of(settings: Settings, socket_path: str) -> dict[str, Any]:
    """The settings that the page needs."""
    return {
        "version": __version__,
        "socketPath": socket_path,
        "reconnectDelayMs": settings.reconnect_delay_ms,
        "reconnectDelayMaxMs": settings.reconnect_delay_max_ms,
        "reconnectJitter": settings.reconnect_jitter,
        "mediaOrigins": settings.media_origins,
    }


def policy(media_origins: Sequence[str]) -> str:
    """The page's Content-Security-Policy (CSP Level 3)."""
    images = " ".join(["'self'", "data:", *media_origins])
    media = " ".join(media_origins) or "'none'"
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; media-src {media}; "
        "connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Page:
    def __init__(self, config: Mapping[str, Any], media_origins: Sequence[str] = (), static: Path = STATIC) -> None:
        """`config` is passed to the page as JSON in a meta tag; `media_origins` must be validated."""
        index = static / "index.html"
        text = index.read_text(encoding="utf-8") if index.is_file() else _UNBUILT
        shown = html.escape(orjson.dumps(dict(config)).decode())
        self._index = text.replace(CONFIG_TAG, CONFIG_TAG.replace("{}", shown)).encode()
        self._headers = {**HEADERS, "Content-Security-Policy": policy(media_origins), "Cache-Control": "no-cache"}
        self._static = static

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Only existing files get a route, so that all others are answered like any unknown address."""
        router.add_get("/", self.index)
        for file in (self._static / "assets").glob("*.*"):
            router.add_get(f"/assets/{file.name}", _send(file, "public, max-age=31536000, immutable"))
        for file in self._static.glob("*.*"):
            if file.name != "index.html":
                router.add_get(f"/{file.name}", _send(file, "no-cache"))

    async def index(self, request: web.Request) -> web.Response:
        return web.Response(body=self._index, content_type="text/html", charset="utf-8", headers=self._headers)


def _send(path: Path, cache: str) -> Handler:
    """`cache`: the names of files in `assets` change with their content; other names do not."""

    async def send(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(path, headers={"Cache-Control": cache})

    return send
