"""Delivery over HTTP: the requests to each provider, and the meaning of its answers and failures."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.application import SESSIONS, assemble
from app.auth import Tokens
from app.providers.webhook.send import sign
from app.settings import Settings
from app.storage.mongo import Store
from tests.answering import ALICE, HANG_UP, Bot, Provider, provider, reaches, states, text
from tests.support import SECRET, Client, Site, message, mint, until

RunApp = Callable[[web.Application], Awaitable[Site]]
KEY = "whsec_" + base64.b64encode(b"a key for the tests, 32 bytes ok").decode()
OTHER_KEY = "whsec_" + base64.b64encode(b"another one").decode()


@pytest.fixture
async def stand_in() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


def sending(via: str, url: str, key: str, **more: Any) -> dict[str, Any]:
    return {"via": via, "url": url, "key": key, **more}


@pytest.fixture
def sessions_file(tmp_path: Path, stand_in: Provider) -> Path:
    path = tmp_path / "sessions.toml"
    marks = {"read_receipts": True}
    sections = {
        "shop": sending("webhook", f"{stand_in.url}/hook", f"{KEY} {OTHER_KEY}"),
        "evo": sending("evolution", f"{stand_in.url}/", "evo-key", instance="my shop", typing=True, **marks),
        "waha": sending("waha", stand_in.url, "waha-key", **marks),
        "meta": sending("cloud-api", f"{stand_in.url}/v23.0", "meta-token", **marks),
        "bots": {**marks, "typing": True},
        "slow": sending("webhook", f"{stand_in.url}/hook", KEY, rate=10),
        "away": sending("evolution", "http://127.0.0.1:9", "evo-key", instance="shop"),
    }
    path.write_text(
        "".join(
            f"[{name}]\n" + "".join(f"send.{key} = {json.dumps(value)}\n" for key, value in section.items())
            for name, section in sections.items()
        )
        + '[meta.source]\nphone_number_id = "106"\n'
    )
    return path


@pytest.fixture
async def app(settings: Settings, store: Store, sessions_file: Path) -> web.Application:
    return assemble(replace(settings, sessions_file=sessions_file), Tokens(SECRET), store)


@pytest.fixture
async def ann(connect_client: Any) -> Client:
    client: Client = await connect_client(mint(scopes=("read", "write", "send"), sub="ann"))
    for session in ("shop", "evo", "waha", "meta", "slow", "away", "bots"):
        await client.subscribe(session)
    return client


async def send(ann: Client, session: str, client_id: str = "c1", words: str = "yes", **more: Any) -> dict[str, Any]:
    answer = await ann.ask("send_message", **(text(client_id, words) | {"sessionId": session} | more))
    return answer["message"]  # type: ignore[no-any-return]


def change(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


async def test_a_signed_webhook(ann: Client, stand_in: Provider) -> None:
    """The body is signed as Standard Webhooks says, by each key; a 2xx is delivered and may tell the id."""
    stand_in.answer = lambda request: (202, {"messageId": "P1"})
    stored = await send(ann, "shop")
    await reaches(ann, stored["messageId"], "sent")
    (request,) = stand_in.requests
    assert request.path == "/hook"
    assert request.body.keys() == {"type", "timestamp", "data"}
    assert request.body["type"] == "message.deliver"
    assert request.body["data"]["message"] == stored
    head = {name.lower(): value for name, value in request.headers.items()}
    assert head["webhook-id"] == request.body["data"]["deliveryId"]
    signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + request.raw
    expected = []
    for key in (KEY, OTHER_KEY):
        secret = base64.b64decode(key.removeprefix("whsec_"))
        expected.append("v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode())
    assert head["webhook-signature"].split(" ") == expected


def test_the_signature() -> None:
    """The same as the reference library's (standardwebhooks 1.1.0)."""
    headers = sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLLSw",
    )
    assert headers["webhook-signature"] == "v1,Js6jdfqhs19sfV+cmZRzd/1WYb0qw4VQ4weezCldsMA="


