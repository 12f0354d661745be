"""The README's picture, taken of a real server: `python -m tests.e2e.screenshot [FILE] [--all DIRECTORY]`.

With `--all` it also takes the page's other states, to be looked at before a change of styles lands.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e import conversations
from tests.e2e.conftest import CHROMIUM, Loop, Server, eventually, running
from tests.support import ROOT, TOKENS

SIZE = {"width": 1200, "height": 750}
SESSION = "kiln"


@contextmanager
def server(media_origin: str = "") -> Iterator[Server]:
    loop = Loop()
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            running(Path(directory), loop, MEDIA_ORIGINS=media_origin) as it,
        ):
            yield it
    finally:
        loop.close()


def opened(browser: Browser, server: Server, **options: Any) -> Page:
    page = browser.new_context(**({"viewport": SIZE, "locale": "en-GB"} | options)).new_page()
    token = TOKENS.mint("mei", name="Mei Tanaka", sessions=[SESSION], scopes=["read", "write", "send"], lifetime=3600)
    page.goto(f"{server.url}/#token={token}")
    page.locator("[data-testid=connection][data-state=connected]").wait_for()
    page.locator("[data-testid=chat]").first.wait_for()
    return page


def open_chat(page: Page, name: str) -> None:
    page.get_by_test_id("chat").filter(has_text=name).first.click()
    page.locator("[data-message-id]").first.wait_for()
    eventually(lambda: page.evaluate("[...document.images].every(image => image.complete)"), "the pictures")
    page.wait_for_timeout(300)


def take_all(browser: Browser, server: Server, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)

    def shoot(page: Page, name: str) -> None:
        page.wait_for_timeout(150)
        page.screenshot(path=into / f"{name}.png")

    dark = opened(browser, server, color_scheme="dark")
    shoot(dark, "nothing-open")
    open_chat(dark, conversations.OPEN)
    shoot(dark, "dark")
    open_chat(dark, conversations.GROUP)
    shoot(dark, "dark-group")
    dark.keyboard.press("?")
    shoot(dark, "dark-help")

    page = opened(browser, server)
    open_chat(page, conversations.GROUP)
    shoot(page, "group")
    page.keyboard.press("?")
    shoot(page, "help")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings").click()
    shoot(page, "settings")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("order")
    shoot(page, "search")
    page.keyboard.press("ArrowDown")
    page.keyboard.type(" of nothing")
    shoot(page, "search-nothing")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Unread").click()
    shoot(page, "unread")
    page.get_by_role("button", name="Unread").click()
    open_chat(page, conversations.KINDS)
    shoot(page, "kinds")
    page.locator(".picture").first.click()
    page.wait_for_timeout(300)
    shoot(page, "picture")
    page.keyboard.press("Escape")
    open_chat(page, conversations.OPEN)
    page.keyboard.press("r")
    page.keyboard.type("See you at noon!")
    shoot(page, "reply")
    page.get_by_role("button", name="Waiting").click()
    shoot(page, "waiting")
    page.get_by_role("button", name="Waiting").click()
    open_chat(page, conversations.RIGHT_TO_LEFT)
    shoot(page, "right-to-left")
    page.context.set_offline(True)
    server.loop.call(server.proxy.cut)
    server.loop.call(server.proxy.drop)
    page.locator("[data-testid=connection]:not([data-state=connected])").wait_for()
    shoot(page, "offline")
    page.context.set_offline(False)
    server.loop.call(server.proxy.thaw)

    for locale in ("zh-CN", "zh-TW"):
        chinese = opened(browser, server, locale=locale)
        open_chat(chinese, conversations.CHINESE)
        shoot(chinese, locale)
        chinese.keyboard.press("?")
        shoot(chinese, f"{locale}-help")
    phone = opened(browser, server, viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    shoot(phone, "phone-list")
    open_chat(phone, conversations.OPEN)
    shoot(phone, "phone-chat")
    zoomed = opened(browser, server, viewport={"width": 600, "height": 375}, device_scale_factor=2)
    shoot(zoomed, "zoomed-list")
    open_chat(zoomed, conversations.OPEN)
    shoot(zoomed, "zoomed")
    signed_out = browser.new_context(viewport=SIZE, locale="en-GB").new_page()
    signed_out.goto(server.url)
    shoot(signed_out, "sign-in")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "docs" / "inbox.png")
    parser.add_argument("--all", type=Path, help="a directory for pictures of the other states")
    options = parser.parse_args()
    with conversations.pictures() as address, server(address) as running, sync_playwright() as playwright:
        now = datetime.datetime.now(datetime.UTC)
        messages = conversations.messages(address, now)
        running.post(SESSION, {"messages": messages})
        running.post(SESSION, {"updates": conversations.updates(messages)})
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = opened(browser, running)
        for name in conversations.READ:
            open_chat(page, name)
        open_chat(page, conversations.OPEN)
        page.mouse.move(0, 0)
        running.post(SESSION, {"messages": conversations.news(now)})
        page.get_by_test_id("chat").first.get_by_test_id("unread").wait_for()
        page.wait_for_timeout(500)
        page.screenshot(path=options.file)
        if options.all:
            take_all(browser, running, options.all)
        browser.close()


if __name__ == "__main__":
    main()
