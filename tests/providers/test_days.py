"""Thirty payloads of each provider give the same result in any order, and with any repeats."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from app.domain.intake import commands_of
from app.providers import PROVIDERS
from tests.domain.memory import NOW, Memory

DAYS = {path.stem: json.loads(path.read_text()) for path in Path(__file__).parent.glob("payloads/days/*.json")}
MINA, RUI = "4915112345678@s.whatsapp.net", "351911111111@s.whatsapp.net"
GROUP = "120363000000000001@g.us"
ORDERS = 40


def lived(source: str, payloads: Iterable[object]) -> Memory:
    memory = Memory()
    for payload in payloads:
        parsed = PROVIDERS[source].parse(payload, "shop", NOW)
        told = {name: getattr(parsed, name) for name in ("messages", "updates", "contacts", "aliases", "reads")}
        for command in commands_of(NOW, **told):
            memory.apply(command)
    return memory


def end(memory: Memory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The names of the chats, and the messages: all that does not tell the order in which things came."""
    chats, messages = memory.shown()
    return {chat["chatId"]: chat["name"] for chat in chats}, messages


def test_every_provider_has_a_day() -> None:
    """None is forgotten, and each has thirty payloads."""
    assert DAYS.keys() == PROVIDERS.keys()
    assert {len(payloads) for payloads in DAYS.values()} == {30}


@pytest.mark.parametrize("source", PROVIDERS)
def test_any_order_ends_the_same(source: str) -> None:
    """In the order of arrival, shuffled, and each twice: the same chats and messages, and nothing left waiting."""
    day = DAYS[source]
    expected = end(lived(source, day))
    assert end(lived(source, [one for one in day for _ in range(2)])) == expected
    assert end(lived(source, day + day)) == expected
    for _ in range(ORDERS):
        seed = random.randrange(2**32)
        shuffled = day * 2
        random.Random(seed).shuffle(shuffled)
        assert end(lived(source, shuffled)) == expected, f"seed {seed}"


def by_id(source: str) -> dict[str, dict[str, Any]]:
    _, messages = end(lived(source, DAYS[source]))
    return {message["messageId"].removeprefix("wamid."): message for message in messages}


@pytest.mark.parametrize("source", PROVIDERS)
def test_one_chat_for_one_person(source: str) -> None:
    """Whatever a person is called, the chat is the number's."""
    names, _ = end(lived(source, DAYS[source]))
    assert names[MINA] == "Mina"
    assert names[RUI] == ("Rui the second" if source == "waha" else "Rui")
    assert names.keys() <= {MINA, RUI, GROUP}
    assert names.get(GROUP, "Wholesale") == "Wholesale"


def test_what_has_become_of_baileys_messages() -> None:
    """Read, edited, deleted, reacted to, completed, failed: each is what the payloads say last."""
    day = by_id("baileys")
    assert (day["B2"]["status"], day["B2"]["replyTo"]["messageId"]) == ("read", "B1")
    assert [(one["sender"]["id"], one["emoji"]) for one in day["B2"]["reactions"]] == [(MINA, "❤️")]
    assert day["B3"]["media"]["preview"] == "data:image/jpeg;base64,/9j/4A=="
    assert (day["B5"]["type"], day["B5"]["text"]) == ("text", "Hello?")
    assert day["B7"]["receipts"] == {"delivered": 2, "read": 1, "played": 0}
    assert (day["B10"]["text"], day["B10"]["editedAt"]) == ("And on Monday?", "2026-02-06T09:26:55.000Z")
    assert (day["B12"]["text"], day["B12"]["deletedAt"] is not None) == (None, True)
    assert (day["B14"]["status"], day["B14"]["error"]["code"]) == ("failed", "463")
    assert "B8" not in day
    assert "B13" not in day


def test_what_has_become_of_evolutions_messages() -> None:
    """Its own media address is taken, a quote beside the message is one, keyId names the message."""
    day = by_id("evolution")
    assert day["E2"]["replyTo"] == {"messageId": "E1", "senderId": MINA, "text": "Do you open on Sunday?"}
    assert (day["E3"]["type"], day["E3"]["media"]["url"], day["E3"]["text"]) == (
        "image",
        "https://files.example/a.jpg",
        "look",
    )
    assert (day["E4"]["status"], day["E4"]["reactions"]) == ("read", [])
    assert day["E6"]["receipts"] == {"delivered": 1, "read": 1, "played": 0}
    assert day["E9"]["text"] == "On Monday?"
    assert day["E10"]["deletedAt"] is not None
    assert day["E11"]["deletedAt"] is not None
    assert day["E13"]["status"] == "failed"
    assert "SECRET" not in json.dumps(end(lived("evolution", DAYS["evolution"])))


def test_what_has_become_of_wahas_messages() -> None:
    """Ids are bare, both events of a message are one, an acknowledgement of ours in a group is none."""
    day = by_id("waha")
    assert (day["W1"]["chatId"], day["W1"]["sender"]) == (MINA, {"id": MINA, "name": "Mina"})
    assert (day["W2"]["type"], day["W2"]["media"]["url"]) == ("image", "http://waha.example/a.jpg")
    assert (day["W2"]["text"], day["W2"]["replyTo"]["messageId"]) == ("look", "W1")
    assert (day["W3"]["status"], day["W3"]["fromMe"]) == ("read", True)
    assert [one["emoji"] for one in day["W3"]["reactions"]] == ["❤️"]
    assert (day["W4"]["chatId"], day["W4"]["sender"]["name"]) == (GROUP, "Olaf")
    assert day["W5"]["receipts"] == {"delivered": 1, "read": 1, "played": 0}
    assert day["W8"]["text"] == "On Monday?"
    assert day["W10"]["deletedAt"] is not None
    assert day["W14"]["status"] == "delivered", "late success wins"
    assert (day["W15"]["type"], day["W15"]["text"]) == ("location", "Café\n38.722300, -9.139300")
    assert "W11" not in day


def test_what_has_become_of_the_cloud_apis_messages() -> None:
    """Statuses in any order, a hidden number that is told later, and every kind of message in words."""
    day = by_id("cloud-api")
    assert (day["C2"]["type"], day["C2"]["text"], day["C2"]["media"]) == ("image", "look", None)
    assert (day["C3"]["status"], day["C3"]["fromMe"]) == ("read", True)
    assert [one["emoji"] for one in day["C3"]["reactions"]] == ["❤️"]
    assert day["C7"]["text"] == "On Monday?"
    assert day["C9"]["deletedAt"] is not None
    assert (day["C17"]["status"], day["C17"]["error"]) == ("delivered", None)
    assert day["C18"]["chatId"] == RUI
    assert day["C20"]["error"] == {"code": "131026", "title": "Message undeliverable"}
    assert {name: day[name]["text"] for name in ("C12", "C13", "C14", "C15", "C21", "C23", "C24")} == {
        "C12": "Ada\n+44 1555 0001",
        "C13": "Soup\nhot",
        "C14": "Yes",
        "C15": "Order\n1 item\n• LAMP – 2 × EUR 12.5\nTotal: EUR 25.00",
        "C21": "Is it the lamp?\nFrom the ad: Lamps\nhttps://ad.example/1",
        "C23": "Sent\nsize: M",
        "C24": "new next year",
    }
