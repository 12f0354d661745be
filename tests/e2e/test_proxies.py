"""The page behind nginx and HAProxy with the files of config/, over TLS, and behind a proxy that breaks WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.config.proxies import KINDS, NAME, Certificate, Front, free_ports, front, missing
from tests.e2e.conftest import CHROMIUM, PATIENCE, Loop, Server, eventually, is_complaint
from tests.proxy import Proxy, Wire
from tests.support import mint


@dataclass
class Deployment:
    front: Front
    servers: list[Server]
    browser: Browser


@pytest.fixture(scope="module", params=KINDS)
def deployment(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    mongodb_uri: str,
    loop: Loop,
    playwright: Playwright,
) -> Iterator[Deployment]:
    """Two servers behind the proxy, and a browser to which NAME is the proxy."""
    kind = request.param
    if why := missing(kind):
        pytest.skip(why)
    place = tmp_path_factory.mktemp(kind)
    port, plain_port, *ports = free_ports(4)
    here = Front(kind, port, plain_port, Certificate.make(place))
    environ = {
        "MONGODB_URI": mongodb_uri,
        "MONGODB_DATABASE": f"page_behind_{kind}",
        "TRUSTED_PROXIES": "127.0.0.1",
        "PUBLIC_URL": f"{here.url},{here.public}",
    }
    with contextlib.ExitStack() as stack:
        servers = []
        for number in ports:
            unused = loop.run(Proxy("127.0.0.1", 1).start())
            stack.callback(lambda unused=unused: loop.run(unused.stop()))
            server = Server(place, loop, unused, port=number, environ=environ)
            server.start()
            stack.callback(lambda server=server: server.stop())
            servers.append(server)
        asynchronous = contextlib.AsyncExitStack()
        loop.run(asynchronous.enter_async_context(front(here, place, ports)))
        stack.callback(lambda: loop.run(asynchronous.aclose()))
        arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        arguments.append(f"--host-resolver-rules=MAP {NAME}:443 127.0.0.1:{port}")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        stack.callback(browser.close)
        yield Deployment(here, servers, browser)


@contextlib.contextmanager
def opened(browser: Browser, url: str, session: str, patience: float = PATIENCE) -> Iterator[Page]:
    """The page, signed in and connected. What it complains about is a failure."""
    context = browser.new_context(ignore_https_errors=True, locale="en-GB")
    context.set_default_timeout(patience * 1000)
    complaints: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
    page.goto(f"{url}/#token={mint(session)}")
    connected(page)
    yield page
    context.close()
    assert complaints == []


def connected(page: Page) -> None:
    page.locator("[data-testid=connection][data-state=connected]").wait_for()


@pytest.mark.parametrize("where", ["port", "name"])
def test_page(deployment: Deployment, where: str) -> None:
    """On a port of its own, and under the name on the default port: connected by WebSocket, live from both servers, and
    back by itself when each of them is restarted."""
    session = f"session-{where}"
    url = deployment.front.url if where == "port" else deployment.front.public
    sockets: list[str] = []
    with opened(deployment.browser, url, session) as page:
        page.on("websocket", lambda socket: sockets.append(socket.url))
        page.reload()
        connected(page)
        eventually(lambda: page.wait_for_timeout(50) or sockets, "a websocket")
        assert sockets[0].startswith(url.replace("https", "wss"))
        for number, server in enumerate(deployment.servers):
            server.curl(session, f"from server {number}")
            expect(page.get_by_text(f"from server {number}").first).to_be_visible()
        for number, server in enumerate(deployment.servers):
            server.stop()
            other = deployment.servers[1 - number]
            other.curl(session, f"while server {number} is away")
            expect(page.get_by_text(f"while server {number} is away").first).to_be_visible()
            server.start()
            connected(page)


@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_page_where_upgrades_are_dead(server: Server, loop: Loop, browser: Browser, direction: str) -> None:
    """Behind a proxy that answers 101 and then passes nothing on, the page becomes live by polling, once its first try
    has had the time that a slow network needs."""

    def freeze(wire: Wire) -> None:
        for name, gate in (("up", wire.up), ("down", wire.down)):
            if direction in (name, "both"):
                gate.clear()

    def look(wire: Wire, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 101 "):
            asyncio.get_running_loop().call_soon(freeze, wire)

    proxy = Proxy("127.0.0.1", server.port)
    proxy.on_down = look
    loop.run(proxy.start())
    try:
        with opened(browser, f"http://127.0.0.1:{proxy.port}", "dead", 2 * PATIENCE) as page:
            server.curl("dead", f"by polling, {direction}")
            expect(page.get_by_text(f"by polling, {direction}").first).to_be_visible()
    finally:
        loop.run(proxy.stop())
