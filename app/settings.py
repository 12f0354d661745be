"""Every setting, read once from the environment, validated together.

`SETTINGS` is the one table: the README's table, `python -m app config` and the reading itself come from it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import marshmallow
from environs import Env, EnvValidationError

from app.hosts import Origin, read_host, read_origin

SECRET_BYTES: Final = 32
"""A shorter AUTH_SECRET is weaker than HS256 itself (RFC 7518, 3.2)."""

_MEDIA_ORIGIN: Final = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?")
"""What a Content-Security-Policy can name as a host: it has no form for IPv6 addresses (CSP Level 3, 2.3.1)."""


_DATABASE_NAME: Final = re.compile(r'[^/\\. "$*<>:|?\0]{1,63}')
_OWN_DATABASES: Final = ("admin", "config", "local")
"""MongoDB's own."""

_NOT_OF_PAGES: Final = ("ws", "wss", "ftp", "ftps", "mongodb", "data", "blob", "about", "javascript", "mailto")


class SettingsError(Exception):
    """The message lists every setting that could not be accepted, and why."""


@dataclass(frozen=True, slots=True)
class Setting:
    """`kind` is the name of environs' method that reads it."""

    name: str
    kind: str
    default: Any
    words: str
    secret: bool = False
    least: float | None = None
    most: float | None = None


