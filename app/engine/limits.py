"""All limits of the engine, with safe defaults."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits for clients. Sizes are in bytes, times in seconds.

    Values must be positive, except where 0 is documented to disable a limit.
    """

    max_packet: int = 65_536
    """Maximum size of a decompressed WebSocket message, of a polling POST's body, and of a packet with its
    attachments."""
    max_depth: int = 32
    """Maximum nesting of a packet's JSON, including its outermost array or object."""
    max_attachments: int = 10
    """Maximum number of binary attachments of a packet."""
    max_namespaces: int = 16
    """Maximum number of namespaces of one connection."""
    event_rate: float = 20.0
    """Packets per second that a client may send on average. Every Socket.IO packet counts, except requested
    acknowledgements; a large packet counts once more for each 8 kB."""
    event_burst: int = 40
    """Packets at once. Events above it are answered `rate_limited` and count as well. A client that sends twice as
    many (80 at once, for example) is closed."""
    max_waiting_events: int = 32
    """Events of one client that may wait for its handlers; more are answered `rate_limited`."""
    max_waiting_event_bytes: int = 262_144
    """Their size as received."""
    max_callbacks: int = 1_000
    """Pending acknowledgements of one client; beyond that, the oldest one is forgotten."""
    connect_timeout: float = 10.0
    """From the handshake (or from leaving the last namespace) until a connect handler has accepted the client. A
    client that starts an upgrade before that gets `upgrade_timeout` more, once."""
    max_unauthenticated_per_address: int = 50
    """Connections of one address that no connect handler has accepted yet; more are answered 429. 0: no limit."""
    max_per_address: int = 1_000
    """Connections of one address (of a /64 network for IPv6); more are answered 429. 0: no limit."""
    max_connections: int = 10_000
    """Connections in total; more are answered 503. 0: no limit."""
    high_water: int = 65_536
    """A connection with more unsent bytes is congested: the user is told, and may wait until it has drained."""
    max_buffered: int = 1_048_576
    """A congested connection with this many more unsent bytes is reset."""
    max_burst: int = 4_194_304
    """What one turn of the loop may write to a connection without unsent bytes before the connection is reset. So no
    connection has more than `max_burst + max_buffered` unsent bytes."""
    stall_timeout: float = 5.0
    """A connection with unsent bytes that reads nothing for this long is reset."""
    send_buffer: int = 262_144
    """SO_SNDBUF of a WebSocket: what the kernel buffers in addition. 0: the kernel decides (up to 4 MB)."""
    upgrade_timeout: float = 10.0
    """From opening the WebSocket of an upgrade until its packet `5`."""
    close_timeout: float = 1.0
    """From our close frame until the connection is dropped, answered or not."""
    body_timeout: float = 10.0
    """Time to receive the body of a polling POST."""
    shutdown_timeout: float = 5.0
    """Time to close everything, including `disconnect` handlers."""

    def __post_init__(self) -> None:
        off = {"max_unauthenticated_per_address", "max_per_address", "max_connections", "send_buffer"}
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name not in off):
                raise ValueError(f"{field.name} must be positive, not {value!r}")
