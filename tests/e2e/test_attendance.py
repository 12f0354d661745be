"""Who is there, as the page shows it: typing, online, colleagues, and accounts that are not connected."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import Desk, Server, faults
from tests.support import TOKENS, message, mint

ALICE = "85291234567@s.whatsapp.net"
BOB = "85297654321@s.whatsapp.net"


def agent(session: str, sub: str, name: str) -> str:
    scopes = ("read", "write", "send")
    return TOKENS.mint(sub, sessions=(session,), scopes=scopes, lifetime=3600, name=name)


def row(page: Page, chat: str = ALICE) -> Locator:
    return page.locator(f"[data-testid=chat][data-chat-id='{chat}']")


def signals(server: Server, session: str, *several: dict[str, Any]) -> None:
    server.post(session, {"signals": list(several)})


def typing(action: str, chat: str = ALICE) -> dict[str, Any]:
    return {"type": "typing", "chatId": chat, "sender": {"id": chat}, "action": action}


def test_a_contact_types(desk: Desk, server: Server) -> None:
    """It shows in the row and in the head of the chat until the message comes; so does when the contact was online."""
    server.post("typing", {"messages": [message("one", ALICE), message("two", BOB)]})
    page = desk.open("typing", color_scheme="dark")
    row(page).click()
    seen = {"type": "presence", "chatId": ALICE, "sender": {"id": ALICE}}
    signals(server, "typing", seen | {"state": "online"})
    head = page.get_by_test_id("headline")
    expect(head).to_have_text("online")
    signals(server, "typing", typing("typing"), typing("recording", BOB))
    expect(head).to_have_text("typing…")
    expect(row(page).get_by_test_id("typing")).to_have_text("typing…")
    expect(row(page, BOB).get_by_test_id("typing")).to_have_text("recording…")
    expect(page.get_by_test_id("spoken")).to_have_text("typing…")
    assert faults(page) == []
    desk.shoot(page, "typing")
    server.post("typing", message("three", ALICE))
    expect(row(page).get_by_test_id("typing")).to_have_count(0)
    signals(server, "typing", seen | {"state": "offline", "lastSeen": "2026-02-06T12:04:00.000Z"})
    expect(head).to_contain_text("last seen")


def test_a_colleague_is_there(desk: Desk, server: Server) -> None:
    """One sees who else looks at the chat, who is answering there, and who is there at all."""
    session = "team"
    server.post(session, {"messages": [message("one", ALICE), message("two", BOB)]})
    mine = desk.open(session, token=agent(session, "ann", "Ann Lee"))
    theirs = desk.open(session, token=agent(session, "eve", "Eve Wong"))
    row(mine).click()
    expect(mine.get_by_test_id("viewers")).to_have_count(0)
    row(theirs).click()
    expect(mine.get_by_test_id("viewers")).to_contain_text("Eve Wong")
    expect(theirs.get_by_test_id("viewers")).to_contain_text("Ann Lee")
    expect(mine.get_by_test_id("team")).to_contain_text("Eve Wong")
    theirs.locator("textarea").first.press_sequentially("It has")
    expect(mine.get_by_test_id("answering")).to_have_text("Eve Wong is answering…")
    expect(row(mine).get_by_test_id("typing")).to_have_text("Eve Wong is answering…")
    expect(theirs.get_by_test_id("answering")).to_have_count(0)
    assert faults(mine) == []
    desk.shoot(mine, "colleague")
    theirs.keyboard.press("Enter")
    expect(mine.get_by_test_id("answering")).to_have_count(0)
    row(theirs, BOB).click()
    row(mine, BOB).click()
    expect(mine.get_by_test_id("viewers")).to_contain_text("Eve Wong")
    expect(mine.get_by_test_id("team")).to_contain_text("Eve Wong")


def test_an_account_that_is_logged_out(desk: Desk, server: Server) -> None:
    """A banner says so, with what to do, until it is connected again."""
    server.post("account", {"messages": [message("one", ALICE)]})
    page = desk.open("account", token=mint("account", scopes=("read",)), color_scheme="dark")
    banner = page.get_by_test_id("accounts")
    expect(banner).to_have_text("")
    signals(server, "account", {"type": "connection", "state": "logged_out", "detail": "removed"})
    expect(banner).to_contain_text("account is logged out of WhatsApp")
    expect(banner).to_contain_text("Link the account again")
    assert faults(page) == []
    desk.shoot(page, "account")
    page.reload()
    expect(banner).to_contain_text("account is logged out of WhatsApp")
    signals(server, "account", {"type": "connection", "state": "connected"})
    expect(banner).to_have_text("")
