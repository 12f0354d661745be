"""The settings of sessions: SESSIONS_FILE, a TOML file with a table for each session.

Read at start and on SIGHUP. All errors are reported at once; a file with an error changes nothing. A secret may be
`"env:NAME"`, which reads the environment variable of that name. Error messages never contain a secret.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from app.errors import AppError
from app.hosts import read_origin
from app.providers import SourceSettings
from app.providers.outgoing import VIAS, SendSettings, Via
from app.providers.webhook.send import key_of
from app.schemas import check_session_id

MAX_BYTES: Final = 1024 * 1024
_ENVIRONMENT: Final = "env:"
_NEEDED: Final[dict[Via, tuple[str, ...]]] = {
    "bot": (),
    "webhook": ("url", "key"),
    "evolution": ("url", "key", "instance"),
    "waha": ("url",),
    "cloud-api": ("key",),
}
"""The settings that each way of sending requires."""


class SessionsFileError(Exception):
    """The message lists every error of the file, one per line."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    name: str | None = None
    source: SourceSettings = field(default_factory=SourceSettings)
    send: SendSettings = field(default_factory=SendSettings)


class Sessions:
    """The settings of all sessions. A session that is not in the file has the defaults."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises SessionsFileError."""
        self._path = path
        self._sessions: Mapping[str, SessionSettings] = {}
        self.unmarked: frozenset[str] = frozenset()
        """Sessions with `source.mark_read = false`."""
        self.over_http: frozenset[str] = frozenset()
        """Sessions whose messages are sent over HTTP. Those of all others are sent by bots."""
        self.reload()

    def reload(self) -> None:
        """Read the file again. Raises SessionsFileError, and keeps the earlier settings then."""
        if self._path is not None:
            self._sessions = load(self._path)
            unmarked = (name for name, settings in self._sessions.items() if not settings.source.mark_read)
            self.unmarked = frozenset(unmarked)
            over_http = (name for name, settings in self._sessions.items() if settings.send.via != "bot")
            self.over_http = frozenset(over_http)

    def of(self, session_id: str) -> SessionSettings:
        return self._sessions.get(session_id, _DEFAULT)

    def __len__(self) -> int:
        return len(self._sessions)

    def numbers(self, allowed: Callable[[str, SourceSettings], bool]) -> dict[str, str | None]:
        """phone_number_id -> the session that names it, or None if the sender may not write to that session."""
        return {
            settings.source.phone_number_id: session_id if allowed(session_id, settings.source) else None
            for session_id, settings in self._sessions.items()
            if settings.source.phone_number_id
        }


_DEFAULT: Final = SessionSettings()


