"""Baileys' payloads: each shape and trap, and junk of any kind in every place."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.incoming import Contact, IncomingUpdate, Receipt
from app.domain.models import (
    MAX_ID,
    MAX_NAME,
    MAX_TEXT,
    MAX_URL,
    MESSAGE_TYPES,
    OWN_STATUSES,
    Alias,
    IncomingMessage,
    Media,
    ReplyTo,
    Sender,
)
from app.providers import PROVIDERS, Parsed
from app.providers.baileys.receive import parse

NOW = datetime(2026, 2, 6, 12, 4, 0, 123456, UTC)
PAYLOADS = {path.stem: json.loads(path.read_text()) for path in Path(__file__).with_name("payloads").glob("*.json")}
MINA, RUI, RUI_LID = "4915112345678@s.whatsapp.net", "351911111111@s.whatsapp.net", "77000000000001@lid"
GROUP = "120363000000000001@g.us"


def parsed(payload: object) -> Parsed:
    result = parse(payload, "shop", NOW)
    check(result)
    return result


def upsert(*messages: object, **data: object) -> dict[str, Any]:
    return {"event": "messages.upsert", "data": {"type": "notify", "messages": list(messages), **data}}


def entry(message: object = None, *, key: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    whole = {"remoteJid": MINA, "fromMe": False, "id": "X1", **(key or {})}
    return {"key": whole, "messageTimestamp": 1770000000, "message": message, **fields}


def one(message: object = None, *, key: dict[str, Any] | None = None, **fields: Any) -> IncomingMessage:
    result = parsed(upsert(entry(message, key=key, **fields)))
    assert len(result.messages) == 1, result.skipped
    return result.messages[0]


def reason(message: object = None, *, key: dict[str, Any] | None = None, **fields: Any) -> str:
    result = parsed(upsert(entry(message, key=key, **fields)))
    assert not result.messages
    (why,) = result.skipped.elements()
    return why


REASONS = {
    "event",
    "no_event",
    "no_message",
    "no_id",
    "bad_id",
    "bad_address",
    "status",
    "newsletter",
    "revoke",
    "edit",
    "encrypted_edit",
    "encrypted_reaction",
    "encrypted_comment",
    "protocol",
    "deleted_for_me",
    "not_ours",
    "no_change",
}


def changes(result: Parsed) -> list[IncomingUpdate]:
    """The updates that a person would see."""
    return [update for update in result.updates if not update.nothing_to_read]


def check(result: Parsed) -> None:
    """Check the invariants of a parser's result, for any input."""
    assert set(result.skipped) <= REASONS
    for alias in result.aliases:
        assert alias.lid.endswith("@lid")
        assert alias.address.endswith("@s.whatsapp.net")
        check_id(alias.lid)
        check_id(alias.address)
        assert re.match(r"[1-9][0-9]{4,14}@", alias.lid)
        assert re.match(r"[1-9][0-9]{4,14}@", alias.address)
    for update in result.updates:
        check_id(update.message_id)
        check_text(update.text or None, MAX_TEXT)
        if update.chat_id is None:
            assert update.status is not None, "only our own messages are known by their ids alone"
        else:
            check_id(update.chat_id)
        for person in (update.receipt and update.receipt.by, update.reaction and update.reaction.sender.id):
            if person:
                check_id(person)
        assert update.timestamp is None or update.timestamp.tzinfo is UTC
    for contact in result.contacts:
        check_id(contact.id)
        check_text(contact.name, MAX_NAME)
    for read in result.reads:
        check_id(read.chat_id)
    for message in result.messages:
        check_id(message.message_id)
        check_id(message.chat_id)
        check_id(message.sender.id)
        check_text(message.sender.name, MAX_NAME)
        check_text(message.chat_name, MAX_NAME)
        check_text(message.text, MAX_TEXT)
        assert message.type in MESSAGE_TYPES
        assert isinstance(message.from_me, bool)
        assert message.status in (OWN_STATUSES if message.from_me else ("received",))
        if message.from_me:
            assert message.sender == Sender("shop", None)
        assert message.timestamp.tzinfo is UTC
        assert message.timestamp.microsecond % 1000 == 0
        if message.type == "unknown":
            assert message.text is message.media is message.reply_to is None
        if message.reply_to is not None:
            check_id(message.reply_to.message_id)
            if message.reply_to.sender_id is not None:
                check_id(message.reply_to.sender_id)
            check_text(message.reply_to.text, MAX_TEXT)
        if message.media is not None:
            check_media(message.media)


