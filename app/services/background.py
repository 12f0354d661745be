"""What goes on for ever in the background, whatever happens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import structlog

from app.errors import Unavailable

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def surviving(what: str) -> Iterator[None]:
    """Log what is raised, as an event of this name, and go on: without the work itself where it is expected."""
    try:
        yield
    except Unavailable as error:
        log.warning(what, error=error.detail)
    except Exception:
        log.exception(what)
