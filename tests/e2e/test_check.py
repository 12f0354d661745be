"""“Check the connection”: what the page finds where the way to the server is broken, and what it says to do."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import Desk, Server
from tests.support import TOKENS

GOOD = ("checkHttp", "checkClock", "checkReady", "checkToken", "checkWebsocket", "checkRoundTrip", "checkPolling")


def opened(desk: Desk, **claims: Any) -> Page:
    """The page, with a context that sends everything to where it can be broken."""
    context = desk.context(service_workers="block", permissions=["clipboard-read", "clipboard-write"])
    token = TOKENS.mint("ann", **({"sessions": ["check"], "scopes": ["read"], "lifetime": 3600} | claims))
    return desk.open("check", context=context, token=token)


def check(page: Page) -> dict[str, tuple[str, str]]:
    """Each finding's verdict and words, by its name."""
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Check the connection").click()
    expect(page.locator(".check-result")).not_to_have_text("Checking…")
    rows = page.locator("[data-check]").evaluate_all(
        "all => all.map(one => [one.dataset.check, one.dataset.verdict, one.innerText])"
    )
    return {name: (verdict, words) for name, verdict, words in rows}


def test_all_is_well(desk: Desk, server: Server) -> None:
    """Everything is ok, and the result can be copied, without the token."""
    page = opened(desk)
    found = check(page)
    assert {name: verdict for name, (verdict, _) in found.items()} == dict.fromkeys((*GOOD, "checkVersion"), "ok")
    assert re.search(r"Round trip \d+ ms", found["checkRoundTrip"][1])
    expect(page.locator(".check-result")).to_have_text("Everything works.")
    desk.shoot(page, "good")
    page.get_by_role("button", name="Copy the result").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("Roomcast ")
    assert server.url in copied
    assert "OK  WebSocket" in copied
    assert page.evaluate("sessionStorage.getItem('roomcast.token')") not in copied


def answering(path: str, status: int, body: str) -> Callable[[Page], None]:
    return lambda page: _answer(page, path, status=status, content_type="text/html", body=body)


def _answer(page: Page, path: str, **what: Any) -> None:
    """Something between the page and the server answers this path."""
    page.route(re.compile(re.escape(path)), lambda route: route.fulfill(**what))


def _silent(page: Page) -> None:
    page.route_web_socket("**", lambda socket: None)


def _no_upgrade(page: Page) -> None:
    page.evaluate(
        "() => { window.WebSocket = class { constructor() { setTimeout(() => this.onclose({})); } close() {} } }"
    )


def _late_clock(page: Page) -> None:
    def later(route: Route) -> None:
        answer = route.fetch()
        date = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=7)
        route.fulfill(response=answer, headers=answer.headers | {"date": date.strftime("%a, %d %b %Y %H:%M:%S GMT")})

    page.route("**/healthz", later)


def _not_sticky(page: Page) -> None:
    _answer(page, "transport=polling&sid=", status=400, body='{"code":1,"message":"Session ID unknown"}')


def _another_version(page: Page) -> None:
    def newer(route: Route) -> None:
        answer = route.fetch()
        text = re.sub(r"(&quot;version&quot;:&quot;)[^&]*", r"\g<1>99.0", answer.text())
        route.fulfill(response=answer, body=text)

    page.route(re.compile(r"://[^/]+/$"), newer)


BROKEN: dict[str, tuple[Callable[[Page], None], str, str, str]] = {
    "a captive portal": (
        answering("/healthz", 200, "<h1>Hotel</h1>"),
        "checkHttp",
        "failure",
        "Something else answered (200)",
    ),
    "a proxy without its server": (
        answering("/healthz", 502, "Bad Gateway"),
        "checkHttp",
        "failure",
        "Something else answered (502)",
    ),
    "no database": (answering("/readyz", 503, "{}"), "checkReady", "failure", "cannot reach its database"),
    "the token refused": (answering("/api/v1/sessions", 401, "{}"), "checkToken", "failure", "Sign in again"),
    "no upgrade": (_no_upgrade, "checkWebsocket", "failure", "WebSocket is blocked"),
    "silence after the upgrade": (_silent, "checkWebsocket", "failure", "a proxy buffers it"),
    "no sticky sessions": (_not_sticky, "checkPolling", "warning", "sticky sessions"),
    "the origin refused": (answering("transport=polling&sid=", 403, "{}"), "checkPolling", "warning", "PUBLIC_URL"),
    "no polling": (answering("transport=polling", 404, ""), "checkPolling", "warning", "Polling does not work (404)"),
    "a wrong clock": (_late_clock, "checkClock", "warning", "differ by 4"),
    "a page of another version": (_another_version, "checkVersion", "warning", "another version (99.0). Reload"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_each_fault_is_found_by_its_name(desk: Desk, server: Server, fault: str) -> None:
    """The line of what is broken says so, and what to do; no other line does."""
    breaks, name, verdict, words = BROKEN[fault]
    page = opened(desk)
    breaks(page)
    found = check(page)
    assert found[name][0] == verdict
    assert words in found[name][1]
    assert [other for other, (theirs, _) in found.items() if theirs != "ok"] == [name]
    expect(page.locator(".check-result")).to_have_text("1 check needs attention.")
    if fault == "silence after the upgrade":
        desk.shoot(page, "silent")


def test_nobody_there(desk: Desk, server: Server) -> None:
    """Reached from the line that tells of the connection; nothing else is looked at in vain."""
    page = opened(desk)
    server.proxy.refusing = True
    server.loop.call(server.proxy.drop)
    page.get_by_test_id("connection").get_by_role("button", name="Check the connection").click()
    expect(page.locator("[data-check]")).to_have_count(1)
    expect(page.locator("[data-check=checkHttp]")).to_contain_text("The server does not answer")
    desk.shoot(page, "nobody")
    server.proxy.refusing = False
    server.loop.call(server.proxy.thaw)
    page.get_by_role("button", name="Check again").click()
    expect(page.locator(".check-result")).to_have_text("Everything works.")


def test_a_sign_in_that_ends_soon(desk: Desk, server: Server) -> None:
    page = opened(desk, lifetime=300)
    verdict, words = check(page)["checkToken"]
    assert verdict == "warning"
    assert "expires soon" in words
