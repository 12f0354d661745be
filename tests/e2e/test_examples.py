"""The example page, served from an origin of its own, with the client module as it is built for others."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Desk, Loop, Server
from tests.proxy import Proxy
from tests.support import ROOT, message, mint

ALICE = "85291234567@s.whatsapp.net"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _site() -> Iterator[str]:
    site = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(ROOT)))
    threading.Thread(target=site.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{site.server_port}"
    finally:
        site.shutdown()
        site.server_close()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    subprocess.run(["npm", "run", "--silent", "build:client"], cwd=ROOT / "web", check=True, capture_output=True)
    with _site() as origin:
        yield origin


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, loop: Loop, origin: str) -> Iterator[Server]:
    proxy = loop.run(Proxy("127.0.0.1", 1).start())
    server = Server(tmp_path_factory.mktemp("server"), loop, proxy, environ={"ALLOWED_ORIGINS": origin})
    server.start()
    yield server
    server.stop()
    loop.run(proxy.stop())


def test_plain_page(desk: Desk, server: Server, origin: str) -> None:
    """Lists, opens, follows, marks read, catches up after a cut."""
    server.curl("shop", "hello")
    page = desk.context().new_page()
    page.on("pageerror", lambda error: desk.complaints.append(str(error)))
    page.goto(f"{origin}/examples/plain/?server={server.url}&session=shop#token={mint('shop')}")
    expect(page.locator("#state")).to_have_text("connected")
    expect(page.get_by_role("button")).to_have_text("Alice (1): hello")
    page.get_by_role("button").click()
    expect(page.get_by_role("button")).to_have_text("Alice: hello")
    expect(page.locator("#messages li")).to_have_text(["Alice: hello"])
    server.proxy.refusing = True
    server.loop.call(server.proxy.drop)
    expect(page.locator("#state")).to_contain_text("reconnecting")
    server.post("shop", {"messages": [message(f"<b>missed {n}</b>", ALICE) for n in range(3)]})
    server.proxy.refusing = False
    expect(page.locator("#messages li")).to_have_count(4)
    expect(page.locator("#messages li").last).to_contain_text("<b>missed 2</b>")
    expect(page.get_by_role("button")).to_have_text("Alice: <b>missed 2</b>")
    desk.shoot(page, "page")


def test_the_module_has_types(origin: str, tmp_path: Path) -> None:
    """Who imports it in TypeScript is told what is wrong."""
    module = ROOT / "web" / "dist-client" / "roomcast.js"
    source = tmp_path / "mine.ts"
    source.write_text(
        f'import {{ RoomcastClient, type ClientState }} from "{module}";\n'
        'const client = new RoomcastClient({ url: "http://127.0.0.1:1", token: "" });\n'
        'export const name: ClientState["name"] = client.state.name;\n'
        "// @ts-expect-error: there is no such event\n"
        'client.on("no_such_event", () => undefined);\n',
        encoding="utf-8",
    )
    options = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2023,dom", "--module", "esnext"]
    command = ["npx", "--no-install", "tsc", "--ignoreConfig", *options, "--moduleResolution", "bundler", str(source)]
    done = subprocess.run(command, cwd=ROOT / "web", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
