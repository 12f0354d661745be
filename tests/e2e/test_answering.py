"""Answering in the page: two agents in Chromium, a bot that delivers, and the customers' phones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.answering import Bot
from tests.e2e.conftest import Desk, Server, eventually, faults
from tests.support import TOKENS, Site, message

ALICE, BOB = "85291234567@s.whatsapp.net", "447700900123@s.whatsapp.net"
RIGHTS = ("read", "write", "send")


class Hands(Bot):
    """A bot in the loop's thread, which refuses messages that contain "fail"."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.refusing = True
        self.answer = self._answer

    def _answer(self, order: dict[str, Any]) -> dict[str, Any]:
        if "fail" in order["message"]["text"] and self.refusing:
            error = {"code": "not_on_whatsapp", "title": "This number is not on WhatsApp."}
            return {"ok": False, "error": error, "retry": False}
        return {"ok": True}


@pytest.fixture
def hands(server: Server, request: pytest.FixtureRequest) -> Iterator[Hands]:
    """A bot for the session that has the test's name."""

    async def start() -> Hands:
        bot = Hands(Site(f"http://127.0.0.1:{server.port}", None))  # type: ignore[arg-type]
        await bot.serve(session_of(request))
        return bot

    bot = server.loop.run(start())
    yield bot
    server.loop.run(bot.close())


@pytest.fixture
def session(server: Server, request: pytest.FixtureRequest) -> str:
    """A session with two chats, of Alice and of Bob."""
    name = session_of(request)
    server.post(name, message("Is the blue one still there?", ALICE, messageId="a1", chatName="Alice Wong"))
    server.post(name, message("When are you open?", BOB, messageId="b1", chatName="Bob"))
    return name


def session_of(request: pytest.FixtureRequest) -> str:
    return request.node.originalname[5:64].replace("_", "-")  # type: ignore[no-any-return]


def signed_in(desk: Desk, session: str, who: str = "Ann", scopes: tuple[str, ...] = RIGHTS, **options: Any) -> Page:
    token = TOKENS.mint(who.lower(), name=who, sessions=[session], scopes=scopes, lifetime=3600)
    return desk.open(session, token=token, **options)


def chat(page: Page, chat_id: str = ALICE) -> Locator:
    return page.locator(f"[data-testid=chat][data-chat-id='{chat_id}']")


def open_chat(page: Page, chat_id: str = ALICE) -> Locator:
    """Open the chat; its composer."""
    chat(page, chat_id).click()
    page.locator("[data-message-id]").first.wait_for()
    return page.locator("#composer")


def bubbles(page: Page, text: str) -> Locator:
    return page.get_by_test_id("message").filter(has_text=text)


def status(page: Page, text: str) -> Locator:
    return bubbles(page, text).get_by_test_id("status")


@contextlib.contextmanager
def offline(server: Server, page: Page) -> Iterator[None]:
    """Meanwhile the page has no network; afterwards it is connected."""
    page.context.set_offline(True)
    server.loop.call(server.proxy.cut)
    server.loop.call(server.proxy.drop)
    try:
        page.locator("[data-testid=connection]:not([data-state=connected])").wait_for()
        yield
    finally:
        server.loop.call(server.proxy.thaw)
        page.context.set_offline(False)
    connected(page)


def connected(page: Page) -> None:
    page.locator("[data-testid=connection][data-state=connected]").wait_for()


def test_an_answer_is_seen_at_once_and_its_ticks_as_they_come(
    desk: Desk, server: Server, hands: Hands, session: str
) -> None:
    """Enter sends, Shift+Enter and an input method's Enter do not; there is one bubble, and the bot gets it once."""
    ann, ben = signed_in(desk, session), signed_in(desk, session, "Ben")
    box = open_chat(ann)
    open_chat(ben)
    server.loop.call(lambda: setattr(hands, "hold", asyncio.Event()))
    box.press_sequentially("Yes, it is.")
    box.press("Shift+Enter")
    cdp = ann.context.new_cdp_session(ann)
    cdp.send("Input.imeSetComposition", {"text": "hao", "selectionStart": 3, "selectionEnd": 3})
    # As browsers tell of the Enter that chooses one of the method's words.
    cdp.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", "key": "Enter", "windowsVirtualKeyCode": 229})
    cdp.send("Input.insertText", {"text": "好"})
    expect(box).to_have_value("Yes, it is.\n好")
    assert hands.delivered == []
    box.press("Enter")
    expect(box).to_have_value("")
    for page in (ann, ben):
        expect(status(page, "Yes, it is.")).to_have_attribute("data-status", "pending")
    expect(bubbles(ben, "Yes, it is.").get_by_test_id("author")).to_have_text("Ann")
    expect(bubbles(ann, "Yes, it is.").get_by_test_id("author")).to_have_count(0)
    eventually(lambda: hands.words() == ["Yes, it is.\n好"], "the message at the bot")
    server.loop.call(lambda: hands.hold.set())  # type: ignore[union-attr]
    sent = hands.delivered[0]["message"]["messageId"]
    for step in ("sent", "delivered", "read"):
        if step != "sent":
            server.post(session, {"updates": [{"messageId": sent, "chatId": ALICE, "status": step}]})
        for page in (ann, ben):
            expect(status(page, "Yes, it is.")).to_have_attribute("data-status", step)
    for page in (ann, ben):
        expect(bubbles(page, "Yes, it is.")).to_have_count(1)
    assert len(hands.delivered) == 1