def check_media(media: Media) -> None:
    check_text(media.url, MAX_URL)
    assert re.match(r"https?://[^/\s]", media.url, re.IGNORECASE)
    check_text(media.mime_type, MAX_NAME)
    check_text(media.file_name, MAX_NAME)
    for number in (media.size, media.width, media.height):
        assert number is None or (type(number) is int and 0 <= number < 2**53)
    assert media.duration_seconds is None or (
        type(media.duration_seconds) is float and 0 <= media.duration_seconds < 2**53
    )


def check_text(text: str | None, longest: int) -> None:
    if text is not None:
        assert text
        assert len(text) <= longest
        text.encode()  # raises for lone surrogates


def check_id(text: str) -> None:
    check_text(text, MAX_ID)
    assert text
    assert text not in (".", "..")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", text)


# The shapes of a body


def test_the_registry_has_it() -> None:
    """The webhook's path names the source."""
    assert PROVIDERS["baileys"].parse is parse


def said(message_id: str, chat_id: str, name: str, text: str, at: int) -> IncomingMessage:
    """A text of the person whose chat it is."""
    return IncomingMessage(
        message_id=message_id,
        chat_id=chat_id,
        from_me=False,
        sender=Sender(chat_id, name),
        type="text",
        text=text,
        media=None,
        reply_to=None,
        status="received",
        timestamp=datetime.fromtimestamp(at, UTC),
    )


def test_live_messages() -> None:
    """A text, an answer in a group and a picture under a hidden address, each with all that it tells, in order."""
    result = parsed(PAYLOADS["notify"])
    assert result.messages == [
        said("3EB0A1", MINA, "Mina", "Do you open on Sunday?", 1770000000),
        replace(
            said("3A0B", GROUP, "Olaf", "Three, please", 1770000001),
            sender=Sender("4915187654321@s.whatsapp.net", "Olaf"),
            reply_to=ReplyTo("3EB0A1", MINA, "How many?"),
        ),
        replace(
            said("3A77", RUI, "Rui", "this one", 1770000002),
            type="image",
            media=Media("https://media.example/abc.enc", "image/jpeg", None, 84213, 960, 1280, None),
        ),
    ]
    assert result.aliases == [Alias(RUI_LID, RUI)]
    assert not result.skipped


def test_messages_from_meanwhile_are_messages_too() -> None:
    """`append` is not dropped; an own message has no name but ours; a stub waits for its content under the same id."""
    own, stub = parsed(PAYLOADS["append"]).messages
    assert (own.from_me, own.status, own.sender, own.text) == (True, "sent", Sender("shop", None), "Yes, from ten.")
    assert (stub.type, stub.has_content, stub.sender.name) == ("unknown", False, "Mina")
    (completing,) = parsed(PAYLOADS["completes_stub"]).messages
    assert (completing.chat_id, completing.message_id) == (stub.chat_id, stub.message_id)
    assert completing.has_content


