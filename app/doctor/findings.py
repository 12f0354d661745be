"""A check's result, and what checks work with."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from app.auth import Tokens
from app.storage.mongo import Store

OK: Final = "ok"
WARNING: Final = "warning"
FAILURE: Final = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    status: str
    meaning: str
    advice: str = ""

    def line(self) -> str:
        advice = f" {self.advice}" if self.advice else ""
        return f"{self.status:8}{self.check}: {self.meaning}{advice}"


@dataclass(slots=True)
class Context:
    """`tokens` makes tokens where the server's secret is known here; `store` is the server's database if it is."""

    url: URL
    http: aiohttp.ClientSession
    token: str | None
    tokens: Tokens | None
    store: Store | None

    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def engine(self, transport: str, **more: str) -> URL:
        """Engine.IO's address; http, also for a WebSocket."""
        return (self.url / "socket.io/").with_query(EIO="4", transport=transport, **more)


Check = Callable[[Context], Awaitable[Finding]]


def cause(error: BaseException) -> str:
    """What went wrong in few words, for a line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return " ".join((str(error) or type(error).__name__).split())


def exit_status(findings: Iterable[Finding]) -> int:
    """0 if all checks are ok, 1 with warnings, 2 with failures."""
    found = {finding.status for finding in findings}
    return 2 if FAILURE in found else 1 if WARNING in found else 0
