"""Checks before the server runs: its address, directory, secret and files.

Each error is one line that begins with the name of the setting to change.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from app.devdb.secret import kept_secret
from app.session_settings import Sessions
from app.settings import SECRET_BYTES, Settings, SettingsError, load

log = structlog.get_logger(__name__)

SEND_BUFFER_BYTES: Final = 256 * 1024
"""The kernel's send buffer for a client that does not read."""
OTHER_FILES: Final = 256
"""Open files other than client connections: database connections, the listening socket, logs, HTTP requests."""


def listen(host: str, port: int) -> socket.socket:
    """Bind the listening socket, before anything else is started. Raises SettingsError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "not a valid host name"
        raise SettingsError(f"HOST: {host!r} does not resolve: {words}.") from error
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # HOST=:: means all addresses, including IPv4
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        name, advice = {
            errno.EADDRNOTAVAIL: ("HOST", "Set HOST to an address of this machine."),
            errno.EACCES: ("PORT", "Ports below 1024 need a privilege: set PORT to another port."),
        }.get(error.errno or 0, ("PORT", "Set PORT to another port."))
        raise SettingsError(f"{name}: cannot listen on {host}:{port}: {error.strerror}. {advice}") from error
    return listening


def check_data_dir(path: Path) -> None:
    """Check that the directory can be used or created. Creates nothing. Raises SettingsError."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise SettingsError(f"DATA_DIR: {place} is not a directory.")
    if place == path.absolute() and place.stat().st_uid != os.geteuid():
        raise SettingsError(f"DATA_DIR: {place} belongs to another user. Change its owner, or set another directory.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise SettingsError(f"DATA_DIR: {place} is not writable by this user.")


def fit_open_files(settings: Settings) -> Settings:
    """Raise the limit for open files to the hard limit. If MAX_CONNECTIONS does not fit, lower it and log that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS allows less than the reported limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or settings.max_connections + OTHER_FILES <= soft:
        return settings
    fitting = max(1, soft - OTHER_FILES)
    log.warning(
        "max_connections_lowered",
        asked=settings.max_connections,
        connections=fitting,
        open_files=soft,
        hint="Raise the hard limit for open files (ulimit -Hn, LimitNOFILE) to "
        f"{settings.max_connections + OTHER_FILES}, or lower MAX_CONNECTIONS.",
    )
    return replace(settings, max_connections=fitting)


def load_settings() -> Settings:
    """Load the settings and check SESSIONS_FILE. Raises SettingsError, SessionsFileError."""
    effective = load()
    Sessions(effective.sessions_file)
    return effective


def auth_secrets(settings: Settings) -> list[str]:
    """The secrets of AUTH_SECRET, or the one in DATA_DIR, which is created if needed. Raises SettingsError."""
    if settings.auth_secret:
        return settings.auth_secret
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [_kept(secret_file(settings))]


def known_secrets(settings: Settings) -> list[str]:
    """The same for commands that never create a secret. Raises SettingsError if there is none."""
    if settings.auth_secret:
        return settings.auth_secret
    path = secret_file(settings)
    if not path.exists():
        raise SettingsError(
            f"AUTH_SECRET: not set, and there is no {path}. Start the server once, or set DATA_DIR or AUTH_SECRET "
            "to the server's value."
        )
    return [_kept(path)]


def secret_file(settings: Settings) -> Path:
    return settings.data_dir.absolute() / "auth_secret"


def _kept(path: Path) -> str:
    """Raises SettingsError for a secret that is too short."""
    secret = kept_secret(path)
    if len(secret.encode()) < SECRET_BYTES:
        raise SettingsError(f"AUTH_SECRET: {path} is too short: delete it, or write {SECRET_BYTES} bytes or more.")
    return secret
