"""Allowed origins, addresses behind proxies, and access to the metrics."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import aiohttp
import pytest
import socketio
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from app.application import assemble
from app.http.addresses import Addresses
from app.settings import Settings
from app.storage.mongo import Store
from tests.support import TOKENS, Answer, Process, Site, mint

RunApp = Callable[[web.Application], Awaitable[Site]]
SESSIONS = "/api/v1/sessions"


# Origins


async def ask(site: Site, origin: str | None, path: str = SESSIONS, method: str = "GET", **headers: str) -> Answer:
    more = {"Origin": origin} if origin is not None else {}
    return await site.request(method, path, token=mint(), headers=more | headers)


HANDSHAKE = "/socket.io/?EIO=4&transport=polling"


async def test_same_origin(site: Site) -> None:
    """Unless others are named, a page of the server's own may read and connect, and no other may."""
    own = site.url
    answer = await ask(site, own)
    assert answer.headers["Access-Control-Allow-Origin"] == own
    assert "Origin" in answer.headers["Vary"]
    assert (await ask(site, own, HANDSHAKE)).status == 200
    assert (await ask(site, None, HANDSHAKE)).status == 200
    port = own.rpartition(":")[2]
    for origin in ("https://evil.example", "null", "", f"http://evil.example:{port}", own + "0", f"{own}.evil.example"):
        answer = await ask(site, origin)
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert (await ask(site, origin, HANDSHAKE)).status == 403


async def test_rebinding(site: Site, connect_client: Any) -> None:
    """A name that somebody points at this machine is no origin of ours, though Host and Origin agree."""
    port = site.url.rpartition(":")[2]
    for name in (f"evil.example:{port}", f"localhost.evil.example:{port}", f"127.0.0.1.evil.example:{port}"):
        answer = await ask(site, f"http://{name}", Host=name)
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert (await ask(site, f"http://{name}", HANDSHAKE, Host=name)).status == 403
    for name in (f"localhost:{port}", f"127.0.0.1:{port}"):
        assert (await ask(site, f"http://{name}", HANDSHAKE, Host=name)).status == 200
        assert "Access-Control-Allow-Origin" in (await ask(site, f"http://{name}", Host=name)).headers


async def test_rebinding_websocket(site: Site) -> None:
    """A websocket from a page of another origin is refused before it is opened."""
    path = site.url + "/socket.io/?EIO=4&transport=websocket"
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "http://evil.example", "Host": "evil.example"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            await site.http.ws_connect(path, headers=headers)
        assert error.value.status == 403
    async with site.http.ws_connect(path, headers={"Origin": site.url}) as websocket:
        assert (await websocket.receive_str()).startswith("0{")


async def test_allowed_origins(settings: Settings, store: Store, run_app: RunApp) -> None:
    """ALLOWED_ORIGINS serves REST and Socket.IO alike, and takes the place of the server's own."""
    inbox = "https://inbox.example.com"
    site = await run_app(assemble(replace(settings, allowed_origins=(inbox,)), TOKENS, store))
    preflight = await ask(site, inbox, method="OPTIONS", **{"Access-Control-Request-Method": "GET"})
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == inbox
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    for path in (SESSIONS, "/nowhere", f"{SESSIONS}/../chats"):
        assert (await ask(site, inbox, path)).headers["Access-Control-Allow-Origin"] == inbox
    assert (await ask(site, inbox, HANDSHAKE)).headers["Access-Control-Allow-Origin"] == inbox
    for other in (site.url, "https://evil.example", f"{inbox}.evil.example", "http://inbox.example.com"):
        assert "Access-Control-Allow-Origin" not in (await ask(site, other)).headers
        refused = await ask(site, other, method="OPTIONS", **{"Access-Control-Request-Method": "GET"})
        assert "Access-Control-Allow-Origin" not in refused.headers
        assert (await ask(site, other, HANDSHAKE)).status == 403
    page = socketio.AsyncClient(reconnection=False)
    await page.connect(site.url, headers={"Origin": inbox}, auth={"token": mint()}, transports=["websocket"])
    await page.disconnect()
    await page.shutdown()


PUBLIC = "https://chat.example.com:8443"