SETTINGS: Final = (
    Setting("HOST", "str", None, "Address to listen on. 127.0.0.1, or every address where PORT is set."),
    Setting("PORT", "int", None, "Port to listen on. 8080 unless set.", least=0, most=65535),
    Setting(
        "AUTH_SECRET",
        "list",
        None,
        "Signs the tokens (HS256), 32 bytes or more; several by commas: the first signs, all verify. "
        "Made and kept in DATA_DIR; with MONGODB_URI it must be set.",
        secret=True,
    ),
    Setting("MONGODB_URI", "str", None, "A replica set. Unless set, the server runs a private mongod.", secret=True),
    Setting("MONGODB_DATABASE", "str", "roomcast", "Name of the database."),
    Setting("MONGODB_TIMEOUT", "float", 5.0, "Seconds that a call to the database may take.", least=0.5, most=60),
    Setting(
        "MONGOD_BINARY", "str", None, "The mongod to run; else the one on PATH, else that of the extra `embedded`."
    ),
    Setting(
        "SESSIONS_FILE",
        "str",
        None,
        "A TOML file with the settings of sessions, such as providers' secrets. Read at start and on SIGHUP.",
    ),
    Setting("DATA_DIR", "str", "data", "Where the private mongod's data and the made secret lie."),
    Setting(
        "PUBLIC_URL",
        "list",
        (),
        "What the server is called from outside, such as https://chat.example.com; several by commas. "
        "Needed behind a proxy where HOST is loopback.",
    ),
    Setting(
        "ALLOWED_ORIGINS",
        "list",
        (),
        "Origins of other pages and apps that may use Socket.IO and REST, by commas. Unless set, pages of this server; "
        "those of PUBLIC_URL always.",
    ),
    Setting(
        "MEDIA_ORIGINS",
        "list",
        (),
        "Origins whose pictures, sounds and videos the page loads by itself, by commas. Others open after a click.",
    ),
    Setting(
        "TRUSTED_PROXIES", "list", (), "Addresses or networks of reverse proxies whose X-Forwarded-For is believed."
    ),
    Setting(
        "REQUEST_RATE",
        "float",
        10_000.0,
        "HTTP requests a second of one token, twice as many at once; more are answered 429.",
        least=0.1,
        most=1_000_000,
    ),
    Setting(
        "UNAUTHORIZED_RATE",
        "float",
        20.0,
        "HTTP requests a second without a valid token from one address, ten times as many at once; more: 429.",
        least=0.1,
        most=1_000_000,
    ),
    Setting("EVENT_RETENTION_DAYS", "int", 30, "How long events can be caught up.", least=1, most=3650),
    Setting(
        "RECOVERY_MAX_EVENTS", "int", 10_000, "A client that missed more loads its lists anew.", least=0, most=1_000_000
    ),
    Setting("RECOVERY_SECONDS", "float", 120.0, "How long Socket.IO's own recovery is possible.", least=1, most=3600),
    Setting(
        "RECENT_MAX_BYTES",
        "int",
        536_870_912,
        "Memory for the newest events of watched sessions, from which clients catch up.",
        least=1_048_576,
        most=17_179_869_184,
    ),
    Setting("BATCH_MAX_EVENTS", "int", 100, "Events in a batch, for clients that ask for batches.", least=1, most=1000),
    Setting("BATCH_MAX_MS", "int", 50, "Milliseconds that a batch gathers.", least=1, most=10_000),
    Setting("PING_INTERVAL", "float", 25.0, "Seconds between heartbeats.", least=0.1, most=300),
    Setting("PING_TIMEOUT", "float", 20.0, "Seconds to answer a heartbeat.", least=0.1, most=300),
    Setting("COMPRESSION", "bool", True, "Offer permessage-deflate."),
    Setting(
        "MAX_CONNECTIONS", "int", 10_000, "Client connections in all; more are answered 503.", least=1, most=1_000_000
    ),
    Setting(
        "MAX_CONNECTIONS_PER_ADDRESS",
        "int",
        1_000,
        "Client connections of one address (an IPv6 network of 64 bits is one); more are answered 429. "
        "HTTP connections: twice as many and 100.",
        least=1,
        most=1_000_000,
    ),
    Setting(
        "MAX_UNAUTHENTICATED_PER_ADDRESS",
        "int",
        50,
        "Connections of one address that are not yet let in.",
        least=1,
        most=1_000_000,
    ),
    Setting("MAX_CONNECTIONS_PER_SUB", "int", 200, "Connections of one person.", least=1, most=1_000_000),
    Setting("MAX_PACKET_BYTES", "int", 65_536, "A client's packet, with its attachments.", least=1024, most=16_777_216),
    Setting("MAX_PACKET_DEPTH", "int", 32, "Nesting of a packet's JSON.", least=2, most=512),
    Setting("MAX_ATTACHMENTS", "int", 10, "Binary attachments of a packet.", least=1, most=1000),
    Setting(
        "EVENT_RATE",
        "float",
        20.0,
        "Events a second of one client; more are answered rate_limited.",
        least=0.1,
        most=100_000,
    ),
    Setting("EVENT_BURST", "int", 40, "Events of one client at once; twice as many close it.", least=1, most=1_000_000),
    Setting("MAX_WAITING_EVENTS", "int", 32, "Events of one client that wait for their turn.", least=1, most=10_000),
    Setting(
        "CONNECT_TIMEOUT", "float", 10.0, "Seconds until a connection must have shown its token.", least=0.5, most=300
    ),
    Setting(
        "MAX_BUFFERED_BYTES",
        "int",
        1_048_576,
        "Bytes that may wait for a client that does not take them.",
        least=65_536,
        most=268_435_456,
    ),
    Setting("STALL_TIMEOUT", "float", 5.0, "Seconds until a client that takes nothing is closed.", least=0.5, most=300),
    Setting("HEADER_TIMEOUT", "float", 10.0, "Seconds to send the head of a request.", least=0.5, most=300),
    Setting("BODY_TIMEOUT", "float", 30.0, "Seconds to send the body of a request.", least=0.5, most=600),
    Setting("SHUTDOWN_TIMEOUT", "float", 5.0, "Seconds for closing all connections at the end.", least=0.5, most=60),
    Setting(
        "QUEUE_MAX_COMMANDS",
        "int",
        10_000,
        "Posted bodies that may wait for the database; more: 503.",
        least=1,
        most=1_000_000,
    ),
    Setting("QUEUE_MAX_BYTES", "int", 67_108_864, "Their bytes; more: 503.", least=1_048_576, most=17_179_869_184),
    Setting("WRITE_DEADLINE", "float", 10.0, "Seconds until a posted message is given up with 503.", least=1, most=60),
    Setting(
        "RECONNECT_DELAY_MS", "int", 500, "The page's first delay before it connects again.", least=50, most=60_000
    ),
    Setting("RECONNECT_DELAY_MAX_MS", "int", 5_000, "The page's longest such delay.", least=50, most=600_000),
    Setting("RECONNECT_JITTER", "float", 0.5, "The part of such a delay that is left to chance.", least=0, most=1),
    Setting("KEEP_DELETED", "bool", False, "Keep what deleted messages said, in the database and in answers."),
    Setting("METRICS_PUBLIC", "bool", False, "Answer /metrics to everybody, not to loopback alone."),
    Setting("ADMIN_UI_PASSWORD", "str", None, "Lets Socket.IO's Admin UI look on, as user admin.", secret=True),
    Setting("LOG_LEVEL", "str", "info", "debug, info, warning or error."),
    Setting("LOG_FORMAT", "str", "auto", "json, console, or auto: console on a terminal."),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective settings. Field names are those of the environment, in lower case."""

    host: str
    port: int
    auth_secret: list[str] | None
    mongodb_uri: str | None
    mongodb_database: str
    mongodb_timeout: float
    mongod_binary: str | None
    sessions_file: Path | None
    data_dir: Path
    public_url: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    media_origins: tuple[str, ...]
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    request_rate: float
    unauthorized_rate: float
    event_retention_days: int
    recovery_max_events: int
    recovery_seconds: float
    recent_max_bytes: int
    batch_max_events: int
    batch_max_ms: int
    ping_interval: float
    ping_timeout: float
    compression: bool
    max_connections: int
    max_connections_per_address: int
    max_unauthenticated_per_address: int
    max_connections_per_sub: int
    max_packet_bytes: int
    max_packet_depth: int
    max_attachments: int
    event_rate: float
    event_burst: int
    max_waiting_events: int
    connect_timeout: float
    max_buffered_bytes: int
    stall_timeout: float
    header_timeout: float
    body_timeout: float
    shutdown_timeout: float
    queue_max_commands: int
    queue_max_bytes: int
    write_deadline: float
    reconnect_delay_ms: int
    reconnect_delay_max_ms: int
    reconnect_jitter: float
    keep_deleted: bool
    metrics_public: bool
    admin_ui_password: str | None
    log_level: str
    log_format: str

    def render(self) -> dict[str, str]:
        """For people: by the name in the environment, secrets hidden."""
        secrets = {setting.name for setting in SETTINGS if setting.secret}
        shown: dict[str, str] = {}
        for field in fields(self):
            name, value = field.name.upper(), getattr(self, field.name)
            if value is None:
                shown[name] = ""
            elif name in secrets:
                shown[name] = "(set)"
            elif isinstance(value, tuple):
                shown[name] = ",".join(map(str, value))
            elif isinstance(value, bool):
                shown[name] = str(value).lower()
            else:
                shown[name] = str(value)
        return shown


def load() -> Settings:
    """The settings of the environment. Raises SettingsError with all that is wrong."""
    values, faults = _read()
    _check(values, faults)
    if faults:
        raise SettingsError("\n".join(f"{name}: {', '.join(words)}" for name, words in sorted(faults.items())))
    port_given = values["port"] is not None
    values["port"] = values["port"] if port_given else 8080
    values["host"] = values["host"] or ("0.0.0.0" if port_given else "127.0.0.1")  # noqa: S104  a platform sets PORT
    values["data_dir"] = Path(values["data_dir"])
    values["sessions_file"] = Path(values["sessions_file"]) if values["sessions_file"] else None
    return Settings(**values)


def _read() -> tuple[dict[str, Any], dict[str, list[str]]]:
    env = Env(eager=False)
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        arguments: dict[str, Any] = {}
        if setting.least is not None:
            arguments["validate"] = marshmallow.validate.Range(setting.least, setting.most)
        if os.environ.get(setting.name, "").strip() == "":
            value = setting.default  # set to nothing is not set
        else:
            value = getattr(env, setting.kind)(setting.name, **arguments)
        values[setting.name.lower()] = value
    try:
        env.seal()
    except EnvValidationError as error:
        return values, _words(error)
    return values, {}


def _check(values: dict[str, Any], faults: dict[str, list[str]]) -> None:
    """What concerns more than one value's own form; `values` gets the final types."""

    def fault(name: str, words: str) -> None:
        faults.setdefault(name, []).append(words)

    for name, check, words in (
        ("PUBLIC_URL", _is_http, "Each must be like https://chat.example.com or http://10.0.0.5:8080, without a path."),
        (
            "ALLOWED_ORIGINS",
            _is_sent,
            "Each must be an origin as browsers send it, like https://example.com, "
            "http://localhost:5173, capacitor://localhost, file:// or null; no path, no wildcard.",
        ),
    ):
        found = [read_origin(_without_slash(one)) for one in values[name.lower()] or []]
        if not all(one is not None and check(one) for one in found):
            fault(name, words)
        values[name.lower()] = tuple(str(one) for one in found)
    proxies = []
    media = [origin.strip().rstrip("/").lower() for origin in values["media_origins"] or []]
    if not all(_MEDIA_ORIGIN.fullmatch(origin) for origin in media):
        fault("MEDIA_ORIGINS", "Each must be like https://media.example.com, with a name or an IPv4 address as host.")
    values["media_origins"] = tuple(media)
    for proxy in values["trusted_proxies"] or []:
        try:
            proxies.append(_unmapped(ipaddress.ip_network(proxy.strip(), strict=False)))
        except ValueError:
            fault("TRUSTED_PROXIES", "Each must be an IP address or network, such as 10.0.0.0/8.")
    values["trusted_proxies"] = tuple(proxies)
    if values["log_level"] not in ("debug", "info", "warning", "error"):
        fault("LOG_LEVEL", "Must be debug, info, warning or error.")
    if values["log_format"] not in ("json", "console", "auto"):
        fault("LOG_FORMAT", "Must be json, console or auto.")
    if values["mongodb_uri"] and not values["mongodb_uri"].startswith(("mongodb://", "mongodb+srv://")):
        fault("MONGODB_URI", "Must begin with mongodb:// or mongodb+srv://.")
    if not _DATABASE_NAME.fullmatch(values["mongodb_database"]) or values["mongodb_database"] in _OWN_DATABASES:
        fault("MONGODB_DATABASE", 'Must be a name without any of /\\. "$*<>:|? and not admin, config or local.')
    if values["host"] and not _is_host(values["host"]):
        fault("HOST", "Must be an IP address or a host name, without a port.")
    values["auth_secret"] = [one.strip() for one in values["auth_secret"] or [] if one.strip()] or None
    if any(len(secret.encode()) < SECRET_BYTES for secret in values["auth_secret"] or []):
        fault("AUTH_SECRET", f"Each secret must have {SECRET_BYTES} bytes or more (RFC 7518, 3.2).")
    if values["mongodb_uri"] and not values["auth_secret"]:
        fault("AUTH_SECRET", "Must be set where MONGODB_URI is, to be the same for all servers and restarts.")
    least, most = values["reconnect_delay_ms"], values["reconnect_delay_max_ms"]
    if least is not None and most is not None and "RECONNECT_DELAY_MAX_MS" not in faults and most < least:
        fault("RECONNECT_DELAY_MAX_MS", "Must not be below RECONNECT_DELAY_MS.")


def _is_host(text: str) -> bool:
    """An address without brackets, or a name; no port."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        host = read_host(text)
        return host is not None and host.port is None and ":" not in text
    return True


def _without_slash(url: str) -> str:
    url = url.strip()
    return "file://" if url == "file:///" else url if url.endswith("://") else url.removesuffix("/")


def _is_http(origin: Origin) -> bool:
    return origin.scheme in ("http", "https")


def _is_sent(origin: Origin) -> bool:
    """Whether a browser or an app can send it: the scheme of a page is never that of a websocket or of mail."""
    return origin.scheme not in _NOT_OF_PAGES


def _unmapped(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """IPv4 for a network of IPv4 addresses that is written as IPv6, as clients' addresses are."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))


def _words(error: EnvValidationError) -> dict[str, list[str]]:
    messages = error.error_messages
    if isinstance(messages, list):
        return {"settings": messages}
    return {name: list(map(str, words)) for name, words in messages.items()}
