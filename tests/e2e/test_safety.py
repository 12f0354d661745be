"""What strangers cannot make the page do, and what is over once somebody has signed out."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e import conversations
from tests.e2e.conftest import Desk, Server, eventually
from tests.e2e.test_inbox_alive import KEPT
from tests.support import TOKENS, message, mint

ALICE = "85291234567@s.whatsapp.net"
PICTURE = {"width": 640, "height": 480, "mimeType": "image/svg+xml", "size": 84_213}


def chat(page: Page, chat_id: str = ALICE) -> Any:
    return page.locator(f"[data-chat-id='{chat_id}']")


# Media


def test_foreign_media_waits_for_a_click(desk: Desk, server: Server, studio: str) -> None:
    """Of two pictures only the one of the operator's own place loads; the other says what it is and opens outside."""
    with conversations.pictures() as stranger:
        media = [
            {"type": "image", "media": {"url": f"{studio}/blue.svg", **PICTURE}},
            {"type": "image", "media": {"url": f"{stranger}/chip.svg", "fileName": "chip.svg", **PICTURE}},
            {"type": "sticker", "media": {"url": f"{stranger}/heart.svg"}},
            {"type": "video", "media": {"url": f"{stranger}/film.mp4", "size": 2_000_000}},
            {"type": "audio", "media": {"url": f"{stranger}/voice.ogg"}},
        ]
        server.post("foreign", {"messages": [{"chatId": ALICE} | one for one in media]})
        context = desk.context()
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        page = desk.open("foreign", context=context)
        chat(page).click()
        expect(page.locator("[data-message-id]")).to_have_count(5)
        eventually(lambda: f"{studio}/blue.svg" in asked, "the operator's own picture")
        expect(page.locator("[data-message-id] img")).to_have_count(1)
        expect(page.locator("video, audio")).to_have_count(0)
        held = page.get_by_test_id("held-media")
        expect(held).to_have_count(4)
        for words in ("chip.svg", "Picture", "84 kB", stranger.removeprefix("http://")):
            expect(held.first).to_contain_text(words)
        desk.shoot(page, "held")
        assert not [url for url in asked if url.startswith(stranger)]
        # Even a script of the page itself could not load it.
        blocked = page.evaluate(
            """(url) => new Promise((resolve) => {
                addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
                const image = new Image();
                image.onload = () => resolve("loaded");
                image.src = url;
            })""",
            f"{stranger}/stall.svg",
        )
        assert blocked == "img-src"
        desk.complaints[:] = [said for said in desk.complaints if "Content Security Policy" not in said]
        with context.expect_page() as opened:
            held.first.click()
        opened.value.wait_for_load_state()
        assert opened.value.url == f"{stranger}/chip.svg"
        assert opened.value.evaluate("[window.opener, document.referrer]") == [None, ""]


def test_bidi_controls_hide_nothing(desk: Desk, server: Server) -> None:
    """A name and a file name read as they are written, without the signs that turn text around."""
    name, file = "Ann\u202egnaW\u2066\u200f", "photo_\u202egnp.exe"
    group = "120363041234567890@g.us"
    server.post(
        "turned",
        {
            "messages": [
                {"chatId": group, "chatName": name, "sender": {"id": ALICE, "name": name}}
                | {"media": {"url": "https://files.example/x", "fileName": file}},
                message("see https://good.example/\u202egro.live//:sptth", group),
            ]
        },
    )
    page = desk.open("turned")
    expect(chat(page, group).locator(".chat-name")).to_have_text("AnngnaW")
    chat(page, group).click()
    expect(page.locator("[data-message-id]")).to_have_count(2)
    expect(page.locator(".card-name")).to_have_text("photo_gnp.exe")
    expect(page.locator("[data-message-id] .text a")).to_have_text("https://good.example/")
    for place in (".chat-name", ".chat-last", ".bar-words", ".card", ".sender"):
        words = "".join(page.locator(place).all_inner_texts())
        assert not any(sign in words for sign in "\u202a\u202b\u202c\u202d\u2066\u2067\u2068\u2069\u200e\u200f"), place
    desk.shoot(page, "turned")


# Signing in and out


def test_signing_out_ends_all_tabs(desk: Desk, server: Server) -> None:
    """The other tab shows nothing any more and writes nothing back; somebody else's tab goes on."""
    server.curl("leave", "hello")
    context = desk.context()
    one, two = desk.open("leave", context=context), desk.open("leave", context=context)
    other = desk.open(
        "leave", context=context, token=TOKENS.mint("bob", sessions=["leave"], scopes=["read"], lifetime=60)
    )
    chat(two).click()
    expect(two.locator("[data-message-id]")).to_have_count(1)
    eventually(lambda: one.evaluate(KEPT), "the state to be kept")
    server.curl("leave", "more")
    expect(two.locator("[data-message-id]")).to_have_count(2)  # and is about to be kept
    one.get_by_role("button", name="Sign out").click()
    for page in (one, two):
        expect(page.get_by_test_id("sign-in")).to_be_visible()
        expect(page.locator("body")).not_to_contain_text("hello")
    owners = KEPT.replace("({ session }) => session.chats.length", "({ owner }) => owner")
    two.evaluate("dispatchEvent(new Event('pagehide'))")
    two.wait_for_timeout(2500)  # longer than the page waits before it keeps something
    assert set(one.evaluate(owners)) <= {"bob"}
    assert two.evaluate("sessionStorage.length") == 0
    server.curl("leave", "for Bob")
    expect(chat(other)).to_contain_text("for Bob")


