"""The inbox page, as an agent sees it."""

from __future__ import annotations

import signal
from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Desk, Server, eventually, to_the_end
from tests.support import message, mint

ALICE = "85291234567@s.whatsapp.net"


def chat(page: Page, chat_id: str = ALICE) -> Any:
    return page.locator(f"[data-chat-id='{chat_id}']")


def bubbles(page: Page) -> list[str]:
    """The texts of the open chat, as they stand in the page."""
    return page.locator("[data-message-id]").evaluate_all(
        "all => all.map(one => one.querySelector('.text, [data-testid=text]')?.innerText ?? one.innerText)"
    )


def test_message_appears(desk: Desk, server: Server) -> None:
    """A message posted by curl while the page is open appears in the list and in the open chat, without a reload."""
    page = desk.open("live")
    assert "token" not in page.url
    server.curl("live", "Is the blue one still there?")
    expect(chat(page)).to_contain_text("Is the blue one still there?")
    expect(chat(page)).to_contain_text("Alice")
    expect(chat(page).get_by_test_id("unread")).to_contain_text("1")
    chat(page).click()
    expect(page.locator("[data-message-id]")).to_have_count(1)
    server.curl("live", "<b>and</b> the <img src=x onerror=alert(1)> red one?")
    expect(page.locator("[data-message-id]").last).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page.locator("[data-message-id] b, [data-message-id] img")).to_have_count(0)
    expect(chat(page).get_by_test_id("unread")).to_have_count(0)
    desk.shoot(page, "open")


def test_two_tabs_agree(desk: Desk, server: Server) -> None:
    """What one tab reads is read in the other."""
    context = desk.context()
    one = desk.open("tabs", context=context)
    two = desk.open("tabs", context=context)
    server.curl("tabs", "one")
    server.curl("tabs", "two")
    for page in (one, two):
        expect(chat(page).get_by_test_id("unread")).to_contain_text("2")
    chat(one).click()
    expect(chat(two).get_by_test_id("unread")).to_have_count(0)
    expect(chat(one).get_by_test_id("unread")).to_have_count(0)


def test_network_cut_and_back(desk: Desk, server: Server) -> None:
    """After the network was away the page has what it missed, each once and in order, without a reload."""
    page = desk.open("tunnel")
    server.curl("tunnel", "before")
    chat(page).click()
    expect(page.locator("[data-message-id]")).to_have_count(1)
    page.evaluate("window.notReloaded = true")
    server.loop.call(server.proxy.cut)
    state = page.get_by_test_id("connection")
    expect(state).not_to_have_attribute("data-state", "connected")
    desk.shoot(page, "away")
    server.post("tunnel", {"messages": [message(f"missed {n}", ALICE) for n in range(30)]})
    server.loop.call(server.proxy.drop)
    server.loop.call(server.proxy.thaw)
    expect(state).to_have_attribute("data-state", "connected")
    server.curl("tunnel", "after")
    expect(page.locator("[data-message-id]").last).to_contain_text("after")
    expect(chat(page)).to_contain_text("after")
    stored = [f"missed {n}" for n in range(30)]
    shown = [text for text in bubbles(page) if "missed" in text]
    assert [text.split("\n")[0] for text in shown] == stored[-len(shown) :]
    assert page.evaluate("window.notReloaded") is True


def test_server_restarted(desk: Desk, server: Server) -> None:
    """The page comes back by itself after the server was stopped, and after it was killed."""
    page = desk.open("restart")
    server.curl("restart", "one")
    chat(page).click()
    expect(page.locator("[data-message-id]")).to_have_count(1)
    for number, text in ((signal.SIGTERM, "two"), (signal.SIGKILL, "three")):
        server.stop(number)
        expect(page.get_by_test_id("connection")).not_to_have_attribute("data-state", "connected")
        server.start()
        server.curl("restart", text)
        expect(page.locator("[data-message-id]").last).to_contain_text(text)
        expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    expect(page.locator("[data-message-id]")).to_have_count(3)


def test_older_pages_on_scrolling_up(desk: Desk, server: Server) -> None:
    """Scrolling up in a long chat brings older pages, up to the first message."""
    for first in range(0, 400, 200):
        server.post("long", {"messages": [message(f"number {n}", ALICE) for n in range(first, first + 200)]})
    page = desk.open("long")
    chat(page).click()
    to_the_end(page)
    expect(page.locator("[data-message-id]").last).to_contain_text("number 399")

    def at_the_beginning() -> bool:
        page.locator("[data-message-id]").first.scroll_into_view_if_needed()
        page.mouse.move(800, 400)
        page.mouse.wheel(0, -20_000)
        return any("number 0\n" in text + "\n" for text in bubbles(page))

    eventually(at_the_beginning, "the first message")
    desk.shoot(page, "beginning")


def test_kinds_and_days(desk: Desk, server: Server) -> None:
    """Media and unknown kinds are shown decently, days are separated, a group's senders are named."""
    group = "120363041234567890@g.us"
    sender = {"id": "1@s.whatsapp.net", "name": "Bob"}
    url = f"{server.url}/assets/none.png"
    server.post(
        "kinds",
        {
            "messages": [
                message("long ago", group, sender=sender, timestamp="2026-01-05T10:00:00Z", chatName="Family"),
                {
                    "chatId": group,
                    "sender": sender,
                    "type": "image",
                    "media": {"url": url, "width": 400, "height": 300},
                },
                {"chatId": group, "media": {"url": url, "fileName": "offer.pdf", "size": 84_213}, "sender": sender},
                message("what is it?", group, type="unknown", sender=sender),
                message("from us", group, fromMe=True, status="read"),
            ]
        },
    )
    page = desk.open("kinds")
    expect(chat(page, group)).to_contain_text("Family")
    chat(page, group).click()
    expect(page.locator("[data-message-id]")).to_have_count(5)
    expect(page.get_by_test_id("day")).to_have_count(2)
    expect(page.locator("[data-message-id]").first).to_contain_text("Bob")
    expect(page.locator("main")).to_contain_text("offer.pdf")
    desk.shoot(page, "kinds")


def test_phone(desk: Desk, server: Server) -> None:
    """On a phone the list and the chat take turns, and the back gesture leads to the list."""
    server.curl("phone", "hello")
    page = desk.open("phone", viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    desk.shoot(page, "list")
    chat(page).tap()
    expect(page.locator("[data-message-id]")).to_be_visible()
    expect(chat(page)).not_to_be_visible()
    desk.shoot(page, "chat")
    page.go_back()
    expect(chat(page)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_signed_out(desk: Desk, server: Server) -> None:
    """Without a good token the page says how to sign in, and a token that is pasted signs in."""
    page = desk.context().new_page()
    page.goto(server.url)
    expect(page.get_by_test_id("sign-in")).to_be_visible()
    desk.shoot(page, "sign-in")
    page.get_by_test_id("sign-in").get_by_role("textbox").fill(mint("shop"))
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    expired = desk.context().new_page()
    expired.goto(f"{server.url}/#token={mint('shop', lifetime=-10)}")
    expect(expired.get_by_test_id("sign-in")).to_be_visible()


def test_two_sessions_keep_apart(desk: Desk, server: Server) -> None:
    """The page shows the sessions of its token and nothing of others."""
    page = desk.open("mine", token=mint("mine", "ours"))
    for session in ("mine", "ours", "theirs"):
        server.curl(session, f"for {session}", chat=f"{session}@s.whatsapp.net", name=session)
    expect(chat(page, "mine@s.whatsapp.net")).to_be_visible()
    expect(chat(page, "ours@s.whatsapp.net")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text("for theirs")