def test_other_events_are_counted_and_tell_addresses() -> None:
    """Receipts and chats are no messages; contacts tell who is who, either way round, and what they are called."""
    result = parsed(PAYLOADS["other_events"])
    assert not result.messages
    assert result.skipped == {"no_change": 1}
    assert result.updates == [
        IncomingUpdate("3EB0FF", MINA, datetime.fromtimestamp(1770000200, UTC), status="read"),
        IncomingUpdate("3A0B", GROUP, datetime.fromtimestamp(1770000201, UTC), receipt=Receipt(MINA, "read")),
    ]
    assert result.contacts == [
        Contact(RUI, "Rui", calls_itself=True),
        Contact("351944444444@s.whatsapp.net", "no lid", calls_itself=True),
    ]
    assert not result.reads
    assert result.aliases == [
        Alias(RUI_LID, RUI),
        Alias("77000000000002@lid", "351922222222@s.whatsapp.net"),
        Alias("77000000000003@lid", "351933333333@s.whatsapp.net"),
        Alias("77000000000004@lid", "351955555555@s.whatsapp.net"),
    ]


@pytest.mark.parametrize("shape", ["messages", "list", "one", "messages_one"])
def test_every_shape_of_data(shape: str) -> None:
    """`data` may hold a list, be a list, or be one message; several events may come in one body."""
    message = entry({"conversation": "hi"})
    shapes = {"messages": {"messages": [message]}, "list": [message], "one": message}
    data: object = (shapes | {"messages_one": {"messages": message}})[shape]
    event = {"event": "messages.upsert", "data": data}
    assert [m.text for m in parsed(event).messages] == ["hi"]
    assert [m.text for m in parsed([event, event]).messages] == ["hi", "hi"]


def test_an_alias_from_the_end_of_a_body_is_not_lost() -> None:
    """A hidden address stays the chat's name, and what the same body tells of it later is given to the ledger."""
    body = [upsert(entry({"conversation": "a"}, key={"remoteJid": RUI_LID})), PAYLOADS["other_events"][3]]
    result = parsed(body)
    assert result.messages[0].chat_id == result.messages[0].sender.id == RUI_LID
    assert result.aliases == [Alias(RUI_LID, RUI)]


def test_seven_hundred_messages_in_one_body() -> None:
    """All of them, in order; ten times as many cost ten times as much, and no more."""
    messages = [entry({"conversation": f"number {n}"}, key={"id": f"N{n}"}, pushName="Mina") for n in range(700)]
    few, many = upsert(*messages[:70]), upsert(*messages)
    assert calls(lambda: parse(many, "shop", NOW)) < 11 * calls(lambda: parse(few, "shop", NOW))
    assert [m.message_id for m in parse(many, "shop", NOW).messages] == [f"N{n}" for n in range(700)]


def test_ten_mebibytes_of_thumbnails() -> None:
    """They cost next to nothing and nothing of them is kept."""
    thumbnail = {str(n): n % 256 for n in range(20_000)}
    picture = {"imageMessage": {"url": "https://media.example/a", "caption": "c", "jpegThumbnail": thumbnail}}
    body = upsert(*(entry(picture, key={"id": f"T{n}"}) for n in range(50)))
    assert len(json.dumps(body)) > 10 * 2**20
    assert calls(lambda: parse(body, "shop", NOW)) < 50 * 1_000
    result = parsed(body)
    assert len(result.messages) == 50
    assert len(repr(result)) < 50_000