def load(path: Path, environ: Mapping[str, str] = os.environ) -> dict[str, SessionSettings]:
    """Raises SessionsFileError."""
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise SessionsFileError(f"{path}: The file is larger than {MAX_BYTES} bytes.")
        tables = tomllib.loads(data.decode())
    except OSError as error:
        raise SessionsFileError(f"{path}: {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SessionsFileError(f"{path}: The file is not valid TOML: {error}.") from None
    reader = _Reader(environ)
    sessions = {session_id: reader.session(session_id, table) for session_id, table in tables.items()}
    reader.check_numbers(sessions)
    if reader.faults:
        raise SessionsFileError("\n".join(f"{path}: {fault}" for fault in reader.faults))
    return sessions


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.faults: list[str] = []

    def session(self, session_id: str, table: object) -> SessionSettings:
        try:
            check_session_id(session_id)
        except AppError:
            self.faults.append(f"[{session_id}]: A sessionId has 1 to 64 of A-Z a-z 0-9 _ . : @ -")
        if not isinstance(table, dict):
            self.faults.append(f"{session_id}: Must be a table.")
            return _DEFAULT
        given = _Table(self, session_id, table)
        source, send = given.table("source"), given.table("send")
        settings = SessionSettings(given.text("name"), self._source(source), self._send(send))
        for one in (given, source, send):
            one.refuse_the_rest()
        return settings

    @staticmethod
    def _source(given: _Table) -> SourceSettings:
        return SourceSettings(
            given.secrets("webhook_secret"),
            given.secret("verify_token"),
            given.text("phone_number_id"),
            given.flag("mark_read", default=True),
        )

    def _send(self, given: _Table) -> SendSettings:
        via = given.text("via") or "bot"
        known = next((one for one in VIAS if one == via), None)
        if known is None:
            given.fault("via", f"Must be one of: {', '.join(VIAS)}.")
        url = given.text("url")
        origin = read_origin(url.partition("//")[0] + "//" + url.partition("//")[2].partition("/")[0]) if url else None
        if url and (origin is None or origin.scheme not in ("http", "https")):
            given.fault("url", "Must be an http or https URL.")
        send = SendSettings(
            known or "bot",
            url,
            given.secret("key"),
            given.text("instance"),
            given.rate("rate"),
            given.flag("read_receipts", default=False),
            given.flag("typing", default=False),
            given.flag("presence", default=False),
        )
        for name in _NEEDED[send.via]:
            if not getattr(send, name):
                given.fault(name, f"Required with via = {send.via!r}.")
        if send.via == "webhook" and send.key and not _is_key(send.key):
            given.fault("key", "Must be whsec_ and base64. Several keys are separated by spaces.")
        return send

    def check_numbers(self, sessions: Mapping[str, SessionSettings]) -> None:
        named: dict[str, str] = {}
        for session_id, settings in sessions.items():
            number = settings.source.phone_number_id
            if number and (other := named.setdefault(number, session_id)) != session_id:
                self.faults.append(f"{session_id}.source.phone_number_id: {other} has the same number.")

    def resolve(self, where: str, value: str) -> str:
        """The secret itself, read from the environment if the value says so."""
        if not value.startswith(_ENVIRONMENT):
            return value
        name = value.removeprefix(_ENVIRONMENT)
        found = self._environ.get(name, "")
        if not found:
            self.faults.append(f"{where}: The environment variable {name} is not set.")
        return found


def _is_key(keys: str) -> bool:
    try:
        return all(len(key_of(key)) > 0 for key in keys.split())
    except ValueError:
        return False


class _Table:
    """A table whose fields are taken one by one, so that unknown ones are left over."""

    def __init__(self, reader: _Reader, where: str, fields: Mapping[str, Any]) -> None:
        self._reader, self._where, self._fields = reader, where, dict(fields)

    def fault(self, name: str, words: str) -> None:
        self._reader.faults.append(f"{self._where}.{name}: {words}")

    def table(self, name: str) -> _Table:
        value = self._fields.pop(name, {})
        if not isinstance(value, dict):
            self.fault(name, "Must be a table.")
            value = {}
        return _Table(self._reader, f"{self._where}.{name}", value)

    def text(self, name: str) -> str | None:
        value = self._fields.pop(name, None)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            self.fault(name, "Must be a non-empty string.")
            return None
        return value

    def secret(self, name: str) -> str | None:
        value = self.text(name)
        return value and self._reader.resolve(f"{self._where}.{name}", value)

    def secrets(self, name: str) -> tuple[str, ...]:
        value = self._fields.pop(name, None)
        several = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(one, str) and one.strip() for one in several) or value == []:
            self.fault(name, "Must be a non-empty string, or a list of them.")
            return ()
        return tuple(self._reader.resolve(f"{self._where}.{name}", one) for one in several)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._fields.pop(name, default)
        if not isinstance(value, bool):
            self.fault(name, "Must be true or false.")
            return default
        return value

    def rate(self, name: str) -> float | None:
        value = self._fields.pop(name, None)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
            self.fault(name, "Must be a number above 0.")
            return None
        return value

    def refuse_the_rest(self) -> None:
        for name in self._fields:
            self.fault(name, "Unknown setting.")
