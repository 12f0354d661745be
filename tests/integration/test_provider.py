"""POST /webhook/{sessionId}/baileys: a bot's events, from HTTP to subscribers."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
from typing import Any

import pytest

from tests.support import Answer, Client, Site, mint

ALICE, ANA, ANA_LID = "85291234567@s.whatsapp.net", "5511999998888@s.whatsapp.net", "99887766554433@lid"
GROUP = "120363041234567890@g.us"


@pytest.fixture
async def watcher(site: Site, connect_client: Any) -> Client:
    client: Client = await connect_client()
    await client.subscribe("shop")
    return client


def entry(message_id: str, message: Any = "hi", chat: str = ALICE, **more: Any) -> dict[str, Any]:
    key = {"remoteJid": chat, "fromMe": False, "id": message_id} | more.pop("key", {})
    whole = {"key": key, "messageTimestamp": 1770379440, "pushName": "Alice"}
    if message is not None:
        whole["message"] = {"conversation": message} if isinstance(message, str) else message
    return whole | more


def upsert(*entries: Any, kind: str = "notify") -> dict[str, Any]:
    return {"event": "messages.upsert", "data": {"type": kind, "messages": list(entries)}}


async def post(site: Site, *events: Any) -> list[dict[str, Any]]:
    answer = await site.post("shop", events[0] if len(events) == 1 else list(events), source="baileys")
    return answer.results


async def send(site: Site, body: bytes, **headers: str) -> Answer:
    return await site.request(
        "POST",
        "/webhook/shop/baileys",
        token=mint(),
        data=io.BytesIO(body),
        headers={"Content-Type": "application/json"} | headers,
    )


def figures(text: bytes) -> dict[str, float]:
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_notify(site: Site, watcher: Client) -> None:
    """Live messages of a person, a group and a hidden address are stored, pushed and read as what they are."""
    group = entry(
        "g1",
        {"extendedTextMessage": {"text": "Two", "contextInfo": {"stanzaId": "m1", "participant": ALICE}}},
        GROUP,
        key={"participant": "85298765432:7@s.whatsapp.net"},
        pushName="Bob",
        messageTimestamp={"low": 1770379441, "high": 0, "unsigned": True},
    )
    image = {"imageMessage": {"url": "https://mmg.example/a.enc", "mimetype": "image/jpeg", "caption": "this one"}}
    hidden = entry("i1", image, ANA_LID, key={"remoteJidAlt": ANA}, pushName="Ana", messageTimestamp="1770379442")
    results = await post(site, upsert(entry("m1", "Is it there?"), group, hidden))
    assert results == [{"messageId": m, "seq": n, "duplicate": False} for n, m in enumerate(("m1", "g1", "i1"), 1)]
    await watcher.has(1, 2, 3)
    one, two, three = (event["message"] for event in watcher.durable())
    assert (one["chatId"], one["sender"], one["text"]) == (ALICE, {"id": ALICE, "name": "Alice"}, "Is it there?")
    assert one["timestamp"] == "2026-02-06T12:04:00.000Z"
    assert (two["chatId"], two["sender"]["id"], two["sender"]["name"]) == (GROUP, "85298765432@s.whatsapp.net", "Bob")
    assert two["replyTo"]["messageId"] == "m1"
    assert two["timestamp"] == "2026-02-06T12:04:01.000Z"
    assert (three["chatId"], three["type"], three["text"]) == (ANA, "image", "this one")
    assert three["media"]["url"] == "https://mmg.example/a.enc"
    assert {chat["chatId"]: chat["name"] for chat in await site.chats("shop")} == {
        ALICE: "Alice",
        GROUP: None,
        ANA: "Ana",
    }


async def test_append(site: Site, watcher: Client) -> None:
    """What came while the bot was away, or was sent from the phone, is a message like any other."""
    ours = entry("o1", "Yes, it is.", key={"fromMe": True}, status=3)
    results = await post(site, upsert(ours, entry("m2", "Good"), kind="append"))
    assert [result["seq"] for result in results] == [1, 2]
    mine, theirs = await site.messages("shop", ALICE)
    assert (mine["fromMe"], mine["status"], mine["sender"]["id"]) == (True, "delivered", "shop")
    assert (theirs["fromMe"], theirs["status"]) == (False, "received")
    assert (await site.chats("shop"))[0]["unreadCount"] == 1
    await watcher.has(1, 2)


async def test_stub_is_completed(site: Site, watcher: Client) -> None:
    """A message that came without content is completed by its repeat: a number of its own, one message."""
    stub = entry("s1", None, messageStubType=2, messageStubParameters=["No session record"])
    assert (await post(site, upsert(stub, kind="append")))[0]["seq"] == 1
    assert (await site.messages("shop", ALICE))[0]["type"] == "unknown"
    assert await post(site, upsert(stub)) == [{"messageId": "s1", "seq": 1, "duplicate": True}]
    assert await post(site, upsert(entry("s1", "Please do!"))) == [{"messageId": "s1", "seq": 2, "duplicate": False}]
    assert await post(site, upsert(entry("s1", "Again"))) == [{"messageId": "s1", "seq": 1, "duplicate": True}]
    (stored,) = await site.messages("shop", ALICE)
    assert (stored["seq"], stored["updatedSeq"], stored["type"], stored["text"]) == (1, 2, "text", "Please do!")
    (chat,) = await site.chats("shop")
    assert stored["contentSeq"] == 2
    assert (chat["lastSeq"], chat["updatedSeq"], chat["unreadCount"]) == (2, 2, 1)
    assert chat["lastMessage"]["text"] == "Please do!"
    await watcher.fence()
    await watcher.has(1, 2)
    new, updated = watcher.durable()
    assert (new["event"], new["message"]["type"]) == ("new_message", "unknown")
    assert (updated["event"], updated["message"], updated["chat"]) == ("message_updated", stored, chat)


async def test_one_person_is_one_chat(site: Site, watcher: Client) -> None:
    """A person who comes under a hidden and a known address has one chat, from the moment both were told."""
    await post(site, upsert(entry("m1", chat=ANA_LID, key={"remoteJidAlt": ANA})))
    await post(site, upsert(entry("m2", chat=ANA_LID)))
    await post(site, upsert(entry("m3", chat=ANA)))
    await post(
        site, upsert(entry("m4", chat=ANA_LID, key={"fromMe": True, "remoteJidAlt": "351911111111@s.whatsapp.net"}))
    )
    assert [chat["chatId"] for chat in await site.chats("shop")] == [ANA]
    assert [m["messageId"] for m in await site.messages("shop", ANA)] == ["m1", "m2", "m3", "m4"]
    assert await post(site, upsert(entry("m1", chat=ANA_LID))) == [{"messageId": "m1", "seq": 1, "duplicate": True}]
    await watcher.fence()
    await watcher.has(1, 2, 3, 4)


async def test_contacts_teach(site: Site, watcher: Client) -> None:
    """contacts.update tells who a hidden address is: the person's chat takes over what was stored under it."""
    await post(site, upsert(entry("before", chat=ANA_LID)))
    told = {"event": "contacts.update", "data": [{"id": ANA, "lid": ANA_LID, "notify": "Ana"}]}
    assert await post(site, told) == []
    assert await post(site, told) == []
    assert (await post(site, upsert(entry("after", chat=ANA_LID))))[0]["seq"] == 4
    assert (await post(site, upsert(entry("before", chat=ANA))))[0] == {
        "messageId": "before",
        "seq": 1,
        "duplicate": True,
    }
    assert {c["chatId"]: c["lastMessage"]["messageId"] for c in await site.chats("shop")} == {ANA: "after"}
    assert [m["messageId"] for m in await site.messages("shop", ANA)] == ["before", "after"]
    other = await site.post("other", upsert(entry("x", chat=ANA_LID)), source="baileys")
    assert other.status == 200
    assert [c["chatId"] for c in await site.chats("other")] == [ANA_LID], "what one session knows another does not"
    await watcher.fence()
    await watcher.has(1, 2, 3, 4)
    merged, named = watcher.durable()[1:3]
    assert (merged["event"], merged["chatId"], merged["from"]) == ("chat_merged", ANA, ANA_LID)
    assert (named["event"], named["chat"]["name"]) == ("chat_updated", "Ana")