def calls(work: Callable[[], object]) -> int:
    """The number of function calls, a measure of the cost that does not depend on the machine."""
    count = 0

    def look(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


# Who and where


def test_one_form_of_every_address() -> None:
    """Device numbers go, the older spelling becomes the newer, groups stay as they are."""
    assert one({"conversation": "a"}, key={"remoteJid": "4915112345678:12@s.whatsapp.net"}).chat_id == MINA
    assert one({"conversation": "a"}, key={"remoteJid": "4915112345678@c.us"}).chat_id == MINA
    assert one({"conversation": "a"}, key={"remoteJid": "77000000000001:3@lid"}).chat_id == RUI_LID
    assert one({"conversation": "a"}, key={"remoteJid": "491511-1600000000@g.us"}).chat_id == "491511-1600000000@g.us"


@pytest.mark.parametrize("names", [("remoteJidAlt",), ("senderPn", "senderLid")])
def test_the_hidden_address_gives_way(names: tuple[str, ...]) -> None:
    """Whichever of the two is the alternative, the chat has the open one, and the pair is learned."""
    for remote, other in ((RUI_LID, RUI), (RUI, RUI_LID)):
        key = {"remoteJid": remote, names[0] if other == RUI else names[-1]: other}
        result = parsed(upsert(entry({"conversation": "a"}, key=key, pushName="Rui")))
        assert result.messages[0].chat_id == RUI
        assert result.messages[0].sender == Sender(RUI, "Rui")
        assert result.aliases == [Alias(RUI_LID, RUI)]


def test_an_own_message_tells_nothing_of_the_other() -> None:
    """Its alternative address and its pushName may be ours: they name nobody, and no alias is made of them."""
    key = {"remoteJid": RUI_LID, "remoteJidAlt": "4900000@s.whatsapp.net", "senderPn": MINA, "fromMe": True}
    result = parsed(upsert(entry({"conversation": "a"}, key=key, pushName="Our Shop", status=3)))
    (own,) = result.messages
    assert (own.chat_id, own.sender, own.chat_name, own.status) == (RUI_LID, Sender("shop", None), None, "delivered")
    assert not result.aliases
    group = {"remoteJid": GROUP, "participant": RUI_LID, "participantAlt": MINA, "fromMe": True}
    result = parsed(upsert(entry({"conversation": "a"}, key=group, pushName="Our Shop")))
    assert result.messages[0].sender == Sender("shop", None)
    assert not result.aliases


def test_who_wrote_in_a_group() -> None:
    """The member, by the open address where it is told; without any member, the group itself."""
    key = {"remoteJid": GROUP, "participant": RUI_LID, "participantAlt": RUI}
    result = parsed(upsert(entry({"conversation": "a"}, key=key, pushName="Rui")))
    assert (result.messages[0].chat_id, result.messages[0].sender) == (GROUP, Sender(RUI, "Rui"))
    assert result.aliases == [Alias(RUI_LID, RUI)]
    assert one({"conversation": "a"}, key={"remoteJid": GROUP}, participant=RUI_LID).sender.id == RUI_LID
    assert one({"conversation": "a"}, key={"remoteJid": GROUP}).sender.id == GROUP


def test_a_broadcast_list_is_its_sender() -> None:
    """What somebody sent to a list of theirs is in their chat; the status broadcast and newsletters are in none."""
    assert one({"conversation": "a"}, key={"remoteJid": "123@broadcast", "participant": MINA}).chat_id == MINA
    assert reason({"conversation": "a"}, key={"remoteJid": "status@broadcast", "participant": MINA}) == "status"
    assert reason({"conversation": "a"}, key={"remoteJid": "120363@newsletter"}) == "newsletter"


def test_without_an_id_there_is_no_message() -> None:
    """A message without an id is counted, and does not affect others."""
    good = entry({"conversation": "kept"}, key={"id": "GOOD"})
    bad: list[dict[str, Any]] = [{"id": value} for value in (None, 5, "", ["x"], {"$ne": 1})]
    bad += [{"remoteJid": value} for value in (None, 5, "", ["x"])]
    result = parsed(upsert(*(entry({"conversation": "a"}, key=key) for key in bad), good, None, 7, "x", [], {}))
    assert [m.message_id for m in result.messages] == ["GOOD"]
    assert result.skipped == {"no_id": len(bad), "no_message": 5}
    for wrong in (".", "..", "a\nb", "a\x00", "\x85", "x" * 257):
        assert reason({"conversation": "a"}, key={"id": wrong}) == "bad_id"
        assert reason({"conversation": "a"}, key={"remoteJid": wrong}) == "bad_id"
    assert reason({"conversation": "a"}, key={"remoteJid": "@s.whatsapp.net"}) == "bad_id"
    assert one({"conversation": "a"}, key={"id": "x" * 256}).message_id == "x" * 256
    assert one({"conversation": "a"}, key={"id": "a\ud83d"}).message_id == "a\ufffd"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        *(
            (number, status)
            for number, status in enumerate(("failed", "pending", "sent", "delivered", "read", "played"))
        ),
        *(("ERROR", "failed"), ("PENDING", "pending"), ("SERVER_ACK", "sent"), ("DELIVERY_ACK", "delivered")),
        *(
            ("READ", "read"),
            ("PLAYED", "played"),
            ("4", "read"),
            (None, "sent"),
            (99, "sent"),
            (True, "sent"),
            ({}, "sent"),
        ),
    ],
)
def test_status(given: object, status: str) -> None:
    """Numbers and names for our own; what others sent is received, whatever is said."""
    assert one({"conversation": "a"}, key={"fromMe": True}, status=given).status == status
    assert one({"conversation": "a"}, status=given).status == "received"


