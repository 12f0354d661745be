"""Providers that sign, over HTTP: the signature, the challenge, and bodies about several numbers."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.application import SESSIONS, assemble
from app.settings import Settings
from app.storage.mongo import Store
from tests.support import TOKENS, Answer, Site, mint

RunApp = Callable[[web.Application], Awaitable[Site]]

FILE = """
[waha]
source.webhook_secret = ["new", "old"]
[meta]
source.webhook_secret = "meta-secret"
source.verify_token = "let me in"
source.phone_number_id = "106"
[second]
source.webhook_secret = "meta-secret"
source.mark_read = false
source.phone_number_id = "107"
[stranger]
source.webhook_secret = "another-secret"
source.phone_number_id = "108"
"""
ALICE = "85291234567"


def waha(text: str = "Hi", message_id: str = "AAA1") -> dict[str, Any]:
    return {
        "event": "message",
        "session": "default",
        "me": {"id": "85255555555@c.us"},
        "payload": {
            "id": f"false_{ALICE}@c.us_{message_id}",
            "timestamp": 1770379440,
            "from": f"{ALICE}@c.us",
            "fromMe": False,
            "body": text,
        },
    }


def meta(*numbers: str) -> dict[str, Any]:
    return {
        "object": "whatsapp_business_account",
        "entry": [
            {
                "changes": [
                    {
                        "field": "messages",
                        "value": {
                            "metadata": {"phone_number_id": number},
                            "contacts": [{"wa_id": ALICE, "profile": {"name": "Alice"}}],
                            "messages": [
                                {
                                    "from": ALICE,
                                    "id": f"wamid.{number}",
                                    "timestamp": "1770379440",
                                    "type": "text",
                                    "text": {"body": f"to {number}"},
                                }
                            ],
                        },
                    }
                    for number in numbers
                ]
            }
        ],
    }


async def signed(site: Site, session: str, source: str, body: Any, headers: dict[str, str]) -> Answer:
    raw = json.dumps(body).encode()
    path = f"/webhook/{session}/{source}"
    return await site.request("POST", path, data=raw, headers={"Content-Type": "application/json", **headers})


def by_waha(body: Any, secret: str) -> dict[str, str]:
    return {"X-Webhook-Hmac": hmac.new(secret.encode(), json.dumps(body).encode(), hashlib.sha512).hexdigest()}


def by_meta(body: Any, secret: str) -> dict[str, str]:
    signature = hmac.new(secret.encode(), json.dumps(body).encode(), hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={signature}"}


@pytest.fixture
async def site(settings: Settings, store: Store, run_app: RunApp, tmp_path: Path) -> Site:
    path = tmp_path / "sessions.toml"
    path.write_text(FILE)
    return await run_app(assemble(replace(settings, sessions_file=path), TOKENS, store))


async def test_a_signature_in_place_of_a_token(site: Site) -> None:
    """Any of the session's secrets will do. Wrong or missing: 401, nothing is stored, and no token makes up for it."""
    body = waha()
    for headers in (
        {},
        {"X-Webhook-Hmac": ""},
        by_waha(body, "wrong"),
        by_waha(waha("other words"), "new"),
        {"Authorization": f"Bearer {mint()}"},
        {"X-Webhook-Hmac": by_waha(body, "new")["X-Webhook-Hmac"], "X-Webhook-Hmac-Algorithm": "md5"},
    ):
        refused = await signed(site, "waha", "waha", body, headers)
        assert (refused.status, refused.body["code"]) == (401, "unauthorized")
    assert await site.chats("waha") == []
    for secret in ("new", "old"):
        assert (await signed(site, "waha", "waha", body, by_waha(body, secret))).status == 200
    (message,) = await site.messages("waha", f"{ALICE}@s.whatsapp.net")
    assert (message["messageId"], message["text"]) == ("AAA1", "Hi")


async def test_a_session_without_a_secret_takes_a_token(site: Site) -> None:
    """Where nothing was agreed, a token with the scope ingest is needed."""
    assert (await site.post("plain", waha(), source="waha")).status == 200
    assert (await signed(site, "plain", "waha", waha(), {})).status == 401
    assert (await site.post("plain", waha(), source="waha", token=mint(scopes=("read",)))).status == 404


async def test_challenge(site: Site) -> None:
    """hub.challenge comes back as plain text where the token is right."""
    query = "hub.mode=subscribe&hub.verify_token=let%20me%20in&hub.challenge=12345"
    async with site.http.get(f"{site.url}/webhook/meta/cloud-api?{query}") as answer:
        assert (answer.status, answer.content_type, await answer.text()) == (200, "text/plain", "12345")
    for wrong in (query.replace("let", "Let"), query.replace("subscribe", "other"), "hub.challenge=1", ""):
        assert (await site.request("GET", f"/webhook/meta/cloud-api?{wrong}")).status == 401
    assert (await site.request("GET", f"/webhook/waha/cloud-api?{query}")).status == 401
    assert (await site.request("GET", f"/webhook/waha/waha?{query}")).status == 405


async def test_each_number_to_its_session(site: Site) -> None:
    """One body may be about several numbers. A number whose session has another secret, or none, is left out."""
    body = meta("106", "107", "108", "109")
    answer = await signed(site, "meta", "cloud-api", body, by_meta(body, "meta-secret"))
    assert answer.status == 200
    assert answer.body["data"]["skipped"] == {"other_number": 2}
    chat = f"{ALICE}@s.whatsapp.net"
    assert [one["messageId"] for one in await site.messages("meta", chat)] == ["wamid.106"]
    assert [one["messageId"] for one in await site.messages("second", chat)] == ["wamid.107"]
    assert await site.chats("stranger") == []


async def test_each_session_is_marked_read_as_it_says(site: Site) -> None:
    """An answer from the phone marks the chat as read, but for the numbers whose session says otherwise."""
    body = meta("106", "107")
    await signed(site, "meta", "cloud-api", body, by_meta(body, "meta-secret"))
    for change in (change for entry in body["entry"] for change in entry["changes"]):
        value = change["value"]
        value["message_echoes"] = [{**value.pop("messages")[0], "from": "1", "to": ALICE, "id": "wamid.answer"}]
        change["field"] = "smb_message_echoes"
    for path in ("meta", "second"):
        await signed(site, path, "cloud-api", body, by_meta(body, "meta-secret"))
        unread = {name: (await site.chats(name))[0]["unreadCount"] for name in ("meta", "second")}
        assert unread == {"meta": 0, "second": 1}


async def test_read_again_on_demand(
    site: Site, run_app: RunApp, settings: Settings, store: Store, tmp_path: Path
) -> None:
    """A secret that was changed is in force as soon as the file was read again."""
    path = tmp_path / "changing.toml"
    path.write_text('[waha]\nsource.webhook_secret = "first"')
    app = assemble(replace(settings, sessions_file=path), TOKENS, store)
    changing = await run_app(app)
    body = waha()
    path.write_text('[waha]\nsource.webhook_secret = "second"')
    assert (await signed(changing, "waha", "waha", body, by_waha(body, "second"))).status == 401
    app[SESSIONS].reload()
    assert (await signed(changing, "waha", "waha", body, by_waha(body, "second"))).status == 200
    assert (await signed(changing, "waha", "waha", body, by_waha(body, "first"))).status == 401
