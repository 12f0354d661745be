"""The reasons for closing connections in one table, as seen by handlers, counters and clients."""

from dataclasses import dataclass

from . import frames


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason for the end of a connection."""

    text: str
    """The text passed to `disconnect` handlers and used as key in `Stats.closed`."""
    code: int = frames.NORMAL
    """The code of the WebSocket close frame (RFC 6455, 7.4.1)."""
    returns: bool = True
    """Whether stock clients reconnect by themselves. If not, the disconnect was intended."""


CLIENT_DISCONNECT = Reason("client disconnect", returns=False)
"""The client sent a DISCONNECT packet: it leaves a namespace."""
SERVER_DISCONNECT = Reason("server disconnect", returns=False)
"""The server sent a DISCONNECT packet: `Server.disconnect`."""
TRANSPORT_CLOSE = Reason("transport close")
TRANSPORT_ERROR = Reason("transport error")
PARSE_ERROR = Reason("parse error", frames.PROTOCOL_ERROR)
"""The client violated the protocol."""
PING_TIMEOUT = Reason("ping timeout")
CONNECT_TIMEOUT = Reason("connect timeout", frames.POLICY)
"""No connect handler accepted the client within `Limits.connect_timeout`."""
SLOW_READER = Reason("slow reader")
"""The client does not read its data."""
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
"""The engine's reasons by text. `Server.close` adds those of the user, see `of_user`."""


def of_user(text: str) -> Reason:
    """The reason of a connection closed by the user. Stock clients reconnect."""
    return Reason(text, frames.GOING_AWAY)
