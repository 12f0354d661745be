"""All settings, each declared once. The README's table and `python -m app config` are derived from this."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from app.hosts import Network
from app.settings import forms
from app.settings.setting import flag, number, settings_of, text, texts, whole


class SettingsError(Exception):
    """The message lists every invalid setting, and why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective settings. Field names are the names of the environment variables, in lower case."""

    host: str = text(
        "Address to listen on. By default 127.0.0.1, or all addresses if PORT is set.", take=forms.address_or_name
    )
    port: int = whole("Port to listen on. By default 8080.", None, 0, 65_535)
    auth_secret: list[str] | None = texts(
        "Secret that signs the tokens (HS256), 32 bytes or more. May be a comma-separated list: the "
        "first signs, all verify. By default created and kept in DATA_DIR; required with MONGODB_URI.",
        None,
        secret=True,
        take=forms.signing_secrets,
    )
    token_max_days: float = number(
        "Longest lifetime of a token in days, counted from `iat`; tokens with a longer one are refused. "
        "Revocations are kept for as long.",
        3650.0,
        1,
        36_500,
    )
    mongodb_uri: str | None = text(
        "A replica set. By default the server runs a private mongod.", secret=True, take=forms.mongodb_uri
    )
    redis_url: str | None = text(
        "Redis or Valkey, 6.2 or newer, through which several servers report commits to one another: redis://, "
        "rediss:// (TLS) or redis+sentinel://host,host/service. By default they use the database.",
        secret=True,
        take=forms.redis_url,
    )
    mongodb_database: str = text("Name of the database.", "roomcast", take=forms.database_name)
    mongodb_timeout: float = number("Time limit for a database call, in seconds.", 5.0, 0.5, 60)
    mongod_binary: str | None = text("The mongod to run. By default the one on PATH, or that of the extra `embedded`.")
    sessions_file: Path | None = text(
        "A TOML file with the settings of sessions, such as the secrets of providers. Read at start and on SIGHUP.",
        take=forms.file_path,
    )
    data_dir: Path = text(
        "Directory for the private mongod's data and the created secret.", "data", take=forms.file_path
    )
    public_url: tuple[str, ...] = texts(
        "Public address of the server, such as https://chat.example.com; may be a comma-separated list. "
        "Required behind a proxy if HOST is loopback.",
        take=forms.public_urls,
    )
    allowed_origins: tuple[str, ...] = texts(
        "Comma-separated origins of other pages and apps that may use Socket.IO and REST. By default "
        "only pages of this server. Those of PUBLIC_URL are always allowed.",
        take=forms.page_origins,
    )
    media_origins: tuple[str, ...] = texts(
        "Comma-separated origins whose pictures, sounds and videos the page loads by itself. Others open"
        " after a click.",
        take=forms.media_origins,
    )
    trusted_proxies: tuple[Network, ...] = texts(
        "Comma-separated addresses or networks of reverse proxies whose X-Forwarded-For is trusted.",
        take=forms.networks,
    )
    request_rate: float = number(
        "HTTP requests per second for one token, with bursts of twice as many; more are answered 429.",
        10_000.0,
        0.1,
        1_000_000,
    )
    unauthorized_rate: float = number(
        "HTTP requests per second without a valid token from one address, with bursts of ten times as "
        "many; more are answered 429.",
        20.0,
        0.1,
        1_000_000,
    )
    event_retention_days: int = whole("Days for which events are kept for catching up.", 30, 1, 3650)
    recovery_max_events: int = whole(
        "A client that missed more events has to load its lists again.", 10_000, 0, 1_000_000
    )
    recovery_seconds: float = number("Seconds for which Socket.IO's own recovery is possible.", 120.0, 1, 3600)
    recent_max_bytes: int = whole(
        "Memory for the newest events of watched sessions, from which clients catch up.",
        536_870_912,
        1_048_576,
        17_179_869_184,
    )
    batch_max_events: int = whole(
        "Maximum number of events in a batch, for clients that request batches.", 100, 1, 1000
    )
    batch_max_ms: int = whole("Milliseconds for which a batch collects events.", 50, 1, 10_000)
    ping_interval: float = number("Seconds between heartbeats.", 25.0, 0.1, 300)
    ping_timeout: float = number("Seconds to answer a heartbeat.", 20.0, 0.1, 300)
    compression: bool = flag("Offer permessage-deflate.", default=True)
    max_connections: int = whole("Client connections in total; more are answered 503.", 10_000, 1, 1_000_000)
    max_connections_per_address: int = whole(
        "Client connections of one address (an IPv6 /64 network counts as one address); more are "
        "answered 429. The limit for HTTP connections is twice this number plus 100.",
        1000,
        1,
        1_000_000,
    )
    max_unauthenticated_per_address: int = whole(
        "Connections of one address that are not yet authenticated.", 50, 1, 1_000_000
    )
    max_connections_per_sub: int = whole("Connections of one person (the token's `sub`).", 200, 1, 1_000_000)
    max_packet_bytes: int = whole("Maximum size of a client packet with its attachments.", 65_536, 1024, 16_777_216)
    max_packet_depth: int = whole("Maximum nesting of a client packet's JSON.", 32, 2, 512)
    max_attachments: int = whole("Maximum number of binary attachments of a client packet.", 10, 1, 1000)
    event_rate: float = number("Events per second of one client; more are answered rate_limited.", 20.0, 0.1, 100_000)
    event_burst: int = whole("Events of one client at once; twice as many close the connection.", 40, 1, 1_000_000)
    max_waiting_events: int = whole("Events of one client that may wait to be handled.", 32, 1, 10_000)
    connect_timeout: float = number("Seconds in which a new connection must send its token.", 10.0, 0.5, 300)
    max_buffered_bytes: int = whole(
        "Bytes that may be buffered for a client that reads slowly.", 1_048_576, 65_536, 268_435_456
    )
    stall_timeout: float = number(
        "Seconds after which a client that reads nothing is disconnected; up to four times that on slow links.",
        5.0,
        0.5,
        300,
    )
    header_timeout: float = number("Seconds to send the headers of a request.", 10.0, 0.5, 300)
    body_timeout: float = number("Seconds to send the body of a request.", 30.0, 0.5, 600)
    shutdown_timeout: float = number("Seconds for closing all connections at shutdown.", 5.0, 0.5, 60)
    queue_max_commands: int = whole(
        "Posted bodies that may wait for the database; more are answered 503.", 10_000, 1, 1_000_000
    )
    queue_max_bytes: int = whole("Their size in bytes; more is answered 503.", 67_108_864, 1_048_576, 17_179_869_184)
    write_deadline: float = number(
        "Seconds after which a posted message that could not be stored is answered 503.", 10.0, 1, 60
    )
    reconnect_delay_ms: int = whole("Milliseconds before the page reconnects for the first time.", 500, 50, 60_000)
    reconnect_delay_max_ms: int = whole("Maximum of this delay.", 5000, 50, 600_000)
    reconnect_jitter: float = number("Random part of this delay, from 0 to 1.", 0.5, 0, 1)
    keep_deleted: bool = flag("Keep the content of deleted messages, in the database and in answers.", default=False)
    metrics_public: bool = flag("Answer /metrics to everyone, not only to loopback.", default=False)
    admin_ui_password: str | None = text("Enables Socket.IO's Admin UI, read-only, for the user admin.", secret=True)
    log_level: str = text(
        "debug, info, warning or error.", "info", take=forms.one_of("debug", "info", "warning", "error")
    )
    log_format: str = text(
        "json, console, or auto (console on a terminal).", "auto", take=forms.one_of("json", "console", "auto")
    )

    def render(self) -> dict[str, str]:
        """The values for people, by variable name, with secrets hidden."""
        return {setting.name: setting.show(getattr(self, setting.name.lower())) for setting in SETTINGS}


SETTINGS: Final = settings_of(fields(Settings))


def load() -> Settings:
    """Read the settings from the environment. Raises SettingsError with all errors."""
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for setting in SETTINGS:
        try:
            values[setting.name.lower()] = setting.read()
        except ValueError as error:
            faults[setting.name] = str(error)
    _check(values, faults)
    if faults:
        raise SettingsError("\n".join(f"{name}: {words}" for name, words in sorted(faults.items())))
    port_given = values["port"] is not None
    values["port"] = values["port"] if port_given else 8080
    values["host"] = values["host"] or ("0.0.0.0" if port_given else "127.0.0.1")  # noqa: S104  a platform sets PORT
    return Settings(**values)


def _check(values: dict[str, Any], faults: dict[str, str]) -> None:
    """Check rules between settings. Invalid settings are not in `values`."""
    if values.get("mongodb_uri") and values.get("auth_secret", ...) is None:
        words = "Required with MONGODB_URI, so that it is the same for all servers and restarts."
        faults |= {"AUTH_SECRET": words}
    if values.get("reconnect_delay_max_ms", math.inf) < values.get("reconnect_delay_ms", 0):
        faults["RECONNECT_DELAY_MAX_MS"] = "Must not be below RECONNECT_DELAY_MS."