async def test_what_is_no_message(site: Site, watcher: Client) -> None:
    """Other events, the status broadcast, newsletters and protocol messages are answered 200, counted, and no more."""
    before = figures((await site.get("/metrics")).body)
    events = [
        {"event": "messages.update", "data": [{"key": {"remoteJid": ALICE, "id": "x"}, "update": {"status": 4}}]},
        {"event": "presence.update", "data": {"id": ALICE, "presences": {}}},
        {"event": "something.new", "data": None},
        upsert(
            entry("1", chat="status@broadcast"),
            entry("2", chat="1234@newsletter"),
            entry("3", {"protocolMessage": {"type": "HISTORY_SYNC_NOTIFICATION"}}),
            {"key": {"remoteJid": ALICE}},
        ),
    ]
    assert await post(site, *events) == []
    after = figures((await site.get("/metrics")).body)
    grown = {
        name: after[name] - before.get(name, 0) for name in after if name.startswith("roomcast_source_skipped_total")
    }
    by_kind = {name.split('kind="')[1].split('"')[0]: value for name, value in grown.items()}
    assert by_kind == {"event": 1, "no_change": 1, "status": 1, "newsletter": 1, "protocol": 1, "no_id": 1}
    await watcher.fence()
    assert watcher.durable() == []
    assert await site.chats("shop") == []