async def test_public_url(settings: Settings, store: Store, run_app: RunApp) -> None:
    """Behind a proxy the page of PUBLIC_URL may read and connect, whatever became of the Host header."""
    site = await run_app(assemble(replace(settings, host="127.0.0.1", public_url=(PUBLIC,)), TOKENS, store))
    for host in ("chat.example.com:8443", "chat.example.com", "roomcast", "127.0.0.1:8080"):
        assert (await ask(site, PUBLIC, Host=host)).headers["Access-Control-Allow-Origin"] == PUBLIC
        assert (await ask(site, PUBLIC.upper(), HANDSHAKE, Host=host)).status == 200
        for other in ("https://chat.example.com", "http://chat.example.com:8443", "https://evil.example:8443"):
            assert (await ask(site, other, HANDSHAKE, Host=host)).status == 403
    assert (await ask(site, site.url, HANDSHAKE)).status == 200  # who works on this machine needs no proxy
    assert (await ask(site, "http://evil.example", HANDSHAKE, Host="evil.example")).status == 403


async def test_public_url_and_other_pages(settings: Settings, store: Store, run_app: RunApp) -> None:
    """ALLOWED_ORIGINS adds to PUBLIC_URL; apps are named by what their web views send."""
    apps = ("https://inbox.example.com", "capacitor://localhost", "ionic://localhost", "file://", "null")
    site = await run_app(assemble(replace(settings, public_url=(PUBLIC,), allowed_origins=apps), TOKENS, store))
    for origin in (PUBLIC, *apps):
        assert (await ask(site, origin)).headers["Access-Control-Allow-Origin"] == origin
        assert (await ask(site, origin, HANDSHAKE)).status == 200
    for other in ("http://localhost", "capacitor://evil.example", "app://localhost", "file:///etc"):
        assert (await ask(site, other, HANDSHAKE)).status == 403


async def test_own_pages_by_the_host_header(settings: Settings, store: Store, run_app: RunApp) -> None:
    """On an address that others reach, a page and its server are of one origin when host and port are the same."""
    site = await run_app(assemble(replace(settings, host="::"), TOKENS, store))
    own = {
        "chat.example.com": "https://chat.example.com",
        "Chat.Example.com:443": "https://chat.example.com",
        "chat.example.com:8443": "https://chat.example.com:8443",
        "[::ffff:10.0.0.1]:8080": "http://10.0.0.1:8080",
    }
    for host, origin in own.items():
        assert (await ask(site, origin, HANDSHAKE, Host=host)).status == 200
    assert (await ask(site, "https://chat.example.com", HANDSHAKE, Host="chat.example.com:80")).status == 403
    for other in (
        "https://chat.example.com:8443",
        "capacitor://chat.example.com",
        "https://chat.example.com.evil.example",
    ):
        assert (await ask(site, other, HANDSHAKE, Host="chat.example.com")).status == 403


@pytest.mark.parametrize("path", [SESSIONS, HANDSHAKE])
async def test_cors_is_complete(settings: Settings, store: Store, run_app: RunApp, path: str) -> None:
    """A page that sends cookies and headers of its own gets the answers that a browser wants for it."""
    page = "https://inbox.example.com"
    site = await run_app(assemble(replace(settings, allowed_origins=(page,)), TOKENS, store))
    names = "authorization,content-type,x-client-version"
    asking = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": names}
    preflight = await ask(site, page, path, "OPTIONS", **asking)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Headers"] == names
    answer = await ask(site, page, path)
    for each in (preflight, answer):
        assert each.headers["Access-Control-Allow-Origin"] == page
        assert each.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in each.headers["Vary"]
    refused = await ask(site, "https://evil.example", path, "OPTIONS", **asking)
    assert not any(name.startswith("Access-Control") for name in refused.headers)
    odd = await ask(site, page, path, "OPTIONS", **(asking | {"Access-Control-Request-Headers": "a b;c"}))
    assert ";" not in odd.headers["Access-Control-Allow-Headers"]