def test_time() -> None:
    """A number, a string or a Long, to the millisecond; what cannot be a time is now."""

    def at(value: object) -> datetime:
        return one({"conversation": "a"}, messageTimestamp=value).timestamp

    sent = datetime.fromtimestamp(1770000000, UTC)
    for good in (
        1770000000,
        1770000000.0,
        "1770000000",
        {"low": 1770000000, "high": 0, "unsigned": True},
        1770000000000,
    ):
        assert at(good) == sent
    assert at({"low": 1770000000, "high": 0}) == sent
    late = 3_000_000_000  # Past 2^31 a Long's lower half is negative.
    assert at({"low": late - 2**32, "high": 0, "unsigned": True}) == datetime.fromtimestamp(late, UTC)
    now = NOW.replace(microsecond=123000)
    for bad in (
        None,
        0,
        -5,
        True,
        "soon",
        "",
        10**40,
        -(10**40),
        1e300,
        float("nan"),
        float("inf"),
        [],
        {},
        {"low": "x"},
    ):
        assert at(bad) == now
    for bad in ({"low": -1, "high": -1}, {"low": -1, "high": -1, "unsigned": True}, "9" * 5000, "²"):
        assert at(bad) == now
    elsewhere = NOW.astimezone(timezone(timedelta(hours=8)))
    (message,) = parse(upsert(entry({"conversation": "a"}, messageTimestamp=None)), "shop", elsewhere).messages
    assert message.timestamp == now
    assert message.timestamp.tzinfo is UTC


# What it says


def test_rich_content() -> None:
    """Wrapped films, reactions, polls, contacts, places, buttons, lists, joiners, and own files."""
    result = parsed(PAYLOADS["rich"])
    seen = {m.message_id: m for m in result.messages}
    assert {name: (m.type, m.text) for name, m in seen.items()} == {
        "R1": ("video", "look"),
        "R3": ("text", "Lunch?\n• Yes\n• No"),
        "R4": ("contact", "Ada\n+44 1555 0001"),
        "R5": ("location", "Café\nRua 1\n38.722300, -9.139300"),
        "R6": ("image", "Which?\nfoot\n• A"),
        "R7": ("text", "Hi\nChoose\n• Go"),
        "R8": ("text", "Menu\n• Soup"),
        "R9": ("system", "+351922222222 joined the group"),
        "R10": ("document", "as asked"),
    }
    assert seen["R1"].media == Media("https://media.example/v.enc", "video/mp4", None, 2**32 - 1, None, None, 12.0)
    assert seen["R1"].reply_to == ReplyTo("3A0B", "77000000000002@lid", "that")
    assert [(one.message_id, one.reaction and one.reaction.emoji) for one in changes(result)] == [("3EB0FF", "👍")]
    assert seen["R6"].media == Media("https://media.example/b")
    assert seen["R10"].media == Media("https://media.example/d", None, "a.pdf")
    assert (seen["R10"].status, seen["R10"].sender.id) == ("read", "shop")
    assert not result.skipped


