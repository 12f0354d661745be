"""Reading, looking for something and getting about in the inbox, as an agent does."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e import conversations
from tests.e2e.conftest import Desk, Server, eventually, faults, to_the_end
from tests.support import message, mint

ALICE = "85291234567@s.whatsapp.net"
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def kiln(server: Server, studio: str) -> str:
    """A session with the conversations of a small shop, and its pictures."""
    messages = conversations.messages(studio, NOW)
    server.post("kiln", {"messages": messages})
    server.post("kiln", {"updates": conversations.updates(messages)})
    return "kiln"


def chats(page: Page) -> Locator:
    return page.get_by_test_id("chat")


def open_chat(page: Page, name: str) -> None:
    chats(page).filter(has_text=name).first.click()
    expect(page.get_by_role("heading", level=2)).to_have_text(name)
    page.locator("[data-message-id]").first.wait_for()


def bubble(page: Page, text: str) -> Locator:
    return page.get_by_test_id("message").filter(has_text=text)


# Reading


def test_a_quote_leads_to_its_original(desk: Desk, server: Server) -> None:
    """However far back it lies: older pages are loaded, it is in view, marked, and has the focus."""
    lines = [message(f"number {n}", ALICE, messageId=f"n{n}", timestamp=NOW.isoformat()) for n in range(700)]
    answer = message("what about this?", ALICE, replyTo={"messageId": "n12", "senderId": ALICE, "text": "number 12"})
    lost = message("and that?", ALICE, replyTo={"messageId": "gone", "senderId": None, "text": "long gone"})
    for first in range(0, 700, 350):
        server.post("quotes", {"messages": lines[first : first + 350]})
    server.post("quotes", {"messages": [answer, lost]})
    page = desk.open("quotes")
    chats(page).click()
    to_the_end(page)
    bubble(page, "what about this?").get_by_role("button").click()
    original = page.locator("[data-message-id=n12]")
    expect(original).to_be_in_viewport()
    expect(original).to_be_focused()
    desk.shoot(page, "found")
    page.get_by_role("button", name="To the newest message").click()
    expect(bubble(page, "and that?")).to_be_in_viewport()
    bubble(page, "and that?").get_by_role("button").click()
    expect(page.get_by_role("status").filter(has_text="The original is not in this chat")).to_be_visible()
    expect(bubble(page, "and that?")).to_be_in_viewport()
    server.post("quotes", message("still at the end", ALICE))
    expect(bubble(page, "still at the end")).to_be_in_viewport()


def test_links_open_safely(desk: Desk, server: Server) -> None:
    text = (
        "see https://a.example/x?y=1, www.b.example or mail ann@c.example, not javascript:alert(1) nor data:text/html,x"
    )
    server.curl("links", text)
    page = desk.open("links")
    chats(page).click()
    links = page.locator("[data-message-id] a")
    expect(links).to_have_count(3)
    found = links.evaluate_all("all => all.map(a => [a.getAttribute('href'), a.target, a.rel])")
    assert found == [
        ["https://a.example/x?y=1", "_blank", "noopener noreferrer"],
        ["https://www.b.example", "_blank", "noopener noreferrer"],
        ["mailto:ann@c.example", "_blank", "noopener noreferrer"],
    ]


def test_each_kind_is_shown_as_what_it_is(desk: Desk, kiln: str) -> None:
    page = desk.open(kiln)
    open_chat(page, conversations.KINDS)
    kind = page.locator
    expect(kind("[data-type=image] img")).to_be_visible()
    expect(kind("[data-type=document]")).to_contain_text("return-label.pdf")
    expect(kind("[data-type=document]")).to_contain_text("84 kB")
    expect(kind("[data-type=location]")).to_contain_text("Le Petit Atelier")
    assert kind("[data-type=location] a").first.get_attribute("href") == (
        "https://www.openstreetmap.org/?mlat=45.76790&mlon=4.83420#map=16/45.76790/4.83420"
    )
    expect(kind("[data-type=contact]")).to_contain_text("Hugo Mercier")
    expect(kind("[data-type=contact]")).to_contain_text("+33 6 98 76 54 32")
    sound = kind("[data-type=audio] audio")
    assert sound.evaluate("one => [one.controls, one.preload]") == [True, "none"]
    expect(kind("[data-type=audio]")).to_contain_text("0:14")
    expect(kind("[data-type=sticker] img")).to_be_visible()
    desk.shoot(page, "kinds")


def test_a_picture_has_its_place_before_it_comes(desk: Desk, server: Server, studio: str) -> None:
    """In its proportion; and in full over the page, until Esc."""
    media = {"url": f"{studio}/slow/blue.svg", "width": 640, "height": 480}
    server.post("boxes", {"messages": [{"chatId": ALICE, "type": "image", "media": media}, message("below", ALICE)]})
    page = desk.open("boxes")
    chats(page).click()
    box, below = page.locator(".picture"), bubble(page, "below")
    before = (box.bounding_box(), below.bounding_box())
    assert before[0] is not None
    assert before[0]["width"] / before[0]["height"] == pytest.approx(640 / 480, rel=0.01)
    image = page.locator(".picture img")
    assert image.evaluate("one => one.complete && one.naturalWidth") in (False, 0)
    eventually(lambda: image.evaluate("one => one.naturalWidth") == 640, "the picture")
    assert (box.bounding_box(), below.bounding_box()) == before
    box.click()
    expect(page.get_by_test_id("full-picture")).to_be_visible()
    desk.shoot(page, "full")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("full-picture")).to_have_count(0)
    expect(page.locator("[data-message-id]").first).to_be_visible()


# The list


def test_search_and_filter(desk: Desk, kiln: str) -> None:
    """Names, numbers and last messages; Enter opens the first; the unread ones alone."""
    page = desk.open(kiln)
    expect(chats(page).first).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("CAMILLE")
    expect(chats(page)).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_have_text(conversations.KINDS)
    field = page.get_by_role("searchbox")
    for words, name in (("speckled", "Tom Okafor"), ("98123", "Priya"), ("怡君", conversations.CHINESE)):
        field.fill(words)
        if words == "98123":
            expect(chats(page)).to_have_count(0)
            expect(page.locator("nav")).to_contain_text("No chat has “98123”")
        else:
            expect(chats(page)).to_have_count(1)
            expect(chats(page)).to_contain_text(name)
    desk.shoot(page, "search")
    field.press("Escape")
    expect(field).to_have_value("")
    to_the_end(page)
    open_chat(page, conversations.GROUP)
    to_the_end(page)
    for name in (conversations.KINDS, conversations.GROUP):
        expect(chats(page).filter(has_text=name).get_by_test_id("unread")).to_have_count(0)
    page.get_by_role("button", name="Unread").click()
    expect(page.get_by_role("button", name="Unread")).to_have_attribute("aria-pressed", "true")
    # Those with something unread, and the one that is open.
    expect(chats(page).filter(has_text=conversations.KINDS)).to_have_count(0)
    expect(chats(page).filter(has_text=conversations.GROUP)).to_have_count(1)
    expect(chats(page).filter(has_text=conversations.CHINESE).get_by_test_id("unread")).to_be_visible()
    desk.shoot(page, "unread")


def test_a_chat_that_loads_late_takes_no_keys(desk: Desk, server: Server) -> None:
    """Who types on in the search while a chat is still loading is not interrupted by it."""
    server.curl("late", "hello")
    page = desk.open("late")
    expect(chats(page)).to_have_count(1)
    waiting: list[Route] = []
    page.route("**/messages?**", lambda route: waiting.append(route))
    page.keyboard.press("/")
    page.keyboard.type("ali")
    with page.expect_request("**/messages?**"):
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_have_text("Alice")
    expect(page.locator("main")).to_be_focused()
    field = page.get_by_role("searchbox")
    field.fill("alice")
    waiting.pop().continue_()
    page.locator("[data-message-id]").first.wait_for()
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_have_value("")
    expect(page.get_by_role("heading", level=2)).to_have_text("Alice")
    page.unroute("**/messages?**")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", level=2)).to_have_count(0)
    chats(page).click()
    expect(page.locator("#messages")).to_be_focused()


def test_times_keep_themselves_true(desk: Desk, server: Server) -> None:
    server.curl("times", "just now")
    page = desk.context().new_page()
    page.clock.install()
    page.goto(f"{server.url}/#token={mint('times')}")
    when = page.locator(".chat-time")
    expect(when).to_have_text("now")
    page.clock.run_for(5 * 60_000)
    expect(when).to_have_text("5 min ago")
    page.clock.run_for(70 * 60_000)
    expect(when).not_to_contain_text("ago")


def test_five_thousand_chats(desk: Desk, server: Server) -> None:
    """All are there, few of them in the document; a new message moves one up, and the list stays where it is."""
    for first in range(0, 5000, 500):
        server.post(
            "many", {"messages": [message(f"m{n}", f"c{n}", chatName=f"Chat {n}") for n in range(first, first + 500)]}
        )
    page = desk.open("many")
    listbox = page.get_by_role("listbox")
    eventually(lambda: listbox.evaluate("one => one.scrollHeight") > 5000 * 60, "all chats")
    assert chats(page).count() < 60
    page.get_by_role("searchbox").fill("77")
    expect(chats(page).first).to_contain_text("Chat 4977")
    page.get_by_role("searchbox").fill("")
    listbox.evaluate("one => one.scrollTop = 100_000")
    expect(chats(page).first).to_be_attached()
    shown = eventually(lambda: next((n for n in _in_view(page)), None), "rows in view")
    server.post("many", message("news", "c5", chatName="Chat 5"))
    expect(page).to_have_title("(5001) Roomcast")
    assert shown in _in_view(page)
    # A second of wheel scrolling in which each frame is drawn.
    frames = page.evaluate(
        """async () => {
            const list = document.getElementById("chats"), times = [];
            const end = performance.now() + 1000;
            while (performance.now() < end) {
                list.scrollTop += 400;
                times.push(await new Promise(requestAnimationFrame));
            }
            return times.slice(1).map((time, index) => time - times[index]);
        }"""
    )
    assert sorted(frames)[int(len(frames) * 0.9)] < 100, frames


def _in_view(page: Page) -> list[str]:
    return page.evaluate(  # type: ignore[no-any-return]
        """() => {
            const edge = document.getElementById("chats").getBoundingClientRect();
            return [...document.querySelectorAll("[data-testid=chat]")].filter((row) => {
                const { top, bottom } = row.getBoundingClientRect();
                return top >= edge.top && bottom <= edge.bottom;
            }).map((row) => row.dataset.chatId);
        }"""
    )


# Getting about


def test_the_keyboard_alone(desk: Desk, kiln: str) -> None:
    page = desk.open(kiln)
    chats(page).first.wait_for()
    names = chats(page).locator(".chat-name").all_inner_texts()
    page.get_by_role("listbox").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    desk.shoot(page, "row-in-focus")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_have_text(names[1])
    expect(page.locator("#messages")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")  # at once, as one who is quick
    expect(page.get_by_role("searchbox")).to_be_focused()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("heading", level=2)).to_be_visible()
    page.keyboard.type("?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.get_by_text("Choose a chat")).to_be_visible()
    expect(page.get_by_role("listbox")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(desk: Desk, server: Server, kiln: str, scheme: Any) -> None:
    page = desk.open(kiln, color_scheme=scheme, reduced_motion="reduce")
    open_chat(page, conversations.KINDS)
    assert faults(page) == []
    open_chat(page, conversations.GROUP)
    page.get_by_role("searchbox").fill("nothing has this")
    assert faults(page) == []
    page.get_by_role("searchbox").fill("")
    for button in ("Keyboard", "Settings"):
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert faults(page) == []
        desk.shoot(page, button)
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Check the connection").click()
    expect(page.get_by_text("Everything works.")).to_be_visible()
    assert faults(page) == []
    desk.shoot(page, "check")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_test_id("sign-in")).to_be_visible()
    assert faults(page) == []


def test_motion_is_left_out_where_it_is_not_wanted(desk: Desk, kiln: str) -> None:
    page = desk.open(kiln, reduced_motion="reduce")
    open_chat(page, conversations.GROUP)
    moving = "all => all.filter(one => parseFloat(getComputedStyle(one).transitionDuration) > 0).length"
    assert page.locator("*").evaluate_all(moving) == 0
    bubble(page, "folding table").get_by_role("button").click()
    expect(page.locator(".is-found")).to_be_visible()
    assert page.locator(".is-found").evaluate("one => getComputedStyle(one).animationName") == "none"


def test_right_to_left(desk: Desk, kiln: str) -> None:
    page = desk.open(kiln)
    open_chat(page, conversations.RIGHT_TO_LEFT)
    said = page.locator("[data-message-id] .text").first
    assert said.evaluate("one => getComputedStyle(one).direction") == "rtl"
    answer = page.locator(".is-mine .text").first
    assert answer.evaluate("one => getComputedStyle(one).direction") == "ltr"
    desk.shoot(page, "chat")


@pytest.mark.parametrize("size", [(600, 375), (320, 640)], ids=["200-percent", "narrow"])
def test_zoomed(desk: Desk, kiln: str, size: tuple[int, int]) -> None:
    """At 200 % and on the narrowest phone nothing is cut off sideways, and all can be reached."""
    page = desk.open(kiln, viewport={"width": size[0], "height": size[1]}, device_scale_factor=2)
    wide = "document.documentElement.scrollWidth <= innerWidth"
    assert page.evaluate(wide)
    for button in ("Settings", "Keyboard"):
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("dialog")).to_be_in_viewport(ratio=0.9)
        page.keyboard.press("Escape")
    for name in (conversations.KINDS, conversations.GROUP):
        open_chat(page, name)
        assert page.evaluate(wide)
        assert page.locator("#messages").evaluate("one => one.scrollWidth <= one.clientWidth")
        desk.shoot(page, name.split(" ", maxsplit=1)[0])
        page.get_by_role("button", name="Back to the chats").click()


@pytest.mark.parametrize(("locale", "search", "now"), [("zh-CN", "搜索", "刚刚"), ("zh-TW", "搜尋", "剛剛")])
def test_chinese(desk: Desk, server: Server, kiln: str, locale: str, search: str, now: str) -> None:
    server.post(kiln, message("現在", "now@s.whatsapp.net", chatName=f"Now {locale}"))
    page = desk.open(kiln, locale=locale)
    expect(page.get_by_placeholder(search)).to_be_visible()
    expect(chats(page).filter(has_text=f"Now {locale}").locator(".chat-time")).to_have_text(now)
    open_chat(page, conversations.GROUP)
    page.keyboard.press("?")
    words = page.locator("body").inner_text()
    assert not [line for line in words.split("\n") if line in ("Search", "Unread", "Chats", "Keyboard", "Connected")]
    desk.shoot(page, "help")


def test_the_first_view_of_500_chats(desk: Desk, server: Server) -> None:
    """The list is there, and says so in the browser's own timeline, when the first few of the chats have come."""
    server.post("first", {"messages": [message(f"m{n}", f"c{n}", chatName=f"Chat {n}") for n in range(500)]})
    page = desk.context().new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/chats" in request.url else None)
    page.goto(f"{server.url}/#token={mint('first')}")
    expect(chats(page).first).to_be_visible()
    assert "limit=50" in asked[0]
    assert page.evaluate("performance.getEntriesByName('roomcast:list').length") == 1
