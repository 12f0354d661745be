"""Settings: read once, checked together, shown without their secrets."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path

import pytest

from app import settings
from app.settings import SETTINGS, Settings, SettingsError


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)


def load(monkeypatch: pytest.MonkeyPatch, **environ: str) -> Settings:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return settings.load()


def faults(monkeypatch: pytest.MonkeyPatch, **environ: str) -> list[str]:
    """The names of the settings that were refused."""
    with pytest.raises(SettingsError) as error:
        load(monkeypatch, **environ)
    return [line.partition(":")[0] for line in str(error.value).splitlines()]


def test_defaults() -> None:
    """Without any setting there is a server for this machine alone, with a database of its own."""
    effective = settings.load()
    assert (effective.host, effective.port) == ("127.0.0.1", 8080)
    assert effective.mongodb_uri is None
    assert effective.auth_secret is None
    assert effective.allowed_origins == ()
    assert (effective.ping_interval, effective.ping_timeout) == (25, 20)
    assert effective.recovery_max_events == 10_000
    assert effective.data_dir == Path("data")


def test_each_setting_is_declared_once() -> None:
    """Each field of the effective settings is a setting with words for the README, and is shown."""
    names = [field.name.upper() for field in dataclasses.fields(Settings)]
    assert [setting.name for setting in SETTINGS] == names
    assert list(settings.load().render()) == names
    assert all(setting.words for setting in SETTINGS)


def test_port_opens_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a platform sets PORT the server listens on every address, unless HOST says otherwise."""
    assert load(monkeypatch, PORT="5000").host == "0.0.0.0"
    assert load(monkeypatch, PORT="5000", HOST="127.0.0.1").host == "127.0.0.1"