@pytest.mark.parametrize(
    "wrapper",
    [
        "ephemeralMessage",
        "viewOnceMessage",
        "viewOnceMessageV2",
        "viewOnceMessageV2Extension",
        "documentWithCaptionMessage",
        "editedMessage",
        "deviceSentMessage",
        "groupMentionedMessage",
        "botInvokeMessage",
        "lottieStickerMessage",
        "someWrapperOfNextYear",
    ],
)
def test_wrappers_are_opened(wrapper: str) -> None:
    """Known or not yet known, what they hold is the content; their depth has a bound."""
    assert one({wrapper: {"message": {"conversation": "in"}}}).text == "in"
    message: object = {"conversation": "deep"}
    for _ in range(900):
        message = {wrapper: {"message": message}}
    assert one(message).type == "unknown"


@pytest.mark.parametrize("kind", ["image", "video", "ptv", "audio", "document", "sticker"])
def test_media(kind: str) -> None:
    """Only http and https URLs are media; without one, type and caption remain; thumbnails and keys never come."""
    name, expected = f"{kind}Message", "video" if kind == "ptv" else kind
    node = {"caption": "c", "mimetype": "a/b", "seconds": 3, "mediaKey": "SECRET", "jpegThumbnail": "SECRET"}
    whole = one({name: {**node, "url": "https://media.example/x"}})
    assert (whole.type, whole.text, whole.media) == (
        expected,
        "c",
        Media("https://media.example/x", "a/b", None, None, None, None, 3.0),
    )
    assert "SECRET" not in repr(whole)
    for url in (
        None,
        "",
        "javascript:alert(1)",
        "ftp://x/y",
        "https://",
        "https:// x",
        "//x/y",
        5,
        "https://x/" + "y" * MAX_URL,
    ):
        without = one({name: {**node, "url": url}})
        assert (without.type, without.text, without.media, without.has_content) == (expected, "c", None, True)


