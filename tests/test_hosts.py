"""Hosts, origins and addresses are compared by meaning."""

from __future__ import annotations

import ipaddress

import pytest

from app.hosts import Host, Origin, is_loopback, origin_on, read_address, read_host, read_origin


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://Chat.Example.com", "https://chat.example.com:443"),
        ("http://chat.example.com:80", "http://chat.example.com"),
        ("http://[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080"),
        ("http://[::ffff:127.0.0.1]", "http://127.0.0.1"),
        ("http://[::ffff:7f00:1]:81", "http://127.0.0.1:81"),
    ],
)
def test_the_same_origin_in_two_spellings(one: str, other: str) -> None:
    """Case, default ports and spellings of addresses make no difference."""
    assert read_origin(one) is not None
    assert read_origin(one) == read_origin(other)
    assert read_origin(str(read_origin(one))) == read_origin(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://chat.example.com", "http://chat.example.com"),
        ("https://chat.example.com", "https://chat.example.com:8443"),
        ("http://localhost", "http://127.0.0.1"),
        ("capacitor://localhost", "ionic://localhost"),
        ("capacitor://localhost", "http://localhost"),
        ("file://", "null"),
    ],
)
def test_different_origins(one: str, other: str) -> None:
    """Scheme, host and port all count."""
    assert None not in (read_origin(one), read_origin(other))
    assert read_origin(one) != read_origin(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "example.com",
        "https://",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?x",
        "https://example.com#x",
        "https://user@example.com",
        "https://*.example.com",
        "https://example.com:0x50",
        "https://example.com:65536",
        "https://example.com:\u0661",
        "https://ex ample.com",
        "https://münchen.example",
        "http://[::1",
        "http://[::1]x",
        "http://[127.0.0.1]",
        "http://[fe80::1%25eth0]",
        "http://256.1.1.1",
        "http://2130706433",
        "http://127.1",
        "://example.com",
        "file://home",
        "https://" + "a" * 1_000,
    ],
)
def test_no_origin(text: str) -> None:
    """Values that no browser sends as an origin are refused."""
    assert read_origin(text) is None


def test_hosts_of_requests() -> None:
    """A Host header has a name or an address, and perhaps a port."""
    assert read_host("Chat.Example.com:8443") == Host("chat.example.com", 8443)
    assert read_host("[::FFFF:10.0.0.1]") == Host("10.0.0.1", None)
    assert read_host("[::1]:80") == Host("::1", 80)
    assert read_host("") is None
    assert read_host("a,b") is None
    assert origin_on("https", "chat.example.com") == read_origin("https://chat.example.com")
    assert origin_on("https", "chat.example.com:80") == Origin("https", "chat.example.com", 80)
    assert origin_on("http", None) is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.5", "203.0.113.5"),
        (" 203.0.113.5 ", "203.0.113.5"),
        ("203.0.113.5:4711", "203.0.113.5"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("[::ffff:203.0.113.5]:4711", "203.0.113.5"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    """An address may have a port, and IPv4 in IPv6 is IPv4."""
    assert read_address(text) == ipaddress.ip_address(address)


@pytest.mark.parametrize(
    "text",
    ["", "unknown", "_hidden", "localhost", "203.0.113.5:port", "[::1", "[::1]x", "1.2.3", "fe80::1%eth0", "a:1"],
)
def test_no_address(text: str) -> None:
    """Names and obfuscated identifiers (RFC 7239, 6.3) are no addresses."""
    assert read_address(text) is None


def test_loopback() -> None:
    """Loopback is what no name server can make another machine."""
    for name in ("localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"):
        assert is_loopback(name)
    for name in ("", "localhost.example", "10.0.0.1", "::", "0.0.0.0", "128.0.0.1"):
        assert not is_loopback(name)
