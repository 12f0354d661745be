"""WAHA's engines: what WEBJS and GOWS send is read as what NOWEB sends, kind by kind."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from app.domain.incoming import ConnectionSignal, IncomingUpdate, PresenceSignal, TypingSignal
from app.domain.models import Alias, IncomingMessage
from app.providers import PROVIDERS, Parsed
from tests.domain.memory import NOW
from tests.providers.test_days import end, lived

MINA, RUI = "4915112345678@s.whatsapp.net", "351911111111@s.whatsapp.net"
GROUP, RUI_LID = "120363000000000001@g.us", "77000000000001@lid"
ME = {"id": "85255555555@c.us", "lid": "66000000000001@lid", "pushName": "Shop"}
PICTURE = base64.b64encode(b"\xff\xd8\xff\xe0tiny").decode()
URL = "http://waha.example/api/files/a"


def event(name: str, payload: dict[str, Any], engine: str, at: int = 5) -> dict[str, Any]:
    return {
        "id": f"evt_{at}",
        "timestamp": 1770370000000 + at * 1000,
        "event": name,
        "session": "default",
        "me": ME,
        "payload": payload,
        "engine": engine,
        "environment": {"version": "2026.1.1", "engine": engine, "tier": "CORE"},
    }


def parsed(*events: dict[str, Any]) -> Parsed:
    return PROVIDERS["waha"].parse(list(events), "shop", NOW)


def base(message_id: str, at: int, body: str | None, **more: Any) -> dict[str, Any]:
    return {
        "id": f"false_4915112345678@c.us_{message_id}",
        "timestamp": 1770370000 + at,
        "from": "4915112345678@c.us",
        "fromMe": False,
        "source": "app",
        "to": "85255555555@c.us",
        "participant": None,
        "body": body,
        "hasMedia": False,
        "media": None,
        "ack": 1,
        "ackName": "SERVER",
        "replyTo": None,
        **more,
    }


def by_webjs(kind: str, body: str | None = "", *, message_id: str = "W1", at: int = 1, **data: Any) -> dict[str, Any]:
    """A message as WEBJS has it: WhatsApp Web's flat object in `_data`."""
    key = {"fromMe": False, "remote": "4915112345678@c.us", "id": message_id}
    raw = {"id": key, "viewed": False, "type": kind, "body": body, "notifyName": "Mina", "t": 1770370000 + at, **data}
    payload = base(message_id, at, body, _data=raw, vCards=[])
    if "mimetype" in data:
        payload |= {"hasMedia": True, "body": data.get("caption", "")}
        payload["media"] = {"url": URL, "mimetype": data["mimetype"], "filename": data.get("filename"), "error": None}
    return event("message", payload, "WEBJS", at)