def test_reactions() -> None:
    """A reaction changes the message that it is about; without an emoji it was taken back."""
    key = {"remoteJid": GROUP, "id": "3A0B", "participant": "4915187654321:7@s.whatsapp.net"}
    for text, emoji in (("❤️", "❤️"), ("", None)):
        result = parsed(upsert(entry({"reactionMessage": {"key": key, "text": text}})))
        (update,) = changes(result)
        assert result.messages == []
        assert update.message_id == "3A0B"
        assert update.reaction is not None
        assert update.reaction.emoji == emoji
    lost = parsed(upsert(entry({"reactionMessage": {"text": "❤️"}})))
    assert (lost.messages, changes(lost), lost.skipped) == ([], [], {"no_id": 1})


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"buttonsResponseMessage": {"selectedDisplayText": "A", "selectedButtonId": "1"}}, "A"),
        ({"templateButtonReplyMessage": {"selectedDisplayText": "B"}}, "B"),
        ({"listResponseMessage": {"title": "C", "singleSelectReply": {"selectedRowId": "1"}}}, "C"),
        ({"interactiveResponseMessage": {"body": {"text": "D"}}}, "D"),
        ({"interactiveMessage": {"header": {"title": "T"}, "body": {"text": "E"}}}, "T\nE"),
        ({"templateMessage": {"interactiveMessageTemplate": {"body": {"text": "F"}}}}, "F"),
        ({"highlyStructuredMessage": {"hydratedHsm": {"hydratedTemplate": {"hydratedContentText": "G"}}}}, "G"),
        ({"groupInviteMessage": {"groupName": "Club", "caption": "come"}}, "Invitation to the group Club\ncome"),
        ({"productMessage": {"product": {"title": "Lamp", "description": "bright"}}}, "Lamp\nbright"),
        ({"orderMessage": {"orderTitle": "Order 5"}}, "Order 5"),
        ({"eventMessage": {"name": "Party", "location": {"name": "Hall"}}}, "Party\nHall"),
        ({"callLogMesssage": {"isVideo": True, "callOutcome": "MISSED"}}, "Missed video call"),
        ({"requestPaymentMessage": {"noteMessage": {"conversation": "rent"}}}, "Request for payment\nrent"),
        ({"contactMessage": {"vcard": "FN:Bo\nTEL;type=CELL:tel:+1 555 0100"}}, "Bo\n+1 555 0100"),
        (
            {"liveLocationMessage": {"degreesLatitude": 1, "degreesLongitude": 2, "caption": "on my way"}},
            "1.000000, 2.000000\non my way",
        ),
        ({"conversation": "", "extendedTextMessage": {"text": "H"}}, "H"),
        ({"senderKeyDistributionMessage": {"groupId": GROUP}, "conversation": "I"}, "I"),
        ({"whatIsThis": {"a": 1}, "conversation": "J"}, "J"),
    ],
)
def test_words_for_what_is_shown(message: object, text: str) -> None:
    """Buttons, answers to them, invitations, goods, events and calls can be read as text."""
    assert one(message).text == text


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"protocolMessage": {"type": "REVOKE"}}, "revoke"),
        ({"protocolMessage": {"type": 14, "editedMessage": {"conversation": "new"}}}, "edit"),
        ({"editedMessage": {"message": {"protocolMessage": {"type": "MESSAGE_EDIT"}}}}, "edit"),
        ({"protocolMessage": {"type": 3}}, "protocol"),
        ({"ephemeralMessage": {"message": {"protocolMessage": {"type": 5}}}}, "protocol"),
        ({"senderKeyDistributionMessage": {"groupId": GROUP}}, "protocol"),
        ({"messageContextInfo": {"messageSecret": "x"}}, "protocol"),
        ({"senderKeyDistributionMessage": {}, "messageContextInfo": {}}, "protocol"),
        ({"keepInChatMessage": {}}, "protocol"),
        ({"pinInChatMessage": {}}, "protocol"),
        ({"pollUpdateMessage": {}}, "protocol"),
        ({"encReactionMessage": {}}, "encrypted_reaction"),
    ],
)
def test_what_nobody_sees_is_no_message(message: object, why: str) -> None:
    """Keys, votes, pins, edits and deletions are counted; none is stored as an empty message."""
    assert reason(message) == why


def test_a_deleted_message_is_no_message() -> None:
    """Baileys shows a deletion as a stub of type 1; 132 is an admin's."""
    for kind in (1, "REVOKE", 132):
        result = parsed(upsert(entry(None, messageStubType=kind)))
        assert (result.messages, changes(result)) == ([], [IncomingUpdate("X1", MINA, deleted=True)])


@pytest.mark.parametrize("message", [None, {}, [], 5, "x", {"conversation": 5}, {"next": "thing"}, {"imageMessage": 7}])
def test_what_cannot_be_read_is_kept_for_completion(message: object) -> None:
    """With an id it is there as `unknown`, without content, and its name and time."""
    unknown = one(message, pushName="Mina")
    assert (unknown.type, unknown.has_content, unknown.sender.name) == ("unknown", False, "Mina")
    assert one({"conversation": "", "messageContextInfo": {}, "whatIsThis": {"a": 1}}).type == "unknown"


