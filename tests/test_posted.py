"""The webhook's own form beside messages: updates, signals and contacts."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from app import posted
from app.domain import incoming
from app.domain.models import MAX_PREVIEW_BYTES, MessageError, Sender
from app.errors import AppError

NOW = datetime(2026, 2, 6, 12, 4, tzinfo=UTC)
BOB = {"id": "bob", "name": "Bob"}


def load(body: object) -> posted.Posted:
    return posted.load_body(body, "shop", NOW)


def pointers(body: object) -> list[str]:
    with pytest.raises(AppError) as error:
        load(body)
    assert error.value.code == "invalid"
    return [fault.pointer for fault in error.value.faults]


def test_every_kind_in_one_body() -> None:
    """All lists are taken together, each in its order."""
    body = load(
        {
            "messages": [{"chatId": "a", "text": "hi"}],
            "updates": [
                {"messageId": "m1", "chatId": "a", "timestamp": "2026-02-06T12:04:00Z", "status": "read"},
                {"messageId": "m2", "error": {"code": "1", "title": "No"}},
                {"messageId": "m3", "text": "new"},
                {"messageId": "m4", "deleted": True},
                {"messageId": "m5", "reaction": {"sender": BOB, "emoji": "👍"}},
                {"messageId": "m5", "reaction": {"sender": {"id": "me"}, "fromMe": True, "emoji": None}},
                {"messageId": "m6", "receipt": {"by": "bob", "status": "played"}},
            ],
            "signals": [
                {"type": "typing", "chatId": "a", "sender": BOB, "action": "recording"},
                {"type": "presence", "chatId": "a", "sender": BOB, "state": "offline", "lastSeen": 1770379440},
                {"type": "connection", "state": "logged_out", "detail": "Removed on the phone"},
            ],
            "contacts": [{"id": "a", "name": "Ann", "aliases": ["b", "c"]}, {"id": "d"}],
        }
    )
    assert [message.text for message in body.messages] == ["hi"]
    assert body.updates == [
        incoming.IncomingUpdate("m1", "a", NOW, status="read"),
        incoming.IncomingUpdate("m2", error=MessageError("1", "No")),
        incoming.IncomingUpdate("m3", text="new"),
        incoming.IncomingUpdate("m4", deleted=True),
        incoming.IncomingUpdate("m5", reaction=incoming.ReactionChange(Sender("bob", "Bob"), False, "👍")),
        incoming.IncomingUpdate("m5", reaction=incoming.ReactionChange(Sender("me"), True, None)),
        incoming.IncomingUpdate("m6", receipt=incoming.Receipt("bob", "played")),
    ]
    assert body.signals == [
        incoming.TypingSignal("a", Sender("bob", "Bob"), "recording"),
        incoming.PresenceSignal("a", Sender("bob", "Bob"), "offline", NOW),
        incoming.ConnectionSignal("logged_out", "Removed on the phone"),
    ]
    assert body.contacts == [incoming.Contact("a", "Ann", ["b", "c"]), incoming.Contact("d")]


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"updates": [{"messageId": "m1"}]}, "#/updates/0"),
        ({"updates": [{"status": "read"}]}, "#/updates/0/messageId"),
        ({"updates": [{"messageId": "m1", "status": "received"}]}, "#/updates/0/status"),
        ({"updates": [{"messageId": "m1", "text": ""}]}, "#/updates/0/text"),
        ({"updates": [{"messageId": "m1", "deleted": False}]}, "#/updates/0/deleted"),
        ({"updates": [{"messageId": "m1", "reaction": {"sender": BOB}}]}, "#/updates/0/reaction/emoji"),
        ({"updates": [{"messageId": "m1", "receipt": {"by": "b", "status": "sent"}}]}, "#/updates/0/receipt/status"),
        ({"updates": [{"messageId": "m1", "status": "read", "error": {"code": "1", "title": "x"}}]},
         "#/updates/0/error"),
        ({"updates": [{"messageId": "m1", "text": "x", "seq": 1}]}, "#/updates/0/seq"),
        ({"updates": {}}, "#/updates"),
        ({"updates": []}, "#/updates"),
        ({"signals": [{"type": "typing", "chatId": "a", "sender": BOB, "action": "x"}]}, "#/signals/0/action"),
        ({"signals": [{"type": "other"}]}, "#/signals/0/type"),
        ({"signals": [{"type": []}]}, "#/signals/0/type"),
        ({"signals": [1]}, "#/signals/0"),
        ({"contacts": [{"name": "x"}]}, "#/contacts/0/id"),
        ({"contacts": [{"id": "a", "aliases": [1]}]}, "#/contacts/0/aliases/0"),
        ({"contacts": [], "messages": [], "else": 1}, "#/else"),
        ({"messages": [{"chatId": "a", "text": "x", "type": "reaction"}]}, "#/messages/0/type"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(lists: Any, expected: str) -> None:
    """One wrong item refuses the body."""
    assert pointers(lists) == [expected]


def test_as_many_as_fit() -> None:
    """500 items in all, whatever their kinds."""
    update, message = {"messageId": "m1", "text": "x"}, {"chatId": "a", "text": "x"}
    body = load({"updates": [update] * 250, "messages": [message] * 250})
    assert (len(body.updates), len(body.messages)) == (250, 250)
    assert pointers({"updates": [update] * 251, "messages": [message] * 250}) == ["#"]
    assert pointers({"updates": [], "messages": []}) == ["#"]


def test_preview() -> None:
    """A preview is a small picture of a kind that pages can show, and nothing else."""

    def media(preview: str) -> object:
        return {"chatId": "a", "media": {"url": "https://a.example/b.jpg", "preview": preview}}

    def data(size: int, kind: str = "image/jpeg") -> str:
        return f"data:{kind};base64,{base64.b64encode(bytes(size)).decode()}"

    (message,) = load(media(data(MAX_PREVIEW_BYTES))).messages
    assert message.media is not None
    assert message.media.preview == data(MAX_PREVIEW_BYTES)
    for wrong in (
        data(MAX_PREVIEW_BYTES + 1),
        data(10, "image/svg+xml"),
        data(10, "text/html"),
        data(0),
        "data:image/png;base64,AAA",
        "data:image/png,x",
        "https://a.example/b.jpg",
    ):
        assert pointers(media(wrong)) == ["#/media/preview"]