def test_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty value is none."""
    effective = load(monkeypatch, PORT="", AUTH_SECRET=" ", MONGODB_URI="", PING_INTERVAL="")
    assert (effective.port, effective.host, effective.auth_secret) == (8080, "127.0.0.1", None)
    assert (effective.mongodb_uri, effective.ping_interval) == (None, 25)


def test_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Origins and proxies are lists by commas, put into one form."""
    effective = load(
        monkeypatch,
        ALLOWED_ORIGINS="https://Inbox.Example.com/, http://localhost:5173,capacitor://localhost,ionic://localhost,file://,null",
        PUBLIC_URL="https://Chat.Example.com:443/,http://[0:0::1]:8080",
        MEDIA_ORIGINS="https://Media.Example.com/,http://10.0.0.5:9000",
        TRUSTED_PROXIES="10.1.2.3/8, ::1,::ffff:192.168.0.0/112",
    )
    assert effective.media_origins == ("https://media.example.com", "http://10.0.0.5:9000")
    assert effective.allowed_origins == (
        "https://inbox.example.com",
        "http://localhost:5173",
        "capacitor://localhost",
        "ionic://localhost",
        "file://",
        "null",
    )
    assert effective.public_url == ("https://chat.example.com", "http://[::1]:8080")
    networks = ("10.0.0.0/8", "::1/128", "192.168.0.0/16")
    assert effective.trusted_proxies == tuple(map(ipaddress.ip_network, networks))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("MEDIA_ORIGINS", "media.example.com"),
        ("MEDIA_ORIGINS", "https://media.example.com/pictures"),
        ("MEDIA_ORIGINS", "https://media.example.com; script-src *"),
        ("MEDIA_ORIGINS", "https://*"),
        ("MEDIA_ORIGINS", "https://[::1]"),
        ("MEDIA_ORIGINS", "data:"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "80.5"),
        ("MONGODB_TIMEOUT", "0"),
        ("MONGODB_TIMEOUT", "nan"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "example.com"),
        ("ALLOWED_ORIGINS", "https://example.com/path"),
        ("ALLOWED_ORIGINS", "https://"),
        ("ALLOWED_ORIGINS", "https://user@example.com"),
        ("ALLOWED_ORIGINS", "https://example.com#x"),
        ("ALLOWED_ORIGINS", "https://example.com:http"),
        ("ALLOWED_ORIGINS", "http://[::1"),
        ("ALLOWED_ORIGINS", "https://example.com,,"),
        ("ALLOWED_ORIGINS", "https://*.example.com"),
        ("ALLOWED_ORIGINS", "wss://example.com"),
        ("ALLOWED_ORIGINS", "capacitor://"),
        ("ALLOWED_ORIGINS", "http://127.0.0.256"),
        ("ALLOWED_ORIGINS", "https://münchen.example"),
        ("PUBLIC_URL", "chat.example.com"),
        ("PUBLIC_URL", "https://chat.example.com/inbox"),
        ("PUBLIC_URL", "capacitor://localhost"),
        ("PUBLIC_URL", "null"),
        ("MONGODB_URI", "localhost:27017"),
        ("MONGODB_URI", "http://localhost"),
        ("TRUSTED_PROXIES", "proxy.example.com"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("EVENT_RETENTION_DAYS", "0"),
        ("RECOVERY_MAX_EVENTS", "-1"),
        ("PING_INTERVAL", "soon"),
        ("COMPRESSION", "maybe"),
        ("QUEUE_MAX_BYTES", "1"),
        ("RECONNECT_DELAY_MS", "1"),
        ("RECONNECT_JITTER", "1.5"),
        ("RECONNECT_JITTER", "nan"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_what_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """What cannot be meant is refused under its name."""
    monkeypatch.setenv("AUTH_SECRET", "x" * 32)
    assert faults(monkeypatch, **{name: value}) == [name]


def test_all_faults_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault is told at once, those of one setting's form and those between settings."""
    assert faults(
        monkeypatch,
        PORT="x",
        PING_TIMEOUT="x",
        ALLOWED_ORIGINS="x",
        MONGODB_URI="mongodb://localhost",
        RECONNECT_DELAY_MS="9000",
        LOG_LEVEL="x",
    ) == ["ALLOWED_ORIGINS", "AUTH_SECRET", "LOG_LEVEL", "PING_TIMEOUT", "PORT", "RECONNECT_DELAY_MAX_MS"]


def test_uri_needs_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a database of one's own the secret must be given: it has to be the same for all servers."""
    assert faults(monkeypatch, MONGODB_URI="mongodb://localhost") == ["AUTH_SECRET"]
    assert load(monkeypatch, AUTH_SECRET="x" * 32).auth_secret == ["x" * 32]
    assert load(monkeypatch, AUTH_SECRET="x" * 32 + ", " + "y" * 32).auth_secret == ["x" * 32, "y" * 32]


def test_short_secrets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that is weaker than the signature is not taken, nor is a list with one."""
    assert faults(monkeypatch, AUTH_SECRET="x" * 31) == ["AUTH_SECRET"]
    assert faults(monkeypatch, AUTH_SECRET="x" * 32 + ",short") == ["AUTH_SECRET"]


def test_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown of the settings has no secret in it, nor the password in the database's address."""
    shown = load(
        monkeypatch, MONGODB_URI="mongodb://user:pa55word@localhost", AUTH_SECRET="topsecret" * 4, PORT="5000"
    ).render()
    assert (shown["MONGODB_URI"], shown["AUTH_SECRET"], shown["PORT"]) == ("(set)", "(set)", "5000")
    assert not any("pa55word" in value or "topsecret" in value for value in shown.values())
    assert shown["COMPRESSION"] == "true"


def test_faults_hide_secrets_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of a fault does not repeat a secret."""
    with pytest.raises(SettingsError) as error:
        load(monkeypatch, MONGODB_URI="mongodb://user:pa55word@localhost", PORT="x")
    assert "pa55word" not in str(error.value)


def test_what_is_said_of_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault is one line: the setting's name, and what is wanted."""
    with pytest.raises(SettingsError) as error:
        load(monkeypatch, PORT="x", LOG_LEVEL="loud", TRUSTED_PROXIES="proxy", EVENT_RETENTION_DAYS="0")
    assert str(error.value).splitlines() == [
        "EVENT_RETENTION_DAYS: Must be greater than or equal to 1 and less than or equal to 3650.",
        "LOG_LEVEL: Must be debug, info, warning or error.",
        "PORT: Not a valid integer.",
        "TRUSTED_PROXIES: Each must be an IP address or network, such as 10.0.0.0/8.",
    ]
