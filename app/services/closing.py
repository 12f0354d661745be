"""The reasons for which the services close connections, as logs and metrics show them. Clients reconnect."""

from __future__ import annotations

from typing import Final

TOKEN_EXPIRED: Final = "token expired"  # noqa: S105
TOKEN_REVOKED: Final = "token revoked"  # noqa: S105
REPLACED: Final = "replaced"
"""The client has reconnected before the end of its old connection was noticed."""
EVENTS_MISSING: Final = "events missing"
"""Events of the session are missing on this server. A new connection starts from a new edge."""
EVENTS_GONE: Final = "events no longer kept"
"""Events that the client still needs have expired. It is told so when it reconnects."""
CATCHING_UP_FAILED: Final = "catching up failed"

INTENDED: Final = frozenset({"client disconnect", "server disconnect"})
"""The engine's reasons for intended disconnects, after which stock clients do not reconnect by themselves."""
