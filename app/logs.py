"""Logs: one JSON object a line, or for people on a terminal. No secret and no message text goes into them."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import Any, Final

import structlog
from aiohttp.http_exceptions import HttpProcessingError

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the HTTP request that is being answered."""

_HIDDEN: Final = frozenset({"token", "auth", "authorization", "secret", "password", "text", "body", "payload"})


def configure(level: str, form: str) -> None:
    """Set up structlog, and the standard module for the libraries. `form`: json, console, or auto."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide,
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
    """aiohttp logs what it could not read as HTTP with the bytes themselves, in which there may be a token."""
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.exc_info = record.exc_text = None
    return True


def _add_request_id(logger: Any, method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if number := request_id.get():
        entry["request_id"] = number
    return entry


def _hide(logger: Any, method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The last guard: values under names that tell of secrets or of what people wrote."""
    for key in entry.keys() & _HIDDEN:
        entry[key] = "(hidden)"
    return entry