def test_a_message_waits_for_the_network_over_a_reload(desk: Desk, server: Server, hands: Hands, session: str) -> None:
    """It says so; when the network is back, everything goes out once and in order."""
    page = signed_in(desk, session)
    box = open_chat(page)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    page.wait_for_function("caches.match('/').then(Boolean)")
    with offline(server, page):
        for text in ("first", "second", "never mind"):
            box.fill(text)
            box.press("Enter")
        expect(bubbles(page, "second").get_by_test_id("waits")).to_contain_text("Waiting for a connection")
        expect(page.get_by_test_id("connection")).to_contain_text("3 messages are waiting to be sent")
        bubbles(page, "never mind").get_by_role("button", name="Discard").click()
        expect(bubbles(page, "never mind")).to_have_count(0)  # it disappears when it is no longer stored
        page.reload()
        for text in ("first", "second"):
            expect(status(page, text)).to_have_attribute("data-status", "pending")
        expect(bubbles(page, "never mind")).to_have_count(0)
        desk.shoot(page, "offline")
    for text in ("first", "second"):
        expect(status(page, text)).to_have_attribute("data-status", "sent")
        expect(bubbles(page, text)).to_have_count(1)
    assert hands.words() == ["first", "second"]


def test_a_conflict_shows_the_other_answer_and_keeps_the_text(
    desk: Desk, server: Server, hands: Hands, session: str
) -> None:
    """Nothing is sent until the agent has decided; what is edited comes back into the composer."""
    ann, ben = signed_in(desk, session), signed_in(desk, session, "Ben")
    mine, his = open_chat(ann), open_chat(ben)
    with offline(server, ann):
        for text in ("I will look.", "It is sold."):
            mine.fill(text)
            mine.press("Enter")
        server.loop.call(server.proxy.thaw)
        connected(ben)
        his.fill("Yes, come by.")
        his.press("Enter")
        expect(status(ben, "Yes, come by.")).to_have_attribute("data-status", "sent")
    refused = bubbles(ann, "I will look.")
    expect(refused.get_by_test_id("error")).to_contain_text("Ben has answered meanwhile")
    expect(refused.get_by_test_id("error")).to_contain_text("Yes, come by.")
    expect(bubbles(ann, "It is sold.").get_by_test_id("waits")).to_contain_text("Waits until you have decided")
    expect(ann.get_by_test_id("announcer")).to_contain_text("Ben has answered meanwhile")
    desk.shoot(ann, "conflict")
    assert hands.words() == ["Yes, come by."]
    refused.get_by_role("button", name="Edit").click()
    expect(mine).to_have_value("I will look.")
    other = bubbles(ann, "It is sold.")
    other.get_by_role("button", name="Send anyway").click()
    expect(status(ann, "It is sold.")).to_have_attribute("data-status", "sent")
    assert hands.words() == ["Yes, come by.", "It is sold."]


def test_a_failure_says_why_and_what_one_can_do(desk: Desk, server: Server, hands: Hands, session: str) -> None:
    """Trying again delivers it; what is discarded is gone for everybody, and was never sent."""
    ann, ben = signed_in(desk, session, reduced_motion="reduce"), signed_in(desk, session, "Ben")
    box = open_chat(ann)
    open_chat(ben)
    for text in ("fail first", "fail for good"):
        box.fill(text)
        box.press("Enter")
    for page in (ann, ben):
        for text in ("fail first", "fail for good"):
            expect(bubbles(page, text).get_by_test_id("error")).to_contain_text("This number is not on WhatsApp.")
    assert faults(ann) == []
    hands.refusing = False
    bubbles(ann, "fail first").get_by_role("button", name="Try again").click()
    bubbles(ann, "fail for good").get_by_role("button", name="Discard").click()
    for page in (ann, ben):
        expect(status(page, "fail first")).to_have_attribute("data-status", "sent")
        expect(bubbles(page, "fail for good")).to_have_count(0)
    assert hands.words() == ["fail first", "fail for good", "fail first"]