async def test_a_webhook_is_repeated(ann: Client, stand_in: Provider) -> None:
    """Temporary failures and unknown outcomes are repeated with the same id; a refusal is permanent."""
    answers = {"busy": iter([(503, {}), (200, {})]), "broken": iter([HANG_UP, (200, {})])}
    stand_in.answer = lambda request: next(answers[request.body["data"]["message"]["text"]])
    busy = await send(ann, "shop", "busy", "busy")
    broken = await send(ann, "shop", "broken", "broken", chatId="12025550123@s.whatsapp.net")
    for stored in (busy, broken):
        await reaches(ann, stored["messageId"], "sent")
        assert states(ann, stored["messageId"]) == ["pending", "sent"]
    assert len(stand_in.requests) == 4
    assert len({request.headers["webhook-id"] for request in stand_in.requests}) == 2
    for status, answer, error in (
        (410, {}, {"code": "rejected", "title": "The provider refused it: HTTP status 410"}),
        (422, {"error": {"code": "bad", "title": "No such person."}}, {"code": "bad", "title": "No such person."}),
        (302, {}, {"code": "rejected", "title": "The provider refused it: HTTP status 302"}),
    ):
        stand_in.headers = {"Location": f"{stand_in.url}/elsewhere"}
        stand_in.answer = lambda request, status=status, answer=answer: (status, answer)
        stored = await send(ann, "shop", f"c{status}")
        failed = await reaches(ann, stored["messageId"], "failed")
        assert failed["error"] == error
    assert {request.path for request in stand_in.requests} == {"/hook"}


async def test_evolution(ann: Client, site: Site, stand_in: Provider) -> None:
    """Text, media and quotes in Evolution's form; the provider's id comes from its answer."""
    stand_in.answer = lambda request: (201, {"key": {"id": f"EVO{len(stand_in.requests)}"}})
    first = await send(ann, "evo")
    await reaches(ann, first["messageId"], "sent")
    media = {"url": "https://cdn.example.com/a.pdf", "mimeType": "application/pdf", "fileName": "a.pdf"}
    second = await send(ann, "evo", "c2", "this one", media=media, replyTo=first["messageId"])
    await reaches(ann, second["messageId"], "sent")
    one, two = stand_in.requests
    assert (one.path, one.headers["apikey"]) == ("/message/sendText/my shop", "evo-key")
    assert one.body == {"number": "85291234567", "text": "yes"}
    assert two.path == "/message/sendMedia/my shop"
    assert two.body == {
        "number": "85291234567",
        "mediatype": "document",
        "media": media["url"],
        "mimetype": "application/pdf",
        "caption": "this one",
        "fileName": "a.pdf",
        "quoted": {"key": {"id": "EVO1"}},
    }
    body = {"event": "messages.update", "instance": "my shop", "data": {"keyId": "EVO2", "remoteJid": ALICE}}
    body["data"] |= {"fromMe": True, "status": "READ"}  # type: ignore[operator]
    await site.post("evo", body, source="evolution")
    await reaches(ann, second["messageId"], "read")


async def test_waha(ann: Client, site: Site, stand_in: Provider) -> None:
    """WAHA has addresses and ids of its own form."""
    answers = iter([{"id": "true_85291234567@c.us_AAA1"}, {"id": {"_serialized": "true_85291234567@c.us_AAA2"}}])
    stand_in.answer = lambda request: (201, next(answers))
    await site.post("waha", message("which one?", ALICE, messageId="Q1"))
    stored = await send(ann, "waha", replyTo="Q1")
    await reaches(ann, stored["messageId"], "sent")
    media = {"url": "https://cdn.example.com/a.jpg", "mimeType": "image/jpeg"}
    second = await send(ann, "waha", "c2", media=media, replyTo=stored["messageId"])
    await reaches(ann, second["messageId"], "sent")
    one, two = stand_in.requests
    assert (one.path, one.headers["X-Api-Key"]) == ("/api/sendText", "waha-key")
    assert one.body == {
        "session": "default",
        "chatId": "85291234567@c.us",
        "text": "yes",
        "reply_to": "false_85291234567@c.us_Q1",
    }
    assert two.path == "/api/sendImage"
    assert two.body["file"] == {"url": media["url"], "mimetype": "image/jpeg"}
    assert two.body["reply_to"] == "true_85291234567@c.us_AAA1"
    updates = {"updates": [{"messageId": "AAA2", "status": "delivered"}]}
    assert (await site.post("waha", updates)).body["data"]["updates"][0]["state"] == "applied"


