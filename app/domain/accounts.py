"""The state of a session's account at its provider."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from app.domain.events import Wire, format_time
from app.domain.incoming import ConnectionState


@dataclass(frozen=True, slots=True)
class Account:
    state: ConnectionState
    detail: str | None
    """What the provider says about it."""
    since: datetime
    """The first report of this state."""
    at: datetime
    """The last report."""

    def after(self, before: Account | None) -> Account:
        """This report, with the time since which the state is the same. The earlier one if that was reported later."""
        if before is None:
            return self
        if before.at > self.at:
            return before
        return replace(self, since=before.since) if before.state == self.state else self


def render_account(account: Account | None) -> Wire | None:
    if account is None:
        return None
    return {"state": account.state, "detail": account.detail, "since": format_time(account.since)}