def test_drafts_stay_in_their_chats(desk: Desk, server: Server, hands: Hands, session: str) -> None:
    """They survive a reload, are marked in the list, and are sent to nobody else, however fast one switches."""
    page = signed_in(desk, session)
    open_chat(page, ALICE)
    typed = {"Alice Wong": "", "Bob": ""}
    for number in range(8):
        chat_id, letter = ((BOB, "b"), (ALICE, "a"))[number % 2]
        # Clicked and typed in one turn of the browser: what was on the screen is there still.
        shown = page.evaluate(
            """([id, letter]) => {
                document.querySelector(`[data-chat-id='${id}']`).click();
                document.getElementById("composer").focus();
                document.execCommand("insertText", false, letter);
                return document.querySelector("main h2").textContent;
            }""",
            [chat_id, letter],
        )
        typed[shown] += letter
    assert "b" in typed["Alice Wong"], "typed right after a click on the other chat"
    box = open_chat(page, BOB)
    expect(box).to_have_value(typed["Bob"])
    box = open_chat(page, ALICE)
    expect(box).to_have_value(typed["Alice Wong"])
    box.fill("for Alice")
    box = open_chat(page, BOB)
    box.fill("for Bob")
    expect(chat(page, ALICE).get_by_test_id("draft")).to_have_text("Draft: for Alice")
    expect(page.get_by_test_id("draft")).to_have_count(1)
    page.reload()
    expect(box).to_have_value("for Bob")
    expect(chat(page, ALICE).get_by_test_id("draft")).to_have_text("Draft: for Alice")
    box.press("Enter")
    expect(status(page, "for Bob")).to_have_attribute("data-status", "sent")
    assert [(order["chatId"], order["message"]["text"]) for order in hands.delivered] == [(BOB, "for Bob")]
    expect(open_chat(page, ALICE)).to_have_value("for Alice")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_test_id("sign-in")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0


def test_replies_to_a_message(desk: Desk, server: Server, hands: Hands, session: str) -> None:
    """By the key, the button and a long press; the quote stands above the composer, and goes out with the answer."""
    server.post(session, message("The green one?", ALICE, messageId="a2"))
    page = signed_in(desk, session)
    box, quote = open_chat(page), page.get_by_test_id("reply-quote")
    page.keyboard.press("Enter")
    expect(box).to_be_focused()
    page.locator("#messages").focus()
    page.keyboard.press("r")
    expect(quote).to_contain_text("The green one?")
    expect(box).to_be_focused()
    page.keyboard.press("Control+ArrowUp")
    expect(quote).to_contain_text("Is the blue one still there?")
    page.keyboard.press("Escape")
    expect(quote).to_have_count(0)
    blue = bubbles(page, "Is the blue one still there?")
    blue.hover()
    blue.get_by_role("button", name="Reply").click()
    expect(quote).to_contain_text("Is the blue one still there?")
    page.keyboard.type("It is.")
    page.keyboard.press("Enter")
    expect(quote).to_have_count(0)
    expect(status(page, "It is.")).to_have_attribute("data-status", "sent")
    expect(bubbles(page, "It is.")).to_contain_text("Is the blue one still there?")
    assert hands.delivered[0]["message"]["replyTo"]["messageId"] == "a1"
    bubbles(page, "The green one?").last.evaluate(
        "one => one.dispatchEvent(new PointerEvent('pointerdown', {pointerType: 'touch', bubbles: true}))"
    )
    expect(quote).to_contain_text("The green one?")


