"""What is unread stays unread until somebody has seen it; where somebody was reading, they go on."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import Desk, Server, eventually, to_the_end
from tests.support import message

ALICE = "85291234567@s.whatsapp.net"
BOB = "85297654321@s.whatsapp.net"
CAROL = "85290000001@s.whatsapp.net"


def chat(page: Page, chat_id: str = ALICE) -> Locator:
    return page.locator(f"[data-chat-id='{chat_id}']")


def bubble(page: Page, text: str) -> Locator:
    return page.get_by_test_id("message").filter(has=page.get_by_text(text, exact=True))


def unread(page: Page, chat_id: str = ALICE) -> int:
    """As the list shows it."""
    badge = chat(page, chat_id).get_by_test_id("unread").locator("[aria-hidden]")
    return int(badge.inner_text()) if badge.count() else 0


def fill(server: Server, session: str, numbers: range, chat_id: str = ALICE) -> None:
    server.post(session, {"messages": [message(f"number {n}", chat_id) for n in numbers]})


def scroll(page: Page, by: int) -> None:
    page.locator("#messages").evaluate("(one, by) => { one.scrollTop += by; }", by)


def in_view(page: Page) -> list[str]:
    """The texts of the messages that are in view as a whole."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => {
            const edge = document.getElementById("messages")?.getBoundingClientRect();
            return !edge ? [] : [...document.querySelectorAll("[data-message-id]")].filter((one) => {
                const { top, bottom } = one.getBoundingClientRect();
                return top >= edge.top && bottom <= edge.bottom + 1;
            }).map((one) => one.querySelector(".text").textContent);
        }"""
    )


def all_read(desk: Desk, server: Server, session: str) -> Page:
    """A chat of 100 messages, open at its end and read."""
    fill(server, session, range(100))
    page = desk.open(session)
    chat(page).click()
    to_the_end(page)
    expect(chat(page).get_by_test_id("unread")).to_have_count(0)
    return page


def test_a_chat_opens_at_its_first_unread_message(desk: Desk, server: Server) -> None:
    """With the line above it that counts as the server does; what lies below stays unread until it is in view."""
    page = all_read(desk, server, "unread")
    page.keyboard.press("Escape")
    fill(server, "unread", range(100, 300))
    expect(chat(page).get_by_test_id("unread")).to_contain_text("200")
    chat(page).click()
    expect(page.locator(".unread-line")).to_have_text("200 new messages")
    expect(bubble(page, "number 100")).to_be_in_viewport()
    assert in_view(page)[0] in ("number 99", "number 100")
    last = int(in_view(page)[-1].split()[1])
    eventually(lambda: unread(page) == 299 - last, "what is in view to be read")
    desk.shoot(page, "first-unread")
    chip = page.get_by_role("button", name=f"{299 - last} new messages")
    expect(chip).to_be_visible()
    page.wait_for_timeout(600)  # twice as long as the page waits before it marks again
    assert unread(page) == 299 - last
    scroll(page, 800)
    eventually(lambda: 0 < unread(page) < 299 - last, "more to be read")
    assert page.locator(".unread-line").count() == 0 or page.locator(".unread-line").inner_text() == "200 new messages"
    to_the_end(page)
    expect(bubble(page, "number 299")).to_be_in_viewport()
    expect(chat(page).get_by_test_id("unread")).to_have_count(0)


def test_nothing_is_read_behind_another_window(desk: Desk, server: Server) -> None:
    server.curl("behind", "one")
    page = desk.open("behind")
    chat(page).click()
    expect(chat(page).get_by_test_id("unread")).to_have_count(0)
    page.evaluate("dispatchEvent(new Event('blur'))")
    server.curl("behind", "two")
    expect(page.locator("[data-message-id]").last).to_contain_text("two")
    page.wait_for_timeout(600)
    assert unread(page) == 1
    page.evaluate("dispatchEvent(new Event('focus'))")
    expect(chat(page).get_by_test_id("unread")).to_have_count(0)


def test_who_reads_further_up_has_not_read_what_comes(desk: Desk, server: Server) -> None:
    page = all_read(desk, server, "above")
    scroll(page, -3000)
    server.curl("above", "new")
    expect(page.get_by_role("button", name="1 new message")).to_be_visible()
    page.wait_for_timeout(600)
    assert unread(page) == 1
    page.get_by_role("button", name="1 new message").click()
    expect(chat(page).get_by_test_id("unread")).to_have_count(0)


def test_the_reading_place_is_kept(desk: Desk, server: Server) -> None:
    """When another chat was open meanwhile, and after a reload."""
    fill(server, "place", range(200))
    fill(server, "place", range(3), BOB)
    page = desk.open("place")
    chat(page).click()
    to_the_end(page)
    expect(chat(page).get_by_test_id("unread")).to_have_count(0)
    scroll(page, -4000)
    page.wait_for_timeout(200)
    before = in_view(page)
    assert "number 199" not in before

    def same() -> Any:
        return eventually(lambda: in_view(page) == before, f"{before[0]} at the upper edge")

    chat(page, BOB).click()
    expect(page.locator("[data-message-id]")).to_have_count(3)
    chat(page).click()
    same()
    page.wait_for_timeout(2500)  # longer than the page waits before it keeps something
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    page.reload()
    same()
    desk.shoot(page, "after-reload")


def test_keys_lead_through_what_is_unread(desk: Desk, server: Server) -> None:
    """Alt and arrows: the next and the previous one; with Shift the one that has waited longest."""
    for name, chat_id in (("Carol", CAROL), ("Bob", BOB), ("Alice", ALICE)):
        server.curl("keys", f"from {name}", chat=chat_id, name=name)
    page = desk.open("keys")
    heading = page.get_by_role("heading", level=2)
    page.locator("[data-testid=chat]").first.wait_for()
    page.keyboard.press("Alt+Shift+ArrowDown")
    expect(heading).to_have_text("Carol")
    expect(chat(page, CAROL).get_by_test_id("unread")).to_have_count(0)
    page.keyboard.press("Alt+ArrowUp")
    expect(heading).to_have_text("Bob")
    expect(chat(page, BOB).get_by_test_id("unread")).to_have_count(0)
    server.curl("keys", "again", chat=CAROL, name="Carol")
    expect(chat(page, CAROL)).to_contain_text("again")
    page.keyboard.press("Alt+ArrowDown")
    expect(heading).to_have_text("Carol")
    page.keyboard.press("Alt+ArrowDown")
    expect(heading).to_have_text("Alice")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Next unread chat")