def test_a_tab_that_did_not_hear_of_it_writes_nothing(desk: Desk, server: Server) -> None:
    """A tab that sleeps while somebody signs out cannot bring the chats back when it wakes."""
    server.curl("deaf", "hello")
    context = desk.context()
    context.add_init_script("delete window.BroadcastChannel")
    one, two = desk.open("deaf", context=context), desk.open("deaf", context=context)
    eventually(lambda: two.evaluate(KEPT), "the state to be kept")
    one.get_by_role("button", name="Sign out").click()
    eventually(lambda: two.evaluate(KEPT) == [], "everything to be forgotten")
    server.curl("deaf", "more")
    expect(chat(two)).to_contain_text("more")
    two.wait_for_timeout(2500)
    assert two.evaluate(KEPT) == []


def test_what_is_kept_ends_with_the_token(desk: Desk, server: Server) -> None:
    """Without a network, and in a tab that is opened later without a token, too."""
    server.curl("ending", "hello")
    context = desk.context()
    page = desk.open("ending", context=context, token=mint("ending", lifetime=8))
    began = time.monotonic()
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    eventually(lambda: page.evaluate(KEPT), "the state to be kept")
    until = page.evaluate(KEPT.replace("({ session }) => session.chats.length", "({ expiresAt }) => expiresAt"))[0]
    assert 0 < until - page.evaluate("Date.now()") <= 8000
    context.set_offline(True)
    server.loop.call(server.proxy.drop)
    page.wait_for_timeout(max(0, 8.5 - (time.monotonic() - began)) * 1000)
    eventually(lambda: page.evaluate(KEPT) == [], "everything to be forgotten")
    context.set_offline(False)


def test_another_persons_link_asks_first(desk: Desk, server: Server) -> None:
    """Nobody is put into another's place without a word; a new link of the same person needs none."""
    server.curl("mine", "for Ann")
    server.curl("theirs", "for Mallory")
    ann = TOKENS.mint("ann", name="Ann", sessions=["mine"], scopes=["read"], lifetime=60)
    mallory = TOKENS.mint("mallory", name="Mallory", sessions=["theirs"], scopes=["read"], lifetime=60)
    page = desk.open("mine", token=ann)
    chat(page).click()
    expect(page.locator("[data-message-id]")).to_have_count(1)
    for arrive in ("location.hash = '#token=' + token", "location.href = '/?again#token=' + token"):
        page.evaluate(f"(token) => {{ {arrive} }}", mallory)
        ask = page.get_by_test_id("replace")
        expect(ask).to_contain_text("You are signed in as Ann. The link that you opened signs in Mallory.")
        assert "token" not in page.url
        assert page.evaluate("sessionStorage.getItem('roomcast.token')") == ann
        desk.shoot(page, "ask")
        page.keyboard.press("Enter")
        expect(page.locator(".agent")).to_have_text("Ann")
        expect(chat(page)).to_contain_text("for Ann")
    page.evaluate("(token) => { location.hash = '#token=' + token }", mallory)
    page.get_by_role("button", name="Sign in as Mallory").click()
    expect(page.locator(".agent")).to_have_text("Mallory")
    expect(chat(page)).to_contain_text("for Mallory")
    expect(page.locator("body")).not_to_contain_text("for Ann")
    again = TOKENS.mint("mallory", name="Mal", sessions=["theirs"], scopes=["read"], lifetime=60)
    page.evaluate("(token) => { location.hash = '#token=' + token }", again)
    expect(page.locator(".agent")).to_have_text("Mal")


def _forged(claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{payload}.c2ln"


JUNK = [
    "#token=%",
    "#token=%E0%A4%A",
    "#token=",
    "#token=a.b.c",
    "#token=..",
    "#token=%00",
    "#token=" + "x" * 5000,
    "#token=" + _forged(None),
    "#token=" + _forged({"sub": 7, "name": ["x"], "exp": "soon", "sessions": {"a": 1}}),
    "#token=" + _forged({"sub": "x", "exp": 1e300, "sessions": ["..", "%", "\ud800"]}),
    "#/%/%",
    "#/%E0%A4%A/x",
    "#%",
    "#&token=%",
    "#/a/b/c",
]


@pytest.mark.parametrize("signed_in", [False, True], ids=["signed-out", "signed-in"])
def test_no_junk_in_the_address_makes_a_white_page(desk: Desk, server: Server, signed_in: bool) -> None:
    """Signed out there is the form; who was signed in stays so, or is asked, or told that it has ended."""
    server.curl("junk", "hello")
    for junk in JUNK:
        page = desk.context(service_workers="block").new_page()
        page.on("pageerror", lambda error, junk=junk: desk.complaints.append(f"{junk[:40]}: {error}"))
        if signed_in:
            page.goto(f"{server.url}/#token={mint('junk')}")
            expect(chat(page)).to_be_visible()
            page.evaluate("(junk) => { location.hash = junk }", junk)
            page.reload()
        else:
            page.goto(f"{server.url}/{junk}")
        forms = (
            page.get_by_test_id("sign-in").or_(page.get_by_test_id("replace")).or_(page.get_by_test_id("connection"))
        )
        expect(forms.first).to_be_visible()
        if not signed_in:
            expect(page.get_by_test_id("sign-in")).to_be_visible()
        page.context.close()


def test_a_damaged_link_says_so(desk: Desk, server: Server) -> None:
    page = desk.context().new_page()
    page.goto(f"{server.url}/#token=eyJhbGciOi%")
    expect(page.get_by_test_id("sign-in")).to_contain_text("The link is incomplete")
    desk.shoot(page, "damaged")
    page.get_by_role("textbox").fill("http://127.0.0.1/#token=%E0%A4%A")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This is not a token")
