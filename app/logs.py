"""Logging: one JSON object per line, or readable text on a terminal. Logs contain no secrets and no message texts."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

import structlog
from aiohttp.http_exceptions import HttpProcessingError

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the HTTP request that is being answered."""

_HIDDEN: Final = frozenset({"token", "auth", "authorization", "secret", "password", "text", "body", "payload"})


_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Characters that control a terminal or change the direction of text."""
_LONGEST: Final = 1_000
"""Maximum number of characters of one value."""


class Limited:
    """Writes at most `lines` lines per key in `seconds`, and then the number of suppressed ones."""

    KEYS: Final = 64

    def __init__(
        self, write: Callable[..., object], field: str = "reason", lines: int = 10, seconds: float = 10.0
    ) -> None:
        """`write` is a logger's method, such as `log.info`; `field` is the name of the key in the line. Must be used in
        a running event loop."""
        self._write, self._field, self._lines, self._seconds = write, field, lines, seconds
        self._counts: dict[str, int] = {}

    def __call__(self, event: str, key: str, **values: Any) -> None:
        """Write the event, or count it. There should be few different keys; those beyond KEYS count as one."""
        if key not in self._counts and len(self._counts) >= self.KEYS:
            key = "other"
        count = self._counts.get(key, 0)
        self._counts[key] = count + 1
        if count == 0:
            asyncio.get_running_loop().call_later(self._seconds, self._end, event, key)
        if count < self._lines:
            self._write(event, **{self._field: key}, **values)

    def _end(self, event: str, key: str) -> None:
        left_out = self._counts.pop(key) - self._lines
        if left_out > 0:
            self._write(f"{event}_suppressed", **{self._field: key}, count=left_out)


def configure(level: str, form: str) -> None:
    """Configure structlog, and the logging module for libraries. `form`: json, console, or auto."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide,
        _make_printable,
    ]
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    errors: list[structlog.typing.Processor] = [] if console else [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[*shared, *errors, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *errors, render],
        )
    )
    handler.addFilter(_without_bytes_of_requests)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING) if level != "debug" else logging.INFO)


def _without_bytes_of_requests(record: logging.LogRecord) -> bool:
    """aiohttp logs invalid HTTP with the received bytes, which may contain a token: remove them."""
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.exc_info = record.exc_text = None
    return True


def _add_request_id(logger: Any, method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if number := request_id.get():
        entry["request_id"] = number
    return entry


def _make_printable(logger: Any, method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape control characters and characters that change the direction of text, and cut long values."""
    for key, value in entry.items():
        if isinstance(value, str):
            entry[key] = _UNPRINTABLE.sub(_escape, value[:_LONGEST])
    return entry


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _hide(logger: Any, method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A last safeguard: hide values whose names suggest secrets or message texts."""
    for key in entry.keys() & _HIDDEN:
        entry[key] = "(hidden)"
    return entry
