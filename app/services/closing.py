"""Why we close connections whose clients shall come back by themselves: one table, as logs and metrics see it."""

from __future__ import annotations

from typing import Final

TOKEN_EXPIRED: Final = "token expired"  # noqa: S105
TOKEN_REVOKED: Final = "token revoked"  # noqa: S105
REPLACED: Final = "replaced"
"""The same client is back on another connection before we noticed that it had gone."""
EVENTS_MISSING: Final = "events missing"
"""The session's events cannot be made whole here; a new connection begins on a new edge."""
EVENTS_GONE: Final = "events no longer kept"
"""The log has lost what the client still needed; when it comes back it is told so."""
CATCHING_UP_FAILED: Final = "catching up failed"