def test_quick_replies(desk: Desk, server: Server, hands: Hands, session: str) -> None:
    """Written once in the page, they are found by a slash, and have the contact's name."""
    page = signed_in(desk, session, color_scheme="dark", reduced_motion="reduce")
    box = open_chat(page)
    box.press_sequentially("/")
    page.get_by_role("button", name="Edit quick replies").click()
    page.get_by_label("Shortcut", exact=True).fill("thanks")
    page.get_by_label("Text", exact=True).fill("Thank you, {name}!\nHave a good day.")
    page.get_by_role("button", name="Add").click()
    page.get_by_label("Shortcut", exact=True).nth(1).fill("hours")
    page.get_by_label("Text", exact=True).nth(1).fill("We are open from 9 to 6.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    box.fill("")
    box.press_sequentially("Hello. /ho")
    expect(page.get_by_role("option", name="hours")).to_have_attribute("aria-selected", "true")
    box.press("Tab")
    expect(box).to_have_value("Hello. We are open from 9 to 6.")
    box.fill("")
    box.press_sequentially("/")
    expect(page.get_by_role("listbox", name="Quick replies").get_by_role("option")).to_have_count(2)
    desk.shoot(page, "list")
    assert faults(page) == []
    box.press("Enter")
    expect(box).to_have_value("Thank you, Alice Wong!\nHave a good day.")
    assert hands.delivered == []


def test_chats_are_shared(desk: Desk, server: Server, session: str) -> None:
    """Who takes a chat is seen by all; done goes to the next one that waits; a new message opens it again."""
    ann, ben = signed_in(desk, session), signed_in(desk, session, "Ben")
    open_chat(ann)
    open_chat(ben)
    ann.get_by_role("button", name="Take", exact=True).click()
    expect(ann.get_by_role("button", name="Release")).to_be_visible()
    expect(ben.get_by_role("main")).to_contain_text("Assigned to Ann")
    expect(chat(ben).get_by_test_id("assignee")).to_have_text("Ann")
    ben.get_by_role("button", name="Mine").click()
    expect(ben.get_by_test_id("chat")).to_have_count(1)  # the open one stays
    ben.keyboard.press("Escape")
    expect(ben.get_by_text("No chats here")).to_be_visible()
    ben.get_by_role("button", name="Unassigned").click()
    expect(ben.get_by_test_id("chat")).to_have_count(1)
    expect(chat(ben, BOB)).to_be_visible()
    # Alice has waited longer, although she has written again.
    server.post(session, message("Hello?", ALICE))
    ben.get_by_role("button", name="All", exact=True).click()
    expect(ben.get_by_test_id("chat").first).to_have_attribute("data-chat-id", ALICE)
    server.post(session, message("And on Sundays?", BOB))
    expect(ben.get_by_test_id("chat").first).to_have_attribute("data-chat-id", BOB)
    ben.get_by_role("button", name="Waiting").click()
    expect(ben.get_by_test_id("chat").first).to_have_attribute("data-chat-id", ALICE)
    ann.get_by_role("button", name="Done").click()
    expect(ann.get_by_role("heading", level=2)).to_have_text("Bob")
    expect(chat(ann, ALICE).get_by_test_id("done")).to_be_visible()
    expect(chat(ben, ALICE)).to_have_count(0)
    server.post(session, message("One more thing", ALICE))
    expect(chat(ben, ALICE).get_by_test_id("assignee")).to_have_text("Ann")
    expect(chat(ann, ALICE).get_by_test_id("done")).to_have_count(0)


def test_without_the_right_to_send(desk: Desk, session: str) -> None:
    """One line says why there is no composer, and nothing is offered that would be refused."""
    page = signed_in(desk, session, "Rita", scopes=("read",))
    chat(page).click()
    expect(page.get_by_text("Your sign-in does not allow answering.")).to_be_visible()
    expect(page.locator("#composer")).to_have_count(0)
    expect(page.get_by_role("button", name="Take")).to_have_count(0)
    page.keyboard.press("r")
    expect(page.get_by_test_id("reply-quote")).to_have_count(0)


def test_a_long_text_is_pasted_and_sent(desk: Desk, hands: Hands, session: str) -> None:
    """More than a packet may hold, and of many lines; the composer grows to eight of them. What is too long says so."""
    context = desk.context(permissions=["clipboard-read", "clipboard-write"])
    page = signed_in(desk, session, context=context)
    box = open_chat(page)
    line = "我們明天開門" * 10
    text = "\n".join(f"{number} {line}" for number in range(500))

    def paste(words: str) -> None:
        page.evaluate("words => navigator.clipboard.writeText(words)", words)
        box.focus()
        page.keyboard.press("Control+v")

    paste(text)
    expect(box).to_have_value(text)
    lines = box.evaluate("one => one.clientHeight / parseFloat(getComputedStyle(one).lineHeight)")
    assert 8 <= lines < 9.5
    box.press("Enter")
    expect(box).to_have_value("")
    eventually(lambda: hands.words() == [text], "the whole text at the bot")
    paste("x" * 65_537)
    expect(page.get_by_text("Too long: 65,537 of 65,536 characters")).to_be_visible()
    box.press("Enter")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    assert len(hands.delivered) == 1