async def test_unmappable_is_kept(site: Site) -> None:
    """What has an id and a content that nobody knows yet is kept as unknown."""
    (result,) = await post(site, upsert(entry("m1", {"holographicMessage": {"beam": 1}})))
    assert result["seq"] == 1
    (stored,) = await site.messages("shop", ALICE)
    assert (stored["type"], stored["text"], stored["media"]) == ("unknown", None, None)


async def test_many_messages_in_one_body(site: Site, watcher: Client) -> None:
    """700 messages in one body are all taken, in their order."""
    results = await post(site, upsert(*(entry(f"m{n}", f"text {n}") for n in range(700)), kind="append"))
    assert results == [{"messageId": f"m{n}", "seq": n + 1, "duplicate": False} for n in range(700)]
    await watcher.has(*range(1, 701))
    again = await post(site, upsert(*(entry(f"m{n}") for n in range(700))))
    assert [(r["seq"], r["duplicate"]) for r in again] == [(n, True) for n in range(1, 701)]
    assert await site.seq("shop") == 700


async def test_ten_mebibytes(site: Site, watcher: Client) -> None:
    """A body of 10 MiB with thumbnails is taken, and others are answered meanwhile; the thumbnails are not kept."""
    thumbnail = {"type": "Buffer", "data": base64.b64encode(bytes(range(256)) * 195).decode()}
    image = {"imageMessage": {"url": "https://mmg.example/a.enc", "caption": "x", "jpegThumbnail": thumbnail}}
    body = json.dumps(upsert(*(entry(f"m{n}", image) for n in range(160)))).encode()
    assert len(body) > 10 * 1024 * 1024
    large = asyncio.create_task(send(site, body))
    while not large.done():
        async with asyncio.timeout(2):
            assert (await site.get("/healthz")).status == 200
    assert [result["seq"] for result in (await large).results] == list(range(1, 161))
    await watcher.has(*range(1, 161))
    assert all(len(json.dumps(event)) < 2000 for event in watcher.durable())


async def test_too_large(site: Site, watcher: Client) -> None:
    """More than 16 MiB is refused."""
    answer = await send(site, b'{"event": "x"' + b" " * 16 * 1024 * 1024 + b"}")
    assert (answer.status, answer.body["code"]) == (413, "too_large")
    await watcher.fence()
    assert watcher.durable() == []


async def test_cut_emoji(site: Site, watcher: Client) -> None:
    """An emoji that somebody cut in half becomes U+FFFD; bytes that are no UTF-8 too."""
    body = json.dumps(upsert(entry("m1", "cut \ud83d", pushName="A\udc00"))).encode()
    assert (await send(site, body)).results[0]["seq"] == 1
    raw = json.dumps(upsert(entry("m2", "cut BYTE"))).encode().replace(b"BYTE", b"\xf0\x9f")
    assert (await send(site, raw)).results[0]["seq"] == 2
    one, two = await site.messages("shop", ALICE)
    assert (one["text"], one["sender"]["name"]) == ("cut \ufffd", "A\ufffd")
    assert two["text"].startswith("cut \ufffd")
    await watcher.has(1, 2)
    assert watcher.durable()[0]["message"] == one