async def test_refused_origins_are_counted_and_logged(processes: Callable[..., Awaitable[Process]]) -> None:
    """Each reason has its count; the log says what to set, and few lines however many are refused."""
    process = await processes()
    site = process.site
    for _ in range(30):
        assert (await ask(site, "https://chat.example.com", HANDSHAKE, Host="chat.example.com")).status == 403
    assert (await ask(site, "https://evil.example\u202e", HANDSHAKE)).status == 403
    assert (await ask(site, "https://evil.example")).status == 200
    metrics = (await site.request("GET", "/metrics")).body.decode()
    assert 'roomcast_refused_total{reason="origin_host_not_loopback"} 30.0' in metrics
    assert 'roomcast_refused_total{reason="origin_malformed"} 1.0' in metrics
    assert 'roomcast_refused_total{reason="origin_not_own"} 1.0' in metrics
    assert await process.stop() == 0
    lines = [json.loads(line) for line in process.log if "origin_refused" in line]
    behind = [line for line in lines if line["reason"] == "origin_host_not_loopback"]
    assert 1 <= len(behind) <= 10
    assert "PUBLIC_URL" in behind[0]["hint"]
    assert (behind[0]["origin"], behind[0]["host"]) == ("https://chat.example.com", "chat.example.com")


# Addresses


@pytest.mark.parametrize(
    ("peer", "lines", "address"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["127.0.0.1", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["127.0.0.1, 198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:DB8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["127.0.0.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["127.0.0.1, _secret, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [" , 198.51.100.1 ,, "], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1," * 100_000 + "10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", ["10.0.0.2," * 100_000], "10.0.0.2"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_addresses_behind_proxies(peer: str, lines: list[str], address: str) -> None:
    """All lines count, from the right, as far as proxies are trusted; invalid addresses are ignored."""
    headers = CIMultiDict([("X-Forwarded-For", line) for line in lines])
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=peer)
    assert Addresses([ip_network("10.0.0.0/8")]).of(request) == address


async def test_a_proxy_that_is_not_trusted_is_reported_once(processes: Callable[..., Awaitable[Process]]) -> None:
    """All clients of a proxy that TRUSTED_PROXIES does not name are one: the log says so, once."""
    process = await processes()
    for _ in range(3):
        await process.site.request("GET", HANDSHAKE, headers={"X-Forwarded-For": "198.51.100.1"})
    assert await process.stop() == 0
    lines = [json.loads(line) for line in process.log if "proxy_not_trusted" in line]
    assert [(line["level"], line["proxy"]) for line in lines] == [("warning", "127.0.0.1")]


async def test_metrics_only_for_this_machine(settings: Settings, store: Store, run_app: RunApp) -> None:
    """/metrics answers neither a foreign name nor what came through a proxy, a trusted one included."""

    async def status(where: Site, *headers: tuple[str, str]) -> int:
        return (await where.request("GET", "/metrics", headers=CIMultiDict(headers))).status

    site = await run_app(assemble(replace(settings, trusted_proxies=(ip_network("127.0.0.1/32"),)), TOKENS, store))
    for good in ("localhost:8080", "127.0.0.1", "[::1]:8080"):
        assert await status(site, ("Host", good)) == 200
    for bad in ("chat.example.com", "evil.example:8080", "10.0.0.1:8080", "roomcast"):
        assert await status(site, ("Host", bad)) == 404
    twice = (("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-For", "127.0.0.1"))
    assert await status(site, *twice) == 404
    for name in ("Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host", "X-Forwarded-Proto"):
        assert await status(site, (name, "127.0.0.1")) == 404


async def test_a_dual_stack_address_behind_a_proxy_of_ipv4(processes: Callable[..., Awaitable[Process]]) -> None:
    """With HOST=:: a proxy's IPv4 address is what TRUSTED_PROXIES says, and each of its clients counts for itself."""
    process = await processes(HOST="::", TRUSTED_PROXIES="127.0.0.1", MAX_CONNECTIONS_PER_ADDRESS="1")

    async def status(client: str) -> int:
        answer = await process.site.request("GET", HANDSHAKE, headers={"X-Forwarded-For": f"192.0.2.7, {client}"})
        return answer.status

    assert [await status(one) for one in ("198.51.100.1", "198.51.100.2:4711", "2001:db8:1::1")] == [200, 200, 200]
    for again in ("198.51.100.1:9", "::ffff:198.51.100.2", "[2001:db8:1::2]:80"):
        assert await status(again) == 429
    assert await process.stop() == 0
    assert not any("proxy_not_trusted" in line for line in process.log)
