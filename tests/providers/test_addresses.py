"""Addresses are normalized in every field; one that cannot be a person's never becomes an alias."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.models import Alias
from tests.providers.test_baileys import GROUP, RUI, RUI_LID, entry, parsed, upsert

NUMBER, HIDDEN = RUI.partition("@")[0], RUI_LID.partition("@")[0]
SPELLINGS = (
    RUI,
    f"{NUMBER}:12@s.whatsapp.net",
    f"{NUMBER}_1:0@s.whatsapp.net",
    f"{NUMBER}@c.us",
    f"{NUMBER}:3@hosted",
    f"+{NUMBER}@S.WhatsApp.Net",
    f" {NUMBER}@s.whatsapp.net ",
)
HIDDEN_SPELLINGS = (RUI_LID, f"{HIDDEN}:12@lid", f"{HIDDEN}_1:0@lid", f"{HIDDEN}@hosted.lid", f" {HIDDEN}@LID")
IMPOSSIBLE = (
    "undefined@s.whatsapp.net",
    "null@s.whatsapp.net",
    "0@s.whatsapp.net",
    "alice@s.whatsapp.net",
    "1234@s.whatsapp.net",
    "1234567890123456@s.whatsapp.net",
    "01234567@s.whatsapp.net",
    "@s.whatsapp.net",
    "status@broadcast",
    GROUP,
    "",
    None,
    5,
)


def told(lid: object, address: object) -> dict[str, Any]:
    """The pair in every place where Baileys may tell it."""
    message = {"conversation": "a"}
    member = {"remoteJid": GROUP, "participant": lid, "participantAlt": address}
    old_member = {"remoteJid": GROUP, "participant": lid, "participantPn": address}
    return {
        "remoteJid": upsert(entry(message, key={"remoteJid": lid, "remoteJidAlt": address})),
        "senderPn": upsert(entry(message, key={"remoteJid": lid, "senderPn": address})),
        "participant": upsert(entry(message, key=member)),
        "participantPn": upsert(entry(message, key=old_member)),
        "contacts": {"event": "contacts.update", "data": [{"id": address, "lid": lid}]},
        "contacts.phoneNumber": {"event": "contacts.upsert", "data": [{"id": lid, "phoneNumber": address}]},
        "lid-mapping": {"event": "lid-mapping.update", "data": {"lid": lid, "pn": address}},
        "history.mappings": {
            "event": "messaging-history.set",
            "data": {"lidPnMappings": [{"lid": lid, "pn": address}]},
        },
        "history.contacts": {"event": "messaging-history.set", "data": {"contacts": [{"id": address, "lid": lid}]}},
        "history.chats": {"event": "messaging-history.set", "data": {"chats": [{"id": lid, "pnJid": address}]}},
        "chats": {"event": "chats.upsert", "data": [{"id": address, "lidJid": lid}]},
        "groups": {
            "event": "groups.upsert",
            "data": [{"id": GROUP, "participants": [{"id": lid, "phoneNumber": address}]}],
        },
    }


PLACES = tuple(told("", ""))


@pytest.mark.parametrize("place", PLACES)
def test_one_form_in_every_field(place: str) -> None:
    """The same alias is learned from any spelling of an address in any field."""
    for spelling in SPELLINGS:
        assert parsed(told(RUI_LID, spelling)[place]).aliases == [Alias(RUI_LID, RUI)], spelling
    for spelling in HIDDEN_SPELLINGS:
        assert parsed(told(spelling, RUI)[place]).aliases == [Alias(RUI_LID, RUI)], spelling


@pytest.mark.parametrize("place", PLACES)
def test_what_could_not_be_a_person_is_no_alias(place: str) -> None:
    """Such an address would merge strangers' chats: it is not learned, and is counted."""
    for address in IMPOSSIBLE:
        result = parsed(told(RUI_LID, address)[place])
        assert result.aliases == [], address
        if isinstance(address, str) and address.endswith("t.net") and not address.startswith("@"):
            assert result.skipped["bad_address"] == 1, (address, result.skipped)
        assert not any(message.chat_id == address for message in result.messages if "Jid" in place)
    for lid in ("undefined@lid", "0@lid", "1234@lid", "1234567890123456@lid", "alice@lid"):
        assert parsed(told(lid, RUI)[place]).aliases == [], lid


def test_the_possible_address_names_the_chat() -> None:
    """Of an address that was lost and one that is right, the right one is taken, hidden or not."""
    for other, chat in ((RUI, RUI), (RUI_LID, RUI_LID)):
        key = {"remoteJid": "undefined@s.whatsapp.net", "remoteJidAlt": other}
        assert parsed(upsert(entry({"conversation": "a"}, key=key))).messages[0].chat_id == chat


def test_a_chat_read_on_another_device() -> None:
    """unreadCount 0 says so; any other number does not."""
    for count, reads in ((0, 1), ("0", 1), (-1, 0), (2, 0), (None, 0)):
        result = parsed({"event": "chats.update", "data": [{"id": f"{NUMBER}@c.us", "unreadCount": count}]})
        assert [read.chat_id for read in result.reads] == [RUI] * reads


@pytest.mark.parametrize("flag", [True, "true", "TRUE", 1, "1"])
def test_from_me_in_other_words(flag: object) -> None:
    """`fromMe` may be a word or a number."""
    assert parsed(upsert(entry({"conversation": "a"}, key={"fromMe": flag}))).messages[0].from_me is True


def test_shapes_of_a_body() -> None:
    """The map of ev.process, and names as environment variables spell them, are events too; what is none is told."""
    message = entry({"conversation": "hi"})
    for body in (
        {"messages.upsert": {"messages": [message], "type": "notify"}, "chats.update": [{"id": RUI}]},
        {"event": "MESSAGES_UPSERT", "data": [message]},
        [{"event": "messages.upsert", "data": message}],
    ):
        result = parsed(body)
        assert [one.text for one in result.messages] == ["hi"]
        assert not result.skipped
    assert parsed({"messages": [message]}).skipped == {"no_event": 1}
    assert parsed({"event": "messages.upsert", "data": {"foo": 1}}).skipped == {"no_message": 1}
