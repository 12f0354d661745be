"""What happens to a message after it came is seen where it stands, without a reload."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import Desk, Server, eventually, faults
from tests.support import message

ALICE = "85291234567@s.whatsapp.net"
HIDDEN = "123456789012345@lid"
GROUP = "120363041234567890@g.us"
BOB = {"id": "85297654321@s.whatsapp.net", "name": "Bob"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PREVIEW = f"data:image/png;base64,{PIXEL}"


def chat(page: Page, chat_id: str = ALICE) -> Locator:
    return page.locator(f"[data-chat-id='{chat_id}']")


def bubble(page: Page, message_id: str) -> Locator:
    return page.locator(f"[data-message-id='{message_id}']")


def opened(desk: Desk, server: Server, session: str, *messages: dict[str, Any], chat_id: str = ALICE) -> Page:
    """The page with these messages of one chat, which is open."""
    server.post(session, {"messages": list(messages)})
    page = desk.open(session)
    chat(page, chat_id).click()
    expect(page.locator("[data-message-id]")).to_have_count(len(messages))
    page.evaluate("window.notReloaded = true")
    return page


def update(server: Server, session: str, message_id: str, chat_id: str = ALICE, **what: Any) -> None:
    server.post(session, {"updates": [{"messageId": message_id, "chatId": chat_id} | what]})


def test_ticks_change(desk: Desk, server: Server) -> None:
    """From sent to read; one that failed says why."""
    mine = [message(f"number {n}", ALICE, messageId=f"m{n}", fromMe=True) for n in range(2)]
    page = opened(desk, server, "ticks", *mine)
    status = bubble(page, "m0").get_by_test_id("status")
    expect(status).to_have_attribute("data-status", "sent")
    for state, words in (("delivered", "Delivered"), ("read", "Read")):
        update(server, "ticks", "m0", status=state)
        expect(status).to_have_attribute("data-status", state)
        expect(status).to_have_attribute("title", words)
    update(server, "ticks", "m1", status="failed", error={"code": "131047", "title": "Too late to answer"})
    expect(bubble(page, "m1").get_by_test_id("error")).to_have_text("Not sent: Too late to answer")
    update(server, "ticks", "m1", status="delivered")
    expect(bubble(page, "m1").get_by_test_id("error")).to_have_count(0)
    desk.shoot(page, "ticks")


def test_a_group_counts_who_has_read(desk: Desk, server: Server) -> None:
    page = opened(desk, server, "receipts", message("hello", GROUP, messageId="g", fromMe=True), chat_id=GROUP)
    for number, state in enumerate(("delivered", "read", "read")):
        receipt = {"by": f"8529000000{number}@s.whatsapp.net", "status": state}
        update(server, "receipts", "g", GROUP, receipt=receipt)
    status = bubble(page, "g").get_by_test_id("status")
    expect(status).to_have_attribute("title", "Delivered to 3 people, read by 2")
    expect(status).to_contain_text("read by 2")


def test_edited_and_deleted(desk: Desk, server: Server) -> None:
    """An edit is marked, a deleted message keeps its place and nothing else, in quotes of it too."""
    quote = {"messageId": "b", "senderId": ALICE, "text": "two"}
    page = opened(
        desk,
        server,
        "edits",
        message("one", ALICE, messageId="a"),
        message("two", ALICE, messageId="b"),
        message("about it", ALICE, messageId="c", replyTo=quote),
    )
    update(server, "edits", "a", text="one, in other words")
    expect(bubble(page, "a")).to_contain_text("one, in other words")
    expect(bubble(page, "a").get_by_test_id("edited")).to_have_text("edited")
    update(server, "edits", "b", deleted=True)
    expect(bubble(page, "b").get_by_test_id("deleted")).to_have_text("This message was deleted")
    expect(bubble(page, "b")).not_to_contain_text("two")
    expect(bubble(page, "c").locator(".quote")).to_contain_text("This message was deleted")
    assert page.evaluate("window.notReloaded") is True
    desk.shoot(page, "edited")


def test_reactions_stand_at_their_message(desk: Desk, server: Server) -> None:
    """Counted by emoji; another one of the same person takes the place of the first, and one can be taken back."""
    page = opened(desk, server, "react", message("hello", GROUP, messageId="a", sender=BOB), chat_id=GROUP)
    reactions = bubble(page, "a").get_by_test_id("reactions")

    def react(emoji: str | None, sender: dict[str, str] = BOB) -> None:
        update(server, "react", "a", GROUP, reaction={"sender": sender, "emoji": emoji})

    react("👍")
    react("👍", {"id": "85290000001@s.whatsapp.net", "name": "Carol"})
    expect(reactions).to_contain_text("👍2")
    expect(reactions.locator("li")).to_have_attribute("title", "👍 by Bob, Carol")
    desk.shoot(page, "reactions")
    react("💚")
    expect(reactions.locator("li")).to_have_count(2)
    react(None)
    expect(reactions.locator("li")).to_have_count(1)
    expect(reactions).to_contain_text("👍")
    expect(page.locator("[data-message-id]")).to_have_count(1)


DELETED = {
    "en-GB": "This message was deleted",
    "zh-CN": "此消息已被删除",
    "zh-TW": "此訊息已被刪除",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", DELETED)
def test_every_state_can_be_read_by_everybody(desk: Desk, server: Server, scheme: Any, locale: str) -> None:
    """Edited, deleted, failed, reacted to, read by some, blank, and what could not be read: axe finds nothing wrong."""
    session = f"states-{scheme}-{locale}"
    names = ("edited", "deleted", "failed", "read", "reacted", "waiting")
    mine = [message(f"{name}: is the blue one still there?", GROUP, messageId=name, fromMe=True) for name in names]
    quote = {"messageId": "deleted", "senderId": BOB["id"], "text": "gone"}
    theirs = [
        message(" \n ", GROUP, messageId="blank", sender=BOB),
        {"chatId": GROUP, "messageId": "unknown", "type": "unknown", "text": "?", "sender": BOB},
        {"chatId": GROUP, "messageId": "system", "type": "system", "text": "Bob joined the group", "sender": BOB},
        message("about that", GROUP, messageId="quote", sender=BOB, replyTo=quote),
        message("last", GROUP, messageId="last", sender=BOB),
    ]
    mine[-1]["status"] = "pending"
    server.post(session, {"messages": [*mine, *theirs], "contacts": [{"id": GROUP, "name": "Ceramics 陶藝"}]})
    update(server, session, "edited", GROUP, text="edited: is the green one still there?")
    update(server, session, "deleted", GROUP, deleted=True)
    update(server, session, "failed", GROUP, status="failed", error={"code": "131047", "title": "Too late to answer"})
    for number, (emoji, state) in enumerate(
        (("👍", "read"), ("👍", "read"), ("💚", "delivered"), ("🙏🏽", "delivered"))
    ):
        who = f"8529000000{number}@s.whatsapp.net"
        update(server, session, "read", GROUP, receipt={"by": who, "status": state})
        sender = {"id": who, "name": f"Person {number}"}
        update(server, session, "reacted", GROUP, reaction={"sender": sender, "emoji": emoji})
    update(server, session, "last", GROUP, deleted=True)
    page = desk.open(session, color_scheme=scheme, locale=locale, reduced_motion="reduce")
    expect(chat(page, GROUP)).to_contain_text(DELETED[locale])
    chat(page, GROUP).click()
    expect(bubble(page, "last").get_by_test_id("deleted")).to_have_text(DELETED[locale])
    expect(bubble(page, "reacted").get_by_test_id("reactions").locator("li")).to_have_count(3)
    expect(bubble(page, "failed").get_by_test_id("error")).to_contain_text("Too late to answer")
    desk.shoot(page, "states")
    assert faults(page) == []


def test_names_change(desk: Desk, server: Server) -> None:
    page = opened(desk, server, "names", message("hello", ALICE))
    server.post("names", {"contacts": [{"id": ALICE, "name": "Alice Wong"}]})
    expect(chat(page)).to_contain_text("Alice Wong")
    expect(page.get_by_role("heading", level=2)).to_have_text("Alice Wong")


def test_a_preview_is_shown_without_a_network(desk: Desk, server: Server) -> None:
    """A foreign picture shows what came with its message, and nothing is loaded."""
    media = {"url": "https://media.example/x.jpg", "width": 640, "height": 480, "preview": PREVIEW}
    asked: list[str] = []
    server.post("preview", {"messages": [{"chatId": ALICE, "type": "image", "media": media}]})
    page = desk.open("preview")
    page.on("request", lambda request: asked.append(request.url))
    chat(page).click()
    image = page.locator(".card-preview img")
    expect(image).to_be_visible()
    assert image.evaluate("one => one.naturalWidth") == 1
    assert not [url for url in asked if "media.example" in url]


def test_two_chats_become_one_under_the_readers_eyes(desk: Desk, server: Server) -> None:
    """The hidden address proves to be Alice's: one chat, all messages, and the reading place as it was."""
    numbers = range(0, 240, 40)
    for first in numbers:
        batch = range(first, first + 40)
        server.post("merge", {"messages": [message(f"hidden {n}", HIDDEN, messageId=f"h{n}") for n in batch]})
        server.post("merge", {"messages": [message(f"known {n}", ALICE, messageId=f"k{n}") for n in batch[::20]]})
    page = desk.open("merge")
    chat(page, HIDDEN).click()
    page.locator("[data-message-id]").first.wait_for()
    page.locator("#messages").evaluate("one => { one.scrollTop = one.scrollHeight / 2; }")
    page.wait_for_timeout(300)
    place = "one => one.getBoundingClientRect().top"
    seen = page.locator("[data-message-id^=h]").evaluate_all(
        "all => all.find(one => one.getBoundingClientRect().top > 150).dataset.messageId"
    )
    before = bubble(page, seen).evaluate(place)
    server.post("merge", {"contacts": [{"id": ALICE, "name": "Alice", "aliases": [HIDDEN]}]})
    expect(chat(page, HIDDEN)).to_have_count(0)
    expect(page.get_by_role("heading", level=2)).to_have_text("Alice")
    eventually(lambda: "%40s.whatsapp.net" in page.evaluate("location.hash"), "the other address")
    page.wait_for_timeout(1000)
    assert abs(bubble(page, seen).evaluate(place) - before) < 2
    desk.shoot(page, "merged")
    server.curl("merge", "after")
    page.locator(".to-newest").click()
    expect(page.locator("[data-message-id]").last).to_contain_text("after")
    expect(bubble(page, "k220")).to_be_attached()
