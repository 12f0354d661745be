"""All settings: each is declared here, once. The README's table and `python -m app config` follow."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from app.settings import forms
from app.settings.setting import flag, number, settings_of, text, texts, whole


class SettingsError(Exception):
    """The message lists every setting that could not be accepted, and why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective settings. Field names are those of the environment, in lower case."""

    host: str = text("Address to listen on. 127.0.0.1, or every address where PORT is set.", take=forms.address_or_name)
    port: int = whole("Port to listen on. 8080 unless set.", None, 0, 65_535)
    auth_secret: list[str] | None = texts(
        "Signs the tokens (HS256), 32 bytes or more; several by commas: the first signs, all verify. Made and "
        "kept in DATA_DIR; with MONGODB_URI it must be set.",
        None,
        secret=True,
        take=forms.signing_secrets,
    )
    mongodb_uri: str | None = text(
        "A replica set. Unless set, the server runs a private mongod.", secret=True, take=forms.mongodb_uri
    )
    mongodb_database: str = text("Name of the database.", "roomcast", take=forms.database_name)
    mongodb_timeout: float = number("Seconds that a call to the database may take.", 5.0, 0.5, 60)
    mongod_binary: str | None = text("The mongod to run; else the one on PATH, else that of the extra `embedded`.")
    sessions_file: Path | None = text(
        "A TOML file with the settings of sessions, such as providers' secrets. Read at start and on SIGHUP.",
        take=forms.file_path,
    )
    data_dir: Path = text("Where the private mongod's data and the made secret lie.", "data", take=forms.file_path)
    public_url: tuple[str, ...] = texts(
        "What the server is called from outside, such as https://chat.example.com; several by commas. Needed "
        "behind a proxy where HOST is loopback.",
        take=forms.public_urls,
    )
    allowed_origins: tuple[str, ...] = texts(
        "Origins of other pages and apps that may use Socket.IO and REST, by commas. Unless set, pages of "
        "this server; those of PUBLIC_URL always.",
        take=forms.page_origins,
    )
    media_origins: tuple[str, ...] = texts(
        "Origins whose pictures, sounds and videos the page loads by itself, by commas. Others open after a click.",
        take=forms.media_origins,
    )
    trusted_proxies: tuple[forms.Network, ...] = texts(
        "Addresses or networks of reverse proxies whose X-Forwarded-For is believed.", take=forms.networks
    )
    request_rate: float = number(
        "HTTP requests a second of one token, twice as many at once; more are answered 429.", 10_000.0, 0.1, 1_000_000
    )
    unauthorized_rate: float = number(
        "HTTP requests a second without a valid token from one address, ten times as many at once; more: 429.",
        20.0,
        0.1,
        1_000_000,
    )
    event_retention_days: int = whole("How long events can be caught up.", 30, 1, 3650)
    recovery_max_events: int = whole("A client that missed more loads its lists anew.", 10_000, 0, 1_000_000)
    recovery_seconds: float = number("How long Socket.IO's own recovery is possible.", 120.0, 1, 3600)
    recent_max_bytes: int = whole(
        "Memory for the newest events of watched sessions, from which clients catch up.",
        536_870_912,
        1_048_576,
        17_179_869_184,
    )
    batch_max_events: int = whole("Events in a batch, for clients that ask for batches.", 100, 1, 1000)
    batch_max_ms: int = whole("Milliseconds that a batch gathers.", 50, 1, 10_000)
    ping_interval: float = number("Seconds between heartbeats.", 25.0, 0.1, 300)
    ping_timeout: float = number("Seconds to answer a heartbeat.", 20.0, 0.1, 300)
    compression: bool = flag("Offer permessage-deflate.", default=True)
    max_connections: int = whole("Client connections in all; more are answered 503.", 10_000, 1, 1_000_000)
    max_connections_per_address: int = whole(
        "Client connections of one address (an IPv6 network of 64 bits is one); more are answered 429. HTTP "
        "connections: twice as many and 100.",
        1000,
        1,
        1_000_000,
    )
    max_unauthenticated_per_address: int = whole(
        "Connections of one address that are not yet let in.", 50, 1, 1_000_000
    )
    max_connections_per_sub: int = whole("Connections of one person.", 200, 1, 1_000_000)
    max_packet_bytes: int = whole("A client's packet, with its attachments.", 65_536, 1024, 16_777_216)
    max_packet_depth: int = whole("Nesting of a packet's JSON.", 32, 2, 512)
    max_attachments: int = whole("Binary attachments of a packet.", 10, 1, 1000)
    event_rate: float = number("Events a second of one client; more are answered rate_limited.", 20.0, 0.1, 100_000)
    event_burst: int = whole("Events of one client at once; twice as many close it.", 40, 1, 1_000_000)
    max_waiting_events: int = whole("Events of one client that wait for their turn.", 32, 1, 10_000)
    connect_timeout: float = number("Seconds until a connection must have shown its token.", 10.0, 0.5, 300)
    max_buffered_bytes: int = whole(
        "Bytes that may wait for a client that does not take them.", 1_048_576, 65_536, 268_435_456
    )
    stall_timeout: float = number("Seconds until a client that takes nothing is closed.", 5.0, 0.5, 300)
    header_timeout: float = number("Seconds to send the head of a request.", 10.0, 0.5, 300)
    body_timeout: float = number("Seconds to send the body of a request.", 30.0, 0.5, 600)
    shutdown_timeout: float = number("Seconds for closing all connections at the end.", 5.0, 0.5, 60)
    queue_max_commands: int = whole("Posted bodies that may wait for the database; more: 503.", 10_000, 1, 1_000_000)
    queue_max_bytes: int = whole("Their bytes; more: 503.", 67_108_864, 1_048_576, 17_179_869_184)
    write_deadline: float = number("Seconds until a posted message is given up with 503.", 10.0, 1, 60)
    reconnect_delay_ms: int = whole("The page's first delay before it connects again.", 500, 50, 60_000)
    reconnect_delay_max_ms: int = whole("The page's longest such delay.", 5000, 50, 600_000)
    reconnect_jitter: float = number("The part of such a delay that is left to chance.", 0.5, 0, 1)
    keep_deleted: bool = flag("Keep what deleted messages said, in the database and in answers.", default=False)
    metrics_public: bool = flag("Answer /metrics to everybody, not to loopback alone.", default=False)
    admin_ui_password: str | None = text("Lets Socket.IO's Admin UI look on, as user admin.", secret=True)
    log_level: str = text(
        "debug, info, warning or error.", "info", take=forms.one_of("debug", "info", "warning", "error")
    )
    log_format: str = text(
        "json, console, or auto: console on a terminal.", "auto", take=forms.one_of("json", "console", "auto")
    )

    def render(self) -> dict[str, str]:
        """For people: by the name in the environment, secrets hidden."""
        return {setting.name: setting.show(getattr(self, setting.name.lower())) for setting in SETTINGS}


SETTINGS: Final = settings_of(fields(Settings))


def load() -> Settings:
    """The settings of the environment. Raises SettingsError with all that is wrong."""
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
    """What concerns more than one setting. Those that have a fault of their own are not in `values`."""
    if values.get("mongodb_uri") and values.get("auth_secret", ...) is None:
        words = "Must be set where MONGODB_URI is, to be the same for all servers and restarts."
        faults |= {"AUTH_SECRET": words}
    if values.get("reconnect_delay_max_ms", math.inf) < values.get("reconnect_delay_ms", 0):
        faults["RECONNECT_DELAY_MAX_MS"] = "Must not be below RECONNECT_DELAY_MS."