async def test_the_cloud_api(ann: Client, stand_in: Provider) -> None:
    """Meta's API, with the account of the settings."""
    stand_in.answer = lambda request: (200, {"messages": [{"id": "wamid.1"}]})
    stored = await send(ann, "meta")
    await reaches(ann, stored["messageId"], "sent")
    (request,) = stand_in.requests
    assert (request.path, request.headers["Authorization"]) == ("/v23.0/106/messages", "Bearer meta-token")
    assert request.body == {
        "messaging_product": "whatsapp",
        "to": "85291234567",
        "type": "text",
        "text": {"body": "yes"},
    }


@pytest.mark.parametrize(
    ("session", "status", "answer", "code"),
    [
        ("evo", 400, {"response": {"message": [{"jid": "1@s.whatsapp.net", "exists": False}]}}, "not_on_whatsapp"),
        ("evo", 401, {"error": "Unauthorized"}, "provider_key"),
        ("evo", 413, {}, "too_large"),
        ("evo", 400, {"message": "something odd"}, "rejected"),
        ("evo", 504, {}, "unknown_outcome"),
        ("waha", 422, {"error": "Session status is not as expected", "status": "SCAN_QR_CODE"}, "logged_out"),
        ("meta", 400, {"error": {"code": 131047, "message": "Re-engagement message"}}, "window_closed"),
        ("meta", 400, {"error": {"code": 131026, "message": "Message undeliverable"}}, "not_on_whatsapp"),
        ("meta", 401, {"error": {"code": 190, "message": "Session has expired"}}, "logged_out"),
        ("meta", 403, {"error": {"code": 368, "message": "Temporarily blocked"}}, "blocked"),
        ("meta", 400, {"error": {"code": 131053, "error_data": {"details": "File too large"}}}, "too_large"),
    ],
)
async def test_refusals(ann: Client, stand_in: Provider, session: str, status: int, answer: Any, code: str) -> None:
    """A message that a provider refuses fails at once, with a code and a text for people."""
    stand_in.answer = lambda request: (status, answer)
    stored = await send(ann, session)
    failed = await reaches(ann, stored["messageId"], "failed")
    assert failed["error"]["code"] == code
    assert failed["error"]["title"]
    assert len(stand_in.requests) == 1


async def test_an_unknown_outcome_is_not_repeated(ann: Client, site: Site, stand_in: Provider) -> None:
    """If a provider closes the connection, the outcome is unknown and the next message is sent. A copy resolves it."""
    stand_in.answer = lambda request: HANG_UP if len(stand_in.requests) == 1 else (201, {"key": {"id": "EVO2"}})
    first = await send(ann, "evo")
    second = await send(ann, "evo", "c2", "next")
    failed = await reaches(ann, first["messageId"], "failed")
    assert failed["error"]["code"] == "unknown_outcome"
    await reaches(ann, second["messageId"], "sent")
    assert [request.body["text"] for request in stand_in.requests] == ["yes", "next"]
    await site.post("evo", message("yes", ALICE, messageId="EVO1", fromMe=True))
    again = await reaches(ann, first["messageId"], "sent")
    assert again["error"] is None
    assert len(await site.messages("evo", ALICE)) == 2


async def test_a_provider_that_is_away(
    ann: Client, site: Site, stand_in: Provider, sessions_file: Path, app: web.Application
) -> None:
    """If no connection can be made, nothing was sent: the attempt is repeated until the provider is back."""
    stored = await send(ann, "away")
    stand_in.answer = lambda request: (201, {"key": {"id": "EVO1"}})
    change(sessions_file, "http://127.0.0.1:9", stand_in.url)
    app[SESSIONS].reload()
    await reaches(ann, stored["messageId"], "sent")
    assert states(ann, stored["messageId"]) == ["pending", "sent"]
    assert len(stand_in.requests) == 1


async def test_an_echo_before_the_answer(ann: Client, site: Site, stand_in: Provider) -> None:
    """A provider that posts its copy before it answers, and waits for our answer to that, sees no deadlock."""

    async def answer() -> tuple[int, Any]:
        (result,) = (await site.post("evo", message("yes", ALICE, messageId="EVO1", fromMe=True))).results
        assert result["seq"] is None
        return 201, {"key": {"id": "EVO1"}}

    stand_in.answer = lambda request: answer()
    stored = await send(ann, "evo")
    await reaches(ann, stored["messageId"], "sent")
    assert [one["messageId"] for one in await site.messages("evo", ALICE)] == [stored["messageId"]]
    assert [event["event"] for event in ann.durable("evo")] == ["new_message", "message_updated"]