@pytest.mark.parametrize(
    ("kind", "parameters", "text"),
    [
        (20, ["Club"], "The group “Club” was created"),
        ("GROUP_CHANGE_SUBJECT", ["Club {0}"], "The group is now named “Club {0}”"),
        (27, [RUI, MINA], "+351911111111, +4915112345678 joined the group"),
        (27, ["77000000000001@lid"], "Somebody joined the group"),
        (28, [json.dumps({"id": RUI_LID, "phoneNumber": RUI})], "Removed from the group: +351911111111"),
        (32, ["[" * 1000], "Somebody left the group"),
        (32, ['{"a":' * 200], "Somebody left the group"),
        (40, [], "Missed voice call"),
        (145, [], "Who approves new members was changed"),
        (999, ["x"], None),
        ("GROUP_OF_NEXT_YEAR", None, None),
    ],
)
def test_what_happened_in_a_group(kind: object, parameters: object, text: str | None) -> None:
    """Stubs say it in English; only those that tell the group's name name the chat."""
    message = one(key={"remoteJid": GROUP}, messageStubType=kind, messageStubParameters=parameters)
    assert (message.type, message.text) == ("system", text)
    named = text is not None and "Club" in text
    assert (message.chat_name is not None) is named


def test_cut_emoji_and_long_text() -> None:
    """Half an emoji becomes U+FFFD, two halves become one; too long is cut between characters, whatever they are."""
    assert one({"conversation": "hi \ud83d"}).text == "hi \ufffd"
    assert one({"conversation": "\ude00\ud83da"}).text == "\ufffd\ufffda"
    assert one({"conversation": "\ud83d" + "\ude00"}).text == "😀"
    assert one({"conversation": json.loads(r'"\ud83d\ude00\ud83d"')}).text == "😀\ufffd"
    assert one({"conversation": "😀" * (MAX_TEXT + 5)}).text == "😀" * MAX_TEXT
    assert one({"conversation": "\ud83d\ude00" * (MAX_TEXT + 5)}).text == "😀" * MAX_TEXT
    assert one({"conversation": "a" * (MAX_TEXT + 5)}).text == "a" * MAX_TEXT
    assert one({"conversation": "a"}, pushName="é" * 300 + "\ud83d").sender.name == "é" * MAX_NAME


# Junk

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**100, -(10**100), 2**63, 2**64, -1, 0, 14]),
    st.floats(),
    st.text(max_size=20),
    st.text(st.characters(categories=("Cs", "Cc", "Lu", "So")), max_size=300),
    st.sampled_from(
        ["__proto__", "", ".", "..", "\ud83d", "x" * 70_000, "9" * 6000, "a@lid", ":@c.us", "@", "https://["]
    ),
)
JUNK = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(
        st.sampled_from(["$ne", "low", "high", "key", "message", "id", "text", "url"]), SCALARS, max_size=3
    ),
    st.sampled_from(list(PAYLOADS.values())),
)


def deep(levels: int) -> object:
    value: object = "bottom"
    for level in range(levels):
        value = {"message": value} if level % 3 else [value]
    return value


def paths(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from paths(inner, (*path, name))


PLACES = [(name, path) for name, payload in PAYLOADS.items() for path in paths(payload)]


def with_junk(name: str, path: tuple[object, ...], junk: object) -> object:
    payload: Any = copy.deepcopy(PAYLOADS[name])
    if not path:
        return junk
    node = payload
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = junk
    return payload


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
@given(st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=1, max_size=1))
def test_junk_in_any_place(changes: list[tuple[tuple[str, tuple[object, ...]], Any]]) -> None:
    """Nothing raises, and all that comes out keeps every promise."""
    for (name, path), junk in changes:
        parsed(with_junk(name, path, junk))


@pytest.mark.parametrize(
    "junk",
    [None, True, [], {}, ["x"], {"$ne": 1}, 10**100, float("nan"), "\ud83d", "x" * 70_000, deep(100_000)],
    ids=lambda junk: repr(junk)[:20] if not isinstance(junk, dict | list) or len(junk) != 1 else type(junk).__name__,
)
def test_the_same_junk_in_every_place(junk: object) -> None:
    """Each node of each payload replaced in turn; the other messages of the body are still there."""
    for name, path in PLACES:
        result = parsed(with_junk(name, path, junk))
        if name == "notify" and len(path) > 4:  # inside one of three messages
            assert len(result.messages) >= 2
