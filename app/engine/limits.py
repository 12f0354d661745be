"""Every limit that the engine keeps, each with a safe default."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may cost. Sizes are bytes, waits are seconds; none may be negative.

    Where a line says so, 0 switches the limit off; everywhere else it must be positive.
    """

    max_packet: int = 65_536
    """A websocket message (inflated), the body of a polling POST, a packet with all of its attachments."""
    max_depth: int = 32
    """Nesting of a packet's JSON, its own outermost array or object included."""
    max_attachments: int = 10
    """Binary attachments of one packet."""
    max_namespaces: int = 16
    """Namespaces that one connection may be in at the same time."""
    event_rate: float = 20.0
    """Packets a second that a client may send in the long run. Every Socket.IO packet counts except an
    acknowledgement that was asked for; a large one counts once more for each 8 kB."""
    event_burst: int = 40
    """Packets at once. Events beyond it are answered `rate_limited` and count as well; a client that is as many
    again over its allowance (80 at once, say) is closed."""
    max_waiting_events: int = 32
    """Events of one client that wait for its handlers; more are answered `rate_limited`, as those over the rate."""
    max_waiting_event_bytes: int = 262_144
    """Likewise in bytes, as they came."""
    max_callbacks: int = 1_000
    """Acknowledgements that one client owes the server; the oldest is forgotten beyond that."""
    connect_timeout: float = 10.0
    """From the handshake (or from leaving the last namespace) until a connect handler has let the client in. A client
    that begins an upgrade before that has `upgrade_timeout` more, once."""
    max_unauthenticated_per_address: int = 50
    """Connections of one address that no connect handler has let in yet; more are answered 429. 0: no limit."""
    max_per_address: int = 1_000
    """Connections of one address, counted by /64 for IPv6; more are answered 429. 0: no limit."""
    max_connections: int = 10_000
    """Connections in all; more are answered 503. 0: no limit."""
    high_water: int = 65_536
    """A connection for which more waits is congested: its user is told, and may wait until it has drained."""
    max_buffered: int = 1_048_576
    """A congested connection for which this much more waits is reset."""
    max_burst: int = 4_194_304
    """What one turn of the loop may write to a connection for which nothing waited, before it is reset for it.
    So at most `max_burst + max_buffered` waits for anyone."""
    stall_timeout: float = 5.0
    """A connection that takes nothing for so long while bytes wait for it is reset."""
    send_buffer: int = 262_144
    """SO_SNDBUF of a websocket: what the kernel holds for it beside. 0: leave it to the kernel (up to 4 MB)."""
    upgrade_timeout: float = 10.0
    """From a second, upgrading websocket's opening to its packet `5`."""
    close_timeout: float = 1.0
    """From our close frame until the connection is dropped, answered or not."""
    body_timeout: float = 10.0
    """For reading the body of a polling POST."""
    shutdown_timeout: float = 5.0
    """For closing everything, handlers of `disconnect` included."""

    def __post_init__(self) -> None:
        off = {"max_unauthenticated_per_address", "max_per_address", "max_connections", "send_buffer"}
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name not in off):
                raise ValueError(f"{field.name} must be positive, not {value!r}")