def by_gows(
    message: dict[str, Any] | None,
    body: str | None = None,
    *,
    message_id: str = "G1",
    at: int = 1,
    info: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A message as GOWS has it: whatsmeow's, with Go's names."""
    source = {"Chat": MINA, "Sender": "4915112345678:12@s.whatsapp.net", "IsFromMe": False, "IsGroup": False}
    data = {
        "Info": {**source, "ID": message_id, "PushName": "Mina", "Timestamp": "2026-02-06T10:00:00Z", **(info or {})},
        "Message": message,
        "IsEdit": False,
        "RawMessage": message,
    }
    return event("message", base(message_id, at, body, _data=data, to=None, **more), "GOWS", at)


def one(of: dict[str, Any]) -> IncomingMessage:
    result = parsed(of)
    (message,) = result.messages
    assert (message.chat_id, message.sender.name, dict(result.skipped)) == (MINA, "Mina", {})
    return message


LIST = {
    "title": "Menu",
    "description": "for today",
    "sections": [{"rows": [{"title": "Soup", "description": "hot", "rowId": "r1"}]}],
}
ORDER = {
    "orderTitle": "Lamps",
    "itemCount": 2,
    "message": "soon please",
    "totalAmount1000": 25500,
    "totalCurrencyCode": "EUR",
}
ORDER_TEXT = "Lamps\nsoon please\n2 items\nTotal: EUR 25.50"
FLOW = {"name": "quick_reply", "buttonParamsJSON": json.dumps({"display_text": "Yes"})}
CARD = "BEGIN:VCARD\nVERSION:3.0\nFN:Ada\\, Dr\nTEL;waid=1555:+1 555\nEND:VCARD"


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        (by_webjs("chat", "Hi"), "text", "Hi"),
        (by_webjs("list", "Menu", list=LIST), "text", "Menu\nfor today\n• Soup – hot"),
        (
            by_webjs("list_response", "Soup", listResponse={"title": "Soup", "description": "hot"}),
            "text",
            "Soup\nhot",
        ),
        (by_webjs("buttons_response", "Yes", selectedButtonId="b1"), "text", "Yes"),
        (by_webjs("template_button_reply", "", selectedId="t1"), "text", "t1"),
        (
            by_webjs("chat", "Pick", footer="now", dynamicReplyButtons=[{"buttonText": {"displayText": "Yes"}}]),
            "text",
            "Pick\nnow\n• Yes",
        ),
        (by_webjs("order", "", **ORDER), "text", ORDER_TEXT),
        (by_webjs("product", "", title="Lamp", currencyCode="EUR", priceAmount1000=12500), "text", "Lamp\nEUR 12.50"),
        (
            by_webjs("poll_creation", "Lunch?", pollName="Lunch?", pollOptions=[{"name": "Yes", "localId": 0}]),
            "text",
            "Lunch?\n• Yes",
        ),
        (by_webjs("event_creation", "", eventName="Party", isEventCanceled=True), "text", None),
        (
            by_webjs("groups_v4_invite", "join us", inviteGrpName="Club"),
            "text",
            "Invitation to the group Club\njoin us",
        ),
        (by_webjs("call_log", "", isVideoCall=True, callOutcome="MISSED"), "system", "Missed video call"),
        (by_webjs("vcard", CARD), "contact", "Ada, Dr\n+1 555"),
        (by_webjs("hologram", "", title="New", description="next year"), "text", "New\nnext year"),
        (by_webjs("ciphertext", None), "unknown", None),
        (by_gows({"conversation": "Hi"}, "Hi"), "text", "Hi"),
        (
            by_gows(
                {
                    "listMessage": {
                        **LIST,
                        "sections": [{"rows": [{"title": "Soup", "rowID": "r1"}, {"rowID": "r2"}]}],
                    }
                }
            ),
            "text",
            "Menu\nfor today\n• Soup\n• r2",
        ),
        (by_gows({"listResponseMessage": {"singleSelectReply": {"selectedRowID": "r1"}}}), "text", "r1"),
        (
            by_gows({"buttonsResponseMessage": {"Response": {"SelectedDisplayText": "Yes"}, "selectedButtonID": "b1"}}),
            "text",
            "Yes",
        ),
        (by_gows({"templateButtonReplyMessage": {"selectedID": "t1"}}), "text", "t1"),
        (
            by_gows(
                {
                    "interactiveMessage": {
                        "body": {"text": "Pick"},
                        "InteractiveMessage": {"NativeFlowMessage": {"buttons": [FLOW], "messageParamsJSON": "{}"}},
                    }
                }
            ),
            "text",
            "Pick\n• Yes",
        ),
        (
            by_gows(
                {
                    "templateMessage": {
                        "Format": {
                            "HydratedFourRowTemplate": {
                                "hydratedContentText": "Hello",
                                "hydratedButtons": [
                                    {
                                        "HydratedButton": {
                                            "UrlButton": {"displayText": "Shop", "URL": "https://s.example"}
                                        }
                                    }
                                ],
                            }
                        }
                    }
                }
            ),
            "text",
            "Hello\n• Shop – https://s.example",
        ),
        (by_gows({"orderMessage": ORDER}), "text", ORDER_TEXT),
        (
            by_gows({"pollCreationMessageV3": {"name": "Lunch?", "options": [{"optionName": "Yes"}]}}),
            "text",
            "Lunch?\n• Yes",
        ),
        (by_gows({"contactMessage": {"displayName": "Ada", "vcard": CARD}}), "contact", "Ada\n+1 555"),
        (
            by_gows({"locationMessage": {"degreesLatitude": 1.5, "degreesLongitude": 2}}),
            "location",
            "1.500000, 2.000000",
        ),
        (
            by_gows({"groupInviteMessage": {"groupJID": GROUP, "groupName": "Club"}}),
            "text",
            "Invitation to the group Club",
        ),
        (by_gows({"hologramMessage": {"title": "New", "paramsJSON": '{"label": "Go"}'}}), "text", "New\nGo"),
        (by_gows(None, None), "unknown", None),
    ],
)
def test_words(message: dict[str, Any], kind: str, text: str | None) -> None:
    """Lists, buttons, orders, products, polls, events, invitations, calls, people, places and what is new."""
    found = one(message)
    assert found.type == kind
    assert found.text == (text or ("Party\nThe event was cancelled" if kind == "text" else None))


def test_media() -> None:
    """The address is WAHA's, the small picture and the sizes are the engine's."""
    sizes = {"size": 2048, "width": 640, "height": 480}
    web = by_webjs("image", PICTURE, mimetype="image/jpeg", caption="look", **sizes)
    go = by_gows(
        {
            "imageMessage": {
                "URL": "https://mmg.whatsapp.net/x.enc",
                "mimetype": "image/jpeg",
                "caption": "look",
                "JPEGThumbnail": PICTURE,
                "fileLength": 2048,
                "width": 640,
                "height": 480,
                "fileSHA256": "AA==",
            }
        },
        "look",
        hasMedia=True,
    )
    go["payload"]["media"] = {"url": URL, "mimetype": "image/jpeg", "filename": None}
    for message in map(one, (web, go)):
        assert (message.type, message.text) == ("image", "look")
        assert message.media is not None
        assert (message.media.url, message.media.size, message.media.width) == (URL, 2048, 640)
        assert message.media.preview == f"data:image/jpeg;base64,{PICTURE}"
    voice = one(by_webjs("ptt", "", mimetype="audio/ogg; codecs=opus", duration="12"))
    assert (voice.type, voice.media and voice.media.duration_seconds) == ("audio", 12)
    hidden = by_webjs("image", PICTURE, isViewOnce=True)
    assert one(hidden).text == "View once: open it on the phone"


def test_mentions_and_quotes() -> None:
    """Whom the text mentions is told, and what is answered, under each engine's names."""
    web = by_webjs("chat", "@351911111111 look", mentionedJidList=[{"_serialized": "351911111111@c.us"}])
    web["payload"]["replyTo"] = {"id": "AAA", "participant": "4915112345678@c.us", "body": "before"}
    context = {
        "mentionedJID": [RUI],
        "stanzaID": "AAA",
        "participant": MINA,
        "quotedMessage": {"conversation": "before"},
    }
    go = by_gows({"extendedTextMessage": {"text": "@351911111111 look", "contextInfo": context}}, "@351911111111 look")
    for message in map(one, (web, go)):
        assert (message.text, message.mentions) == ("@351911111111 look", (RUI,))
        assert message.reply_to is not None
        assert (message.reply_to.message_id, message.reply_to.sender_id, message.reply_to.text) == (
            "AAA",
            MINA,
            "before",
        )


def test_both_addresses_of_a_person() -> None:
    """GOWS tells them of the sender, and of whom we write to."""
    info = {"Chat": RUI_LID, "Sender": RUI_LID, "SenderAlt": "351911111111:3@s.whatsapp.net"}
    theirs = by_gows({"conversation": "Hi"}, "Hi", info=info)
    theirs["payload"] |= {"id": "false_77000000000001@lid_G1", "from": RUI_LID}
    ours = by_gows({"conversation": "Hi"}, "Hi", info={"Chat": RUI_LID, "RecipientAlt": RUI, "Sender": ME["id"]})
    ours["payload"] |= {"id": "true_77000000000001@lid_G2", "from": ME["id"], "fromMe": True}
    for told in (theirs, ours):
        result = parsed(told)
        assert [message.chat_id for message in result.messages] == [RUI]
        assert list(result.aliases) == [Alias(RUI_LID, RUI)]


def update(of: dict[str, Any]) -> IncomingUpdate:
    (found,) = parsed(of).updates
    return found


@pytest.mark.parametrize("engine", ["WEBJS", "GOWS"])
def test_receipts(engine: str) -> None:
    """Of a person the status, of a group's member their receipt; our own address in the id of a group is not theirs."""
    ack = {"from": "4915112345678@c.us", "participant": None, "fromMe": True, "ack": 3, "ackName": "READ"}
    one_to_one = update(event("message.ack", {"id": "true_4915112345678@c.us_A1", **ack}, engine))
    assert (one_to_one.message_id, one_to_one.chat_id, one_to_one.status) == ("A1", MINA, "read")
    for author in ("85255555555@c.us", RUI_LID):
        told = {"id": f"true_{GROUP}_A2_{author}", **ack, "from": GROUP, "participant": RUI_LID}
        in_group = update(event("message.ack.group", told, engine))
        assert in_group.receipt is not None
        assert (in_group.receipt.by, in_group.receipt.status) == (RUI_LID, "read")
    own = {"id": f"true_{GROUP}_A2_{ME['lid']}", **ack, "from": GROUP, "ack": 1, "ackName": "SERVER"}
    assert update(event("message.ack", own, engine)).status == "sent"
    assert parsed(event("message.ack", {"id": "false_4915112345678@c.us_B", **ack, "fromMe": False}, engine)).reads


@pytest.mark.parametrize("engine", ["WEBJS", "GOWS"])
def test_reactions(engine: str) -> None:
    """Ids whole or bare; an empty one takes it back."""
    for target in ("true_4915112345678@c.us_T", "T"):
        for text in ("🙏", ""):
            told = base("R", 3, None, timestamp=1770370003.853, reaction={"text": text, "messageId": target})
            found = update(event("message.reaction", told, engine))
            assert (found.message_id, found.chat_id) == ("T", MINA)
            assert found.reaction is not None
            assert (found.reaction.sender.id, found.reaction.emoji) == (MINA, text or None)
            assert found.timestamp is not None
            assert found.timestamp.isoformat() == "2026-02-06T09:26:43.853000+00:00"


def test_edits_and_deletions() -> None:
    """WEBJS tells them as the message itself, with the time of that; GOWS as messages of their own."""
    web = event("message.edited", base("T", 1, "two", editedMessageId="T"), "WEBJS", 9)
    go = event("message.edited", base("OWN", 9, "two", editedMessageId="T"), "GOWS", 10)
    gone_web = base("T", 1, "", _data={"type": "revoked"})
    revoked_web = event("message.revoked", {"before": base("T", 1, "two"), "after": gone_web}, "WEBJS", 9)
    told_go = {"after": base("OWN", 9, None), "before": None, "revokedMessageId": "T"}
    revoked_go = event("message.revoked", told_go, "GOWS", 10)
    for of in (web, go, revoked_web, revoked_go):
        found = update(of)
        assert (found.message_id, found.chat_id, found.text, found.deleted) == (
            ("T", MINA, "two", False) if of in (web, go) else ("T", MINA, None, True)
        )
        assert found.timestamp is not None
        assert found.timestamp.isoformat() == "2026-02-06T09:26:49+00:00"
    exact = base("T", 1, "two", editedMessageId="T", _data={"latestEditSenderTimestampMs": 1770370004500})
    at = update(event("message.edited", exact, "WEBJS", 9)).timestamp
    assert at is not None
    assert at.isoformat() == "2026-02-06T09:26:44.500000+00:00"


@pytest.mark.parametrize("engine", ["WEBJS", "GOWS"])
def test_people_and_the_account(engine: str) -> None:
    """Presence, the session's state, contacts and groups; a passkey's challenge is no part of what is told."""
    presences = [{"participant": RUI_LID, "lastKnownPresence": "typing", "lastSeen": None}]
    result = parsed(
        event("presence.update", {"id": GROUP, "presences": presences}, engine),
        event("presence.update", {"id": "4915112345678@c.us", "presences": [{"lastKnownPresence": "offline"}]}, engine),
        event("session.status", {"status": "PASSKEY_REQUIRED", "data": {"challenge": "SECRET"}}, engine),
        event("session.status", {"status": "FAILED"}, engine),
        event("group.v2.update", {"group": {"id": GROUP, "subject": "Club"}, "_data": {}}, engine),
        event(
            "group.v2.participants",
            {"type": "join", "group": {"id": GROUP}, "participants": [{"id": RUI_LID, "pn": "351911111111@c.us"}]},
            engine,
        ),
        event("contact.update", {"id": "4915112345678@c.us", "name": "Mina"}, engine),
    )
    typing, away, passkey, failed = result.signals
    assert isinstance(typing, TypingSignal)
    assert (typing.chat_id, typing.sender.id, typing.action) == (GROUP, RUI_LID, "typing")
    assert isinstance(away, PresenceSignal)
    assert (away.sender.id, away.state) == (MINA, "offline")
    assert passkey == ConnectionSignal("connecting", "WhatsApp asks for a passkey.")
    assert isinstance(failed, ConnectionSignal)
    assert failed.state == "disconnected"
    assert [(one.id, one.name) for one in result.contacts] == [(GROUP, "Club"), (MINA, "Mina")]
    assert list(result.aliases) == [Alias(RUI_LID, RUI)]
    assert not result.skipped


def test_changes_that_come_as_messages() -> None:
    """Edits, reactions and deletions in `message` are no messages."""
    target = {"remoteJID": MINA, "fromMe": False, "ID": "T"}
    for message, what in (
        ({"protocolMessage": {"type": 14, "key": target, "editedMessage": {"conversation": "two"}}}, "text"),
        ({"protocolMessage": {"type": 0, "key": target}}, "deleted"),
        ({"reactionMessage": {"key": target, "text": "🙏", "senderTimestampMS": 1770370003853}}, "reaction"),
    ):
        result = parsed(by_gows(message))
        assert not result.messages
        change, placeholder = result.updates
        assert change.message_id == "T"
        assert getattr(change, what)
        assert placeholder.nothing_to_read


@pytest.mark.parametrize("engine", ["WEBJS", "GOWS"])
def test_a_day_ends_the_same_in_any_order(engine: str) -> None:
    """What one engine sends of a conversation, shuffled and each twice."""
    ours = {"id": "true_4915112345678@c.us_O1", "from": ME["id"], "to": "4915112345678@c.us", "fromMe": True}
    text = by_webjs if engine == "WEBJS" else by_gows

    def said(message_id: str, words: str, at: int) -> dict[str, Any]:
        if engine == "WEBJS":
            return by_webjs("chat", words, message_id=message_id, at=at)
        return by_gows({"conversation": words}, words, message_id=message_id, at=at)

    waiting = text("ciphertext", None, message_id="M4") if engine == "WEBJS" else by_gows(None, None, message_id="M4")
    ack = {**ours, "participant": None}

    def own(message_id: str, target: str) -> str:
        """The id of the change: WEBJS gives the message's."""
        return target if engine == "WEBJS" else message_id

    def edited(at: int, message_id: str, words: str) -> dict[str, Any]:
        when = 8 if engine == "WEBJS" else at
        return event("message.edited", base(own(message_id, "M2"), when, words, editedMessageId="M2"), engine, at)

    day = [
        said("M1", "one", 1),
        event("message.any", {**base("O1", 2, "answer"), **ours}, engine, 2),
        *(event("message.ack", {**ack, "ack": number}, engine, 2 + number) for number in (1, 2, 3)),
        event("message.reaction", base("R1", 6, None, reaction={"text": "👍", "messageId": "M1"}), engine, 6),
        event("message.reaction", base("R2", 7, None, reaction={"text": "", "messageId": "M1"}), engine, 7),
        said("M2", "two", 8),
        edited(9, "E1", "2"),
        edited(10, "E2", "1"),
        said("M3", "three", 11),
        event("message.revoked", {"after": base(own("D1", "M3"), 11, ""), "revokedMessageId": "M3"}, engine, 12),
        {**waiting, "event": "message.waiting"},
        said("M4", "late", 1),
        event("contact.update", {"id": "4915112345678@c.us", "name": "Mina"}, engine, 14),
    ]  # fmt: skip
    expected = end(lived("waha", day))
    found = {one["messageId"]: one for one in expected[1]}
    assert {name: one["text"] for name, one in found.items()} == {
        "M1": "one", "M2": "1", "M3": None, "M4": "late", "O1": "answer",
    }  # fmt: skip
    assert (found["O1"]["status"], found["M1"]["reactions"], found["M3"]["deletedAt"] is None) == ("read", [], False)
    for _ in range(20):
        seed = random.randrange(2**32)
        shuffled = day * 2
        random.Random(seed).shuffle(shuffled)
        assert end(lived("waha", shuffled)) == expected, f"seed {seed}"