async def test_long_text_is_cut(site: Site) -> None:
    """Text over the limit is cut, not refused."""
    assert (await post(site, upsert(entry("m1", "é" * 70_000))))[0]["seq"] == 1
    assert (await site.messages("shop", ALICE))[0]["text"] == "é" * 65_536


async def test_junk(site: Site, watcher: Client) -> None:
    """Whatever is in whatever field, the answer is 200, and good messages of the same body are stored."""
    seed = random.randrange(1_000_000)
    print("seed", seed)
    chance = random.Random(seed)
    junk: list[Any] = [
        None, True, 0, -1, 10**100, 1e308, float("nan"), "", "x", "\ud83d", "a\x00b", "x" * 300, [], [[]], {},
        {"$ne": 1}, {"low": "x"}, ["x"], {"message": {"message": {}}},
        {"__proto__": 1}, "__proto__", {"type": "Buffer", "data": 5},
    ]  # fmt: skip

    def spoil(value: Any) -> Any:
        if chance.random() < 0.15:
            return chance.choice(junk)
        if isinstance(value, dict):
            return {key: spoil(inner) for key, inner in value.items()} | (
                {"extra": chance.choice(junk)} if chance.random() < 0.2 else {}
            )
        if isinstance(value, list):
            return [spoil(inner) for inner in value]
        return value

    media = {"url": "https://a.b/c", "fileLength": "5", "height": 1, "width": 2, "caption": "x", "contextInfo": {}}
    for number in range(60):
        body = [
            spoil(upsert(entry(f"junk{number}", {"imageMessage": media}, key={"participant": ANA}))),
            spoil({"event": "contacts.update", "data": [{"id": ANA, "lid": ANA_LID}]}),
            upsert(entry(f"good{number}", f"good {number}", "good@s.whatsapp.net")),
        ]
        answer = await send(site, json.dumps(body).encode())
        assert answer.status == 200, (body, answer)
        assert answer.results[-1]["messageId"] == f"good{number}"
    assert len(await site.messages("shop", "good@s.whatsapp.net")) == 60
    await watcher.has(*range(1, await site.seq("shop") + 1))


async def test_not_json(site: Site, watcher: Client) -> None:
    """What is no JSON is answered 400."""
    for body in (b"", b"not json", b"{", b'{"event":', b"[" * 100_000):
        answer = await send(site, body)
        assert (answer.status, answer.body["code"]) == (400, "malformed"), (body[:20], answer)
    await watcher.fence()
    assert watcher.durable() == []


async def test_json_of_any_kind(site: Site, watcher: Client) -> None:
    """JSON that is no event is answered 200 with no results."""
    for body in (b"null", b"1", b'"x"', b"[]", b"{}", b"[null, 1, []]", b'{"event": {"$ne": 1}}'):
        assert (await send(site, body)).results == []
    await watcher.fence()
    assert watcher.durable() == []


async def test_content_type(site: Site) -> None:
    """A provider too must say that it sends JSON."""
    answer = await send(site, b"{}", **{"Content-Type": "text/plain"})
    assert (answer.status, answer.body["code"]) == (415, "unsupported_media_type")


async def test_unknown_source(site: Site) -> None:
    """A source that there is not is answered 404, and other methods 405."""
    for source in ("nosuch", "BAILEYS", "baileys%20", "__proto__"):
        answer = await site.request("POST", f"/webhook/shop/{source}", token=mint(), json={})
        assert (answer.status, answer.body["code"]) == (404, "not_found")
    answer = await site.request("GET", "/webhook/shop/baileys", token=mint())
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_an_address_for_each_event(site: Site) -> None:
    """Evolution can append the event's name to the address; other providers' addresses have nothing behind them."""
    key = {"remoteJid": ANA, "fromMe": False, "id": "E1"}
    body = {"event": "messages.upsert", "instance": "shop", "data": {"key": key, "message": {"conversation": "hi"}}}
    for path in ("evolution/messages-upsert", "evolution/messages-upsert/", "evolution"):
        assert (await site.post("shop", body, source=path)).results[0]["seq"] == 1
    assert (await site.post("shop", body, source="baileys/messages-upsert")).status == 404
