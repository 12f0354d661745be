"""The page in a real Chromium, against a real server process. A pytest run of its own (`make test-browser`).

The page reaches the server through a proxy that the tests can cut. Playwright's synchronous API holds this thread, so
the proxy lives in a loop of another.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from tests.e2e import conversations
from tests.proxy import Proxy
from tests.support import PATIENCE, ROOT, SECRET, look_for_warnings, mint

expect.set_options(timeout=PATIENCE * 1000)

ARTIFACTS = ROOT / "artifacts" / "screenshots"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxy")
        self._thread.start()

    def run(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(PATIENCE)

    def call(self, function: Callable[[], Any]) -> None:
        async def work() -> None:
            function()

        self.run(work())

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@dataclass
class Server:
    """`python -m app serve` with its private mongod, behind a proxy."""

    data_dir: Path
    loop: Loop
    proxy: Proxy
    process: subprocess.Popen[str] | None = None
    port: int = 0
    environ: dict[str, str] = field(default_factory=dict)
    _drainer: threading.Thread = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    def start(self) -> None:
        plain = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "MONGOD_BINARY")}
        plain |= {"HOST": "127.0.0.1", "PORT": str(self.port), "LOG_FORMAT": "json", "AUTH_SECRET": SECRET}
        plain |= {"DATA_DIR": str(self.data_dir)} | self.environ
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"],
            cwd=ROOT,
            env=plain,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if '"event": "listening"' in line:
                self.port = json.loads(line)["port"]
                break
        else:
            raise AssertionError("the server did not start:\n" + "".join(lines))
        self._drainer = threading.Thread(target=self._drain, args=(self.process.stderr,))
        self._drainer.start()
        self.loop.call(lambda: self.proxy.retarget(self.port))

    @staticmethod
    def _drain(stream: Any) -> None:
        with stream:
            for line in stream:
                look_for_warnings(line)

    def stop(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        self._drainer.join()

    @contextlib.contextmanager
    def frozen_database(self) -> Iterator[None]:
        """During the block its mongod accepts connections but does not answer."""
        pid = int((self.data_dir / "mongodb" / "mongod.lock").read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def post(self, session: str, body: Any) -> list[dict[str, Any]]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/webhook/{session}",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {mint()}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["data"]["results"]  # type: ignore[no-any-return]

    def curl(self, session: str, text: str, chat: str = "85291234567@s.whatsapp.net", name: str = "Alice") -> None:
        """Post a message as a person would, by curl."""
        body = {"chatId": chat, "sender": {"id": chat, "name": name}, "text": text}
        subprocess.run(
            [
                "curl",
                "--fail",
                "--silent",
                "--show-error",
                *("-X", "POST", f"http://127.0.0.1:{self.port}/webhook/{session}"),
                *("-H", f"Authorization: Bearer {mint()}"),
                *("-H", "Content-Type: application/json"),
                *("-d", json.dumps(body)),
            ],
            check=True,
            capture_output=True,
        )


@contextlib.contextmanager
def running(place: Path, loop: Loop, **environ: str) -> Iterator[Server]:
    """A server behind a proxy, with these settings."""
    proxy = loop.run(Proxy("127.0.0.1", 1).start())
    server = Server(place, loop, proxy, environ=environ)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        loop.run(proxy.stop())


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def studio() -> Iterator[str]:
    """The operator's media origin, from which the page may load by itself."""
    with conversations.pictures() as address:
        yield address


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, loop: Loop, studio: str) -> Iterator[Server]:
    environ = {"PING_INTERVAL": "1", "PING_TIMEOUT": "2", "RECONNECT_DELAY_MS": "100", "RECONNECT_DELAY_MAX_MS": "500"}
    with running(tmp_path_factory.mktemp("server"), loop, MEDIA_ORIGINS=studio, **environ) as server:
        yield server


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
    yield browser
    browser.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def client_package() -> Path:
    """The client module, built as the package that others install."""
    subprocess.run(["npm", "run", "--silent", "build:client"], cwd=ROOT / "web", check=True, capture_output=True)
    return ROOT / "web" / "dist-client"


@pytest.fixture(scope="session")
def elsewhere(client_package: Path) -> Iterator[str]:
    """The project's own files, served from an origin that is not the server's."""
    with conversations.served(partial(_Quiet, directory=str(ROOT))) as address:
        yield address


class Desk:
    """A person's browser profile. Errors in the page's console fail the test at the end."""

    def __init__(self, browser: Browser, server: Server, name: str) -> None:
        self._browser, self.server, self._name = browser, server, name
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def context(self, **options: Any) -> BrowserContext:
        options = {"viewport": {"width": 1200, "height": 760}, "locale": "en-GB"} | options
        context = self._browser.new_context(**options)
        context.set_default_timeout(PATIENCE * 1000)
        self._contexts.append(context)
        return context

    def open(
        self, session: str, *, context: BrowserContext | None = None, token: str | None = None, **options: Any
    ) -> Page:
        """The page, signed in for one session, once it is connected."""
        page = (context or self.context(**options)).new_page()
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("console", lambda said: self.complaints.append(said.text) if is_complaint(said) else None)
        page.goto(f"{self.server.url}/#token={token or mint(session)}")
        page.locator("[data-testid=connection][data-state=connected]").wait_for()
        return page

    def shoot(self, page: Page, what: str) -> None:
        """Keep a picture of the page."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=ARTIFACTS / f"{self._name}-{what}.png")

    def close(self) -> None:
        for context in self._contexts:
            context.close()


def is_complaint(said: Any) -> bool:
    """Whether a console message is an error of the page, and not just of the cut network."""
    network = re.search(
        r"ERR_|WebSocket connection|Failed to load resource|fetching the script|blocked by Playwright", said.text
    )
    return said.type in ("error", "warning") and not network


@pytest.fixture
def desk(browser: Browser, server: Server, request: pytest.FixtureRequest) -> Iterator[Desk]:
    desk = Desk(browser, server, re.sub(r"\W+", "-", request.node.name).strip("-"))
    yield desk
    desk.close()
    assert desk.complaints == []


def faults(page: Page) -> list[Any]:
    """Accessibility problems of the page, found by axe."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [(fault["id"], [node["html"][:200] for node in fault["nodes"]]) for fault in found["violations"]]


def to_the_end(page: Page) -> None:
    """Scroll the open chat to its newest message, and so read all of it."""
    page.locator("[data-message-id]").first.wait_for()
    end = page.locator(".to-newest")
    if end.count():
        end.click()
    expect(end).to_have_count(0)


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Wait until the condition holds, if no locator can wait for it."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)
    return value
