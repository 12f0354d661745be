"""The example page, served from an origin of its own, with the client module as it is built for others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Desk, Loop, Server, running
from tests.support import message, mint

ALICE = "85291234567@s.whatsapp.net"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, loop: Loop, elsewhere: str) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server"), loop, ALLOWED_ORIGINS=elsewhere) as server:
        yield server


def test_plain_page(desk: Desk, server: Server, elsewhere: str) -> None:
    """Lists, opens, follows, marks read, catches up after a cut."""
    server.curl("shop", "hello")
    page = desk.context().new_page()
    page.on("pageerror", lambda error: desk.complaints.append(str(error)))
    page.goto(f"{elsewhere}/examples/plain/?server={server.url}&session=shop#token={mint('shop')}")
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