async def test_a_slow_provider_holds_up_its_own_chat_alone(ann: Client, stand_in: Provider) -> None:
    """While a provider thinks about one chat, other chats and other sessions go on."""
    thinks = asyncio.Event()

    async def answer(request: Any) -> tuple[int, Any]:
        if request.body.get("number") == "85291234567":
            await thinks.wait()
        return 201, {"key": {"id": "X"}}

    stand_in.answer = answer
    slow = await send(ann, "evo")
    behind = await send(ann, "evo", "c2")
    for session, chat in (("evo", "12025550123@s.whatsapp.net"), ("waha", ALICE)):
        other = await send(ann, session, "d", chatId=chat)
        await reaches(ann, other["messageId"], "sent")
    assert states(ann, slow["messageId"]) == states(ann, behind["messageId"]) == ["pending"]
    thinks.set()
    await reaches(ann, behind["messageId"], "sent")


async def test_a_rate_is_kept(ann: Client, stand_in: Provider) -> None:
    """A session with a rate sends all messages, at no more than that rate."""
    loop = asyncio.get_running_loop()
    times: list[float] = []

    def answer(request: Any) -> tuple[int, Any]:
        times.append(loop.time())
        return 200, {}

    stand_in.answer = answer
    for number in range(12):
        await send(ann, "slow", f"c{number}", chatId=f"120255501{number:02}@s.whatsapp.net")
    await until(lambda: len(times) == 12)
    assert times[-1] - times[0] >= 11 / 10 * 0.8  # eleven more at ten a second, with what a clock is wrong by


async def test_reading_is_told(ann: Client, site: Site, stand_in: Provider) -> None:
    """The provider is told what was read, with the keys it needs, only if the settings say so."""
    group = "120363041234567890@g.us"
    sender = {"id": "4915112345678@s.whatsapp.net"}
    for session in ("evo", "waha", "meta", "shop"):
        await site.post(session, message("one", ALICE, messageId="Q1"))
        await site.post(session, message("two", ALICE, messageId="Q2"))
        await ann.ask("mark_read", sessionId=session, chatId=ALICE, seq=2)
    await until(lambda: len(stand_in.requests) == 3)
    told = {request.path: request.body for request in stand_in.requests}
    assert told["/chat/markMessageAsRead/my shop"] == {
        "readMessages": [{"id": one, "fromMe": False, "remoteJid": ALICE} for one in ("Q1", "Q2")]
    }
    assert told["/api/sendSeen"]["messageIds"] == [f"false_85291234567@c.us_{one}" for one in ("Q1", "Q2")]
    assert told["/v23.0/106/messages"]["message_id"] == "Q2"
    (result,) = (await site.post("evo", message("three", group, messageId="Q3", sender=sender))).results
    await ann.ask("mark_read", sessionId="evo", chatId=group, seq=result["seq"])
    await until(lambda: len(stand_in.requests) == 4)
    (key,) = stand_in.requests[3].body["readMessages"]
    assert key == {"id": "Q3", "fromMe": False, "remoteJid": group, "participant": sender["id"]}


async def test_typing_is_told(ann: Client, stand_in: Provider) -> None:
    """The provider is told that an agent is typing only if the settings say so."""
    for session in ("waha", "shop", "evo"):
        assert await ann.ask("typing", sessionId=session, chatId=ALICE, action="recording") == {}
    await until(lambda: stand_in.requests)
    (request,) = stand_in.requests
    assert request.path == "/chat/sendPresence/my shop"
    assert request.body["presence"] == "recording"


async def test_bots_are_told(ann: Client, site: Site) -> None:
    """A bot is told about typing and reading, with WhatsApp's keys, if the session's settings say so."""
    bots = [await Bot(site).serve("bots"), await Bot(site).serve("quiet")]
    for session in ("bots", "quiet"):
        await site.post(session, message("one", ALICE, messageId="Q1"))
        await ann.ask("typing", sessionId=session, chatId=ALICE, action="typing")
        await ann.ask("mark_read", sessionId=session, chatId=ALICE, seq=1)
    told, quiet = bots
    await told.wait_for(lambda me: len(me.events) == 2)
    here = {"sessionId": "bots", "chatId": ALICE}
    key = {"id": "Q1", "fromMe": False, "remoteJid": ALICE}
    assert told.events == [
        ("typing_out", here | {"action": "typing"}),
        ("read_out", here | {"messageIds": ["Q1"], "keys": [key]}),
    ]
    assert quiet.events == []
    for bot in bots:
        await bot.close()
