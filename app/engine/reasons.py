"""Why connections end: one table, as handlers, counters and clients see it."""

from dataclasses import dataclass

from . import frames


@dataclass(frozen=True, slots=True)
class Reason:
    """One way for a connection to end."""

    text: str
    """What `disconnect` handlers are given and what `Stats.closed` counts by."""
    code: int = frames.NORMAL
    """The code of the close frame that a websocket is sent (RFC 6455, 7.4.1)."""
    returns: bool = True
    """Whether a stock client connects again by itself. Where it does not, somebody wanted the end."""


CLIENT_DISCONNECT = Reason("client disconnect", returns=False)
"""A DISCONNECT packet of the client's: it leaves a namespace."""
SERVER_DISCONNECT = Reason("server disconnect", returns=False)
"""A DISCONNECT packet of ours: `Server.disconnect`."""
TRANSPORT_CLOSE = Reason("transport close")
TRANSPORT_ERROR = Reason("transport error")
PARSE_ERROR = Reason("parse error", frames.PROTOCOL_ERROR)
"""The client does not keep the protocol."""
PING_TIMEOUT = Reason("ping timeout")
CONNECT_TIMEOUT = Reason("connect timeout", frames.POLICY)
"""No connect handler has let the client in within `Limits.connect_timeout`."""
SLOW_READER = Reason("slow reader")
"""The client does not take what is sent to it."""
RATE_LIMITED = Reason("rate limited", frames.POLICY)
SHUTDOWN = Reason("server shutdown", frames.RESTART)

REASONS = {
    reason.text: reason
    for reason in (
        CLIENT_DISCONNECT,
        SERVER_DISCONNECT,
        TRANSPORT_CLOSE,
        TRANSPORT_ERROR,
        PARSE_ERROR,
        PING_TIMEOUT,
        CONNECT_TIMEOUT,
        SLOW_READER,
        RATE_LIMITED,
        SHUTDOWN,
    )
}
"""The engine's own reasons by their texts. `Server.close` adds those of its user: see `of_user`."""


def of_user(text: str) -> Reason:
    """The reason of a connection that the user closes: stock clients connect again."""
    return Reason(text, frames.GOING_AWAY)
