"""The inbox over time: what calls an agent, what becomes of a connection, what is there when it is opened again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import Desk, Server, eventually, is_complaint, to_the_end
from tests.support import message, mint

ALICE = "85291234567@s.whatsapp.net"
BOB = "85297654321@s.whatsapp.net"

TOLD = """
    window.told = [];
    window.notes = 0;
    class Notification extends EventTarget {
        static permission = "granted";
        static requestPermission = async () => "granted";
        constructor(title, { body, tag }) { super(); window.told.push({ title, body, tag, open: true, self: this }); }
        close() { for (const one of window.told) if (one.self === this) one.open = false; }
    }
    window.Notification = Notification;
    const start = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function (...all) { window.notes += 1; return start.apply(this, all); };
"""
KEPT = """() => new Promise((resolve) => {
    const request = indexedDB.open("roomcast");
    request.onsuccess = () => {
        const count = request.result.transaction("sessions").objectStore("sessions").getAll();
        count.onsuccess = () => {
            request.result.close();
            resolve(count.result.map(({ session }) => session.chats.length));
        };
    };
})"""


@pytest.fixture(autouse=True)
def network(server: Server) -> Iterator[None]:
    """What a test did to the network is over with it."""
    yield
    server.loop.call(server.proxy.thaw)


def chat(page: Page, chat_id: str = ALICE) -> Any:
    return page.locator(f"[data-chat-id='{chat_id}']")


def line(page: Page) -> Any:
    return page.get_by_test_id("connection")


def told(*pages: Page) -> list[dict[str, Any]]:
    return [one for page in pages for one in page.evaluate("told.map(({ self, ...one }) => one)")]


# What calls an agent


def test_one_notification_for_all_tabs(desk: Desk, server: Server) -> None:
    """Off at first; then one for each message, none for a chat that is read in any tab; gone when it has been read."""
    context = desk.context()
    context.add_init_script(TOLD)
    server.curl("call", "first", chat=ALICE)
    server.curl("call", "first", chat=BOB, name="Bob")
    one, two = desk.open("call", context=context), desk.open("call", context=context)
    server.curl("call", "not told: off", chat=BOB, name="Bob")
    expect(chat(one, BOB)).to_contain_text("off")
    two.get_by_role("button", name="Settings").click()
    for name in ("Notifications", "Sound"):
        two.get_by_role("switch", name=name).click()
        expect(two.get_by_role("switch", name=name)).to_be_checked()
    desk.shoot(two, "settings")
    two.keyboard.press("Escape")
    chat(two).click()
    expect(two.locator("[data-message-id]").first).to_be_visible()
    server.curl("call", "not told: read in the other tab")
    server.curl("call", "told once", chat=BOB, name="Bob")
    eventually(lambda: told(one, two), "the notification")
    time.sleep(0.5)
    (only,) = told(one, two)
    assert (only["title"], only["body"]) == ("Bob", "told once")
    # The tab that was touched is heard, once: two notes.
    assert [page.evaluate("notes") for page in (one, two)] == [0, 2]
    chat(two, BOB).click()
    eventually(lambda: not told(one, two)[0]["open"], "the notification to go")


def test_title_and_icon_count(desk: Desk, server: Server) -> None:
    page = desk.open("count")
    icon = page.locator("link[rel=icon]")
    plain = icon.get_attribute("href")
    server.curl("count", "one")
    server.curl("count", "two", chat=BOB)
    expect(page).to_have_title("(2) Roomcast")
    assert ">2</text>" in page.evaluate("decodeURIComponent(document.querySelector('link[rel=icon]').href)")
    chat(page).click()
    expect(page).to_have_title("(1) Roomcast")
    chat(page, BOB).click()
    expect(page).to_have_title("Roomcast")
    assert str(icon.get_attribute("href")).endswith(str(plain))


# The connection


def test_the_line_says_what_is_so(desk: Desk, server: Server) -> None:
    """A cut, with a way to hurry; no network; and nothing else on the page moves."""
    server.curl("line", "hello")
    page = desk.open("line")
    chat(page).click()
    bubble = page.locator("[data-message-id]")
    before = (bubble.bounding_box(), chat(page).bounding_box(), line(page).bounding_box())
    server.proxy.refusing = True
    server.loop.call(server.proxy.drop)
    expect(line(page)).to_have_attribute("data-state", "reconnecting")
    expect(line(page)).to_contain_text("Reconnecting")
    assert (bubble.bounding_box(), chat(page).bounding_box(), line(page).bounding_box()) == before
    desk.shoot(page, "reconnecting")
    page.context.set_offline(True)
    expect(line(page)).to_have_attribute("data-state", "offline")
    expect(line(page)).to_contain_text("No network")
    desk.shoot(page, "offline")
    server.proxy.refusing = False
    page.context.set_offline(False)
    expect(line(page)).to_have_attribute("data-state", "connected")
    assert (bubble.bounding_box(), chat(page).bounding_box(), line(page).bounding_box()) == before


def test_right_when_the_network_returns(desk: Desk, server: Server) -> None:
    """After a tunnel: without a reload, with all that was missed, the reading place unchanged."""
    server.post("tunnel", {"messages": [message(f"number {n}", ALICE) for n in range(200)]})
    page = desk.open("tunnel")
    chat(page).click()
    to_the_end(page)
    page.locator("#messages").evaluate("one => one.scrollTop = one.scrollHeight / 2")
    page.wait_for_timeout(300)
    place = "one => { const { top } = one.getBoundingClientRect(); return [one.dataset.messageId, top]; }"
    seen = page.locator("[data-message-id]").evaluate_all(
        "all => all.find(one => one.getBoundingClientRect().top > 150).dataset.messageId"
    )
    before = page.locator(f"[data-message-id='{seen}']").evaluate(place)
    page.context.set_offline(True)
    server.loop.call(server.proxy.cut)
    page.wait_for_timeout(1500)
    server.post("tunnel", {"messages": [message(f"missed {n}", ALICE) for n in range(40)]})
    server.curl("tunnel", "from Bob", chat=BOB, name="Bob")
    server.loop.call(server.proxy.drop)
    server.loop.call(server.proxy.thaw)
    page.context.set_offline(False)
    began = time.monotonic()
    expect(chat(page, BOB)).to_be_visible()
    expect(line(page)).to_have_attribute("data-state", "connected")
    print(f"right {time.monotonic() - began:.2f} s after the network's return")  # how fast is for the bench to say
    expect(page.get_by_role("button", name="40 new messages")).to_be_visible()
    assert page.locator(f"[data-message-id='{seen}']").evaluate(place) == before
    desk.shoot(page, "after")


def test_the_server_restarts(desk: Desk, server: Server) -> None:
    page = desk.open("restarts")
    server.stop(signal.SIGTERM)
    expect(line(page)).to_have_attribute("data-state", "restarting")
    expect(line(page)).to_contain_text("The server is restarting")
    desk.shoot(page, "restarting")
    server.start()
    expect(line(page)).to_have_attribute("data-state", "connected")


def test_the_database_is_away(desk: Desk, server: Server) -> None:
    """A list that the server cannot answer: the line says why, and "now" does not wait for what the server asked."""
    server.curl("database", "hello")
    context = desk.context(service_workers="block")
    hindered = [True]

    def answer(route: Any) -> None:
        problem = {"title": "unavailable", "status": 503, "code": "unavailable"}
        if hindered[0]:
            route.fulfill(status=503, headers={"Retry-After": "30"}, json=problem)
        else:
            route.continue_()

    context.route("**/api/v1/**", answer)
    page = context.new_page()
    page.goto(f"{server.url}/#token={mint('database')}")
    expect(line(page)).to_have_attribute("data-state", "unavailable")
    expect(line(page)).to_contain_text("cannot reach its database")
    expect(line(page)).to_contain_text("Next try in")
    desk.shoot(page, "unavailable")
    hindered[0] = False
    page.get_by_role("button", name="Try now").click()
    expect(chat(page)).to_be_visible()
    expect(line(page)).to_have_attribute("data-state", "connected")


def test_the_database_freezes(desk: Desk, server: Server) -> None:
    """A page that is connected and asks for nothing says so, and goes on by itself when it is back."""
    server.curl("frozen", "before")
    page = desk.open("frozen")
    chat(page).click()
    expect(page).to_have_title("Roomcast")  # it has been read: there is nothing left to ask for
    page.evaluate("window.notReloaded = true")
    with server.frozen_database():
        expect(line(page)).to_have_attribute("data-state", "unavailable")
        expect(line(page)).to_contain_text("cannot reach its database. Trying again")
        desk.shoot(page, "unavailable")
    expect(line(page)).to_have_attribute("data-state", "connected")
    server.curl("frozen", "after")
    expect(page.locator("[data-message-id]").last).to_contain_text("after")
    assert page.evaluate("window.notReloaded") is True


def test_signed_out_and_in_again(desk: Desk, server: Server) -> None:
    """A token that runs out: what is read stays, what was kept is forgotten, a new token goes on at the same place."""
    server.curl("expiry", "hello")
    page = desk.open("expiry", token=mint("expiry", lifetime=4))
    chat(page).click()
    expect(page.locator("[data-message-id]")).to_have_count(1)
    page.evaluate("window.notReloaded = true")
    time.sleep(4)
    server.loop.call(server.proxy.drop)
    expect(line(page)).to_have_attribute("data-state", "unauthorized")
    expect(line(page)).to_contain_text("Signed out")
    expect(page.locator("[data-message-id]")).to_have_count(1)
    eventually(lambda: page.evaluate(KEPT) == [], "everything to be forgotten")
    server.curl("expiry", "missed")
    page.get_by_role("button", name="Sign in again").click()
    desk.shoot(page, "sign-in-again")
    page.get_by_role("dialog").get_by_role("textbox").fill("no token")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This is not a token")
    page.get_by_role("dialog").get_by_role("textbox").fill(mint("expiry"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("[data-message-id]").last).to_contain_text("missed")
    assert page.evaluate("window.notReloaded") is True


def test_the_console_tells_each_step(desk: Desk, server: Server) -> None:
    """Only where it is asked to, and never what people wrote, nor the token."""
    context = desk.context()
    context.add_init_script("localStorage.debug = 'roomcast'")
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda one: said.append(one.text))
    token = mint("steps")
    page.goto(f"{server.url}/#token={token}")
    expect(line(page)).to_have_attribute("data-state", "connected")
    server.curl("steps", "a secret")
    expect(chat(page)).to_be_visible()
    server.loop.call(server.proxy.drop)
    expect(line(page)).not_to_have_attribute("data-state", "connected")
    expect(line(page)).to_have_attribute("data-state", "connected")
    whole = "\n".join(said)
    for step in ("connecting", "connected", "subscribed", "new_message", "not connected", "state: reconnecting"):
        assert f" {step}" in whole, step
    assert "a secret" not in whole
    assert token not in whole


# What is there when it is opened again


def kept(desk: Desk, server: Server, session: str) -> tuple[BrowserContext, Page]:
    """A page that was open for a while, with a chat, and is ready to be without a network."""
    server.post(session, {"messages": [message(f"number {n}", ALICE, chatName="Alice") for n in range(80)]})
    server.curl(session, "hello from Bob", chat=BOB, name="Bob")
    context = desk.context()
    page = desk.open(session, context=context)
    chat(page).click()
    to_the_end(page)
    expect(page.locator("[data-message-id]").last).to_contain_text("number 79")
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    eventually(lambda: page.evaluate(KEPT), "the state to be kept")
    return context, page


def test_opened_without_a_network(desk: Desk, server: Server) -> None:
    """It shows what it has, and catches up when there is a network again, without a reload."""
    context, page = kept(desk, server, "kept")
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    context.set_offline(True)
    server.loop.call(server.proxy.cut)
    server.loop.call(server.proxy.drop)
    page.reload()
    expect(chat(page, BOB)).to_contain_text("hello from Bob")
    expect(page.locator("[data-message-id]").last).to_contain_text("number 79")
    expect(line(page)).to_have_attribute("data-state", "offline")
    desk.shoot(page, "offline")
    server.curl("kept", "missed", chat=BOB, name="Bob")
    server.loop.call(server.proxy.thaw)
    context.set_offline(False)
    expect(chat(page, BOB)).to_contain_text("missed")
    expect(line(page)).to_have_attribute("data-state", "connected")


def test_the_last_state_is_shown_at_once(desk: Desk, server: Server) -> None:
    """Before the server has said a word; then it is caught up from its position, without reading the lists anew."""
    context, page = kept(desk, server, "at-once")
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    page.wait_for_timeout(300)
    page.close()
    server.post("at-once", {"messages": [message(f"missed {n}", BOB) for n in range(5)]})
    asked: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: desk.complaints.append(str(error)))
    page.on("console", lambda said: desk.complaints.append(said.text) if is_complaint(said) else None)
    server.loop.call(server.proxy.cut)
    page.goto(f"{server.url}/#token={mint('at-once')}")
    expect(chat(page, BOB)).to_contain_text("hello from Bob")
    server.loop.call(server.proxy.thaw)
    expect(chat(page, BOB)).to_contain_text("missed 4")
    assert not [url for url in asked if "/chats" in url]


def test_signed_out_it_forgets_everything(desk: Desk, server: Server) -> None:
    context, page = kept(desk, server, "forget")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_test_id("sign-in")).to_be_visible()
    eventually(lambda: page.evaluate(KEPT) == [], "everything to be forgotten")
    assert page.evaluate("[sessionStorage.length, localStorage.length]") == [0, 0]
    context.set_offline(True)
    page.reload()
    expect(page.get_by_test_id("sign-in")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text("Bob")
