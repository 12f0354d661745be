"""What the webhook and the sockets take, and where they say the fault is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import posted, schemas
from app.domain.events import format_time
from app.domain.models import IncomingMessage, Media, Position, ReplyTo, Sender
from app.errors import AppError

NOW = datetime(2026, 2, 6, 12, 4, tzinfo=UTC)
MEDIA = {"url": "https://example.com/a.jpg"}


def load(**fields: Any) -> IncomingMessage:
    return schemas.load_message({"chatId": "a", "text": "hi"} | fields, "shop", NOW)


def pointers(body: object) -> list[str]:
    with pytest.raises(AppError) as error:
        posted.load_body(body, "shop", NOW)
    assert error.value.code == "invalid"
    assert all(fault.detail for fault in error.value.faults)
    return [fault.pointer for fault in error.value.faults]


def test_defaults() -> None:
    """Of a message only chatId and text are needed; everything else is as the contract says."""
    made = schemas.load_message({"chatId": "a", "text": "hi"}, "shop", NOW)
    assert 1 <= len(made.message_id) <= 64
    assert made == IncomingMessage(
        message_id=made.message_id,
        chat_id="a",
        from_me=False,
        sender=Sender("a"),
        type="text",
        text="hi",
        media=None,
        reply_to=None,
        status="received",
        timestamp=NOW,
    )
    assert load().message_id != load().message_id


def test_defaults_of_our_own() -> None:
    """A message from us is from the session, and sent."""
    ours = load(fromMe=True)
    assert (ours.sender, ours.status) == (Sender("shop"), "sent")


def test_defaults_with_media() -> None:
    """With media the type is document, and no text is needed; an empty one is none."""
    assert load(media=MEDIA).type == "document"
    only = schemas.load_message({"chatId": "a", "media": MEDIA, "text": ""}, "shop", NOW)
    assert (only.type, only.text, only.media) == ("document", None, Media("https://example.com/a.jpg"))


def test_all_fields() -> None:
    """Every field is taken as it is given."""
    media = MEDIA | {"mimeType": "image/jpeg", "fileName": "a.jpg", "size": 1, "width": 2, "height": 3}
    message = load(
        messageId="m1",
        fromMe=True,
        sender={"id": "x", "name": "X"},
        type="image",
        media=media | {"durationSeconds": 1.5},
        replyTo={"messageId": "m0", "senderId": None, "text": "before"},
        status="read",
        timestamp="2026-02-06T13:04:00.1239+01:00",
        chatName="Name",
    )
    assert message == IncomingMessage(
        message_id="m1",
        chat_id="a",
        from_me=True,
        sender=Sender("x", "X"),
        type="image",
        text="hi",
        media=Media("https://example.com/a.jpg", "image/jpeg", "a.jpg", 1, 2, 3, 1.5),
        reply_to=ReplyTo("m0", None, "before"),
        status="read",
        timestamp=datetime(2026, 2, 6, 12, 4, 0, 123000, UTC),
        chat_name="Name",
    )


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-02-06T12:04:00Z", "2026-02-06T12:04:00.000Z"),
        ("2026-02-06T12:04:00.5Z", "2026-02-06T12:04:00.500Z"),
        ("2026-02-06T12:04:00,123456789Z", "2026-02-06T12:04:00.123Z"),
        ("2026-02-06t12:04z", "2026-02-06T12:04:00.000Z"),
        ("2026-02-06 12:04:00", "2026-02-06T12:04:00.000Z"),
        ("2026-02-06T12:04:00-0330", "2026-02-06T15:34:00.000Z"),
        (1770379440, "2026-02-06T12:04:00.000Z"),
        (1770379440.25, "2026-02-06T12:04:00.250Z"),
        (1770379440123, "2026-02-06T12:04:00.123Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times(value: Any, time: str) -> None:
    """Times come in ISO 8601, in seconds or in milliseconds, and go out as ISO 8601 in UTC with milliseconds."""
    assert format_time(load(timestamp=value).timestamp) == time


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "",
        "1770379440",
        "2026-02-30T00:00:00Z",
        "2026-02-06",
        "2026-02-06T25:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
        "2026-02-06T12:04:00+99:99",
        -1,
        10**18,
        10**100,
        1e300,
        True,
        None,
        [],
        {"$date": 1},
    ],
)
def test_what_is_no_time(value: Any) -> None:
    """What is no time is refused, whatever it is."""
    assert pointers({"chatId": "a", "text": "hi", "timestamp": value}) == ["#/timestamp"]


STRINGS = {
    "chatId": lambda v: {"chatId": v},
    "messageId": lambda v: {"messageId": v},
    "text": lambda v: {"text": v},
    "type": lambda v: {"type": v},
    "status": lambda v: {"status": v},
    "chatName": lambda v: {"chatName": v},
    "sender/id": lambda v: {"sender": {"id": v}},
    "sender/name": lambda v: {"sender": {"id": "x", "name": v}},
    "media/url": lambda v: {"media": {"url": v}},
    "media/mimeType": lambda v: {"media": MEDIA | {"mimeType": v}},
    "media/fileName": lambda v: {"media": MEDIA | {"fileName": v}},
    "replyTo/messageId": lambda v: {"replyTo": {"messageId": v}},
    "replyTo/senderId": lambda v: {"replyTo": {"messageId": "m", "senderId": v}},
    "replyTo/text": lambda v: {"replyTo": {"messageId": "m", "text": v}},
}
"""Every field that is a string."""


@pytest.mark.parametrize("field", STRINGS)
@pytest.mark.parametrize("value", [{"$ne": 1}, ["x"], 1, True, 1.5, "\ud83d"], ids=repr)
def test_only_strings_where_strings_are(field: str, value: Any) -> None:
    """An object, a list, a number or a lone surrogate in place of a string is refused, and the place is told."""
    assert pointers({"chatId": "a", "text": "hi"} | STRINGS[field](value)) == [f"#/{field}"]


@pytest.mark.parametrize("field", ["fromMe", "sender", "media", "replyTo"])
@pytest.mark.parametrize("value", ["true", 1, 0, ["x"]], ids=repr)
def test_only_what_fits_elsewhere(field: str, value: Any) -> None:
    """What is no boolean or no object where one is due is refused."""
    (pointer,) = pointers({"chatId": "a", "text": "hi", field: value})
    assert pointer.startswith(f"#/{field}")


@pytest.mark.parametrize("field", ["size", "width", "height", "durationSeconds"])
@pytest.mark.parametrize("value", ["1", -1, True, 2**53, 10**100, 1e99, ["x"], {"$gt": 0}], ids=repr)
def test_numbers(field: str, value: Any) -> None:
    """A number is a number from 0 to what every client can read."""
    assert pointers({"chatId": "a", "media": MEDIA | {field: value}}) == [f"#/media/{field}"]


@pytest.mark.parametrize("value", ["", ".", "..", "a\nb", "\x00", "\x7f", "\x85", "x" * 257])
@pytest.mark.parametrize("field", ["chatId", "messageId", "sender/id", "replyTo/messageId", "replyTo/senderId"])
def test_ids(field: str, value: str) -> None:
    """An id has 1 to 256 characters, no control characters, and is neither '.' nor '..'."""
    assert pointers({"chatId": "a", "text": "hi"} | STRINGS[field](value)) == [f"#/{field}"]


@pytest.mark.parametrize("value", ["x" * 256, "…@lid", "a b", "a/b", "%2F", "$ne", "__proto__", "家族 👪", "..."])
def test_odd_ids(value: str) -> None:
    """An id may be any other text."""
    assert load(chatId=value, messageId=value).chat_id == value


def test_lengths() -> None:
    """A text has up to 65,536 characters, a name up to 256, and no more."""
    assert load(text="é" * 65_536, chatName="x" * 256)
    assert pointers({"chatId": "a", "text": "x" * 65_537}) == ["#/text"]
    assert pointers({"chatId": "a", "text": "x", "chatName": "x" * 257}) == ["#/chatName"]
    assert pointers({"chatId": "a", "text": "x", "sender": {"id": "x", "name": "x" * 257}}) == ["#/sender/name"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.jpg",
        "//example.com/a",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://example.com/",
        "https://",
        "https:///a",
        "http://[::1",
        "https://exa mple.com/",
        "https://example.com/\n",
        "java\nscript:alert(1)",
    ],
)
def test_media_url(url: str) -> None:
    """Media is at a http or https address and nowhere else."""
    assert pointers({"chatId": "a", "media": {"url": url}}) == ["#/media/url"]


@pytest.mark.parametrize(
    "body",
    [
        {"chatId": "a"},
        {"chatId": "a", "text": ""},
        {"chatId": "a", "text": None},
        {"chatId": "a", "media": None},
        {"chatId": "a", "text": None, "media": None},
    ],
)
def test_text_or_media(body: Any) -> None:
    """A message without text and media is refused."""
    assert pointers(body) == ["#"]


@pytest.mark.parametrize("key", ["seq", "updatedSeq", "sessionId", "receivedAt", "__proto__", "$where", "a/b~c", "ü"])
def test_unknown_fields(key: str) -> None:
    """Unknown fields are refused, those that the server makes too; the pointer is escaped (RFC 6901)."""
    escaped = {"a/b~c": "a~1b~0c", "ü": "%C3%BC"}.get(key, key)
    assert pointers({"chatId": "a", "text": "hi", key: 1}) == [f"#/{escaped}"]
    assert pointers({"messages": [{"chatId": "a", "text": "hi"}], key: 1}) == [f"#/{escaped}"]
    assert pointers({"chatId": "a", "text": "hi", "sender": {"id": "x", key: 1}}) == [f"#/sender/{escaped}"]


def test_status() -> None:
    """A message of others was received; one of ours never was."""
    assert pointers({"chatId": "a", "text": "hi", "status": "sent"}) == ["#/status"]
    assert pointers({"chatId": "a", "text": "hi", "status": "received", "fromMe": True}) == ["#/status"]
    for status in ("pending", "sent", "delivered", "read", "played", "failed"):
        assert load(fromMe=True, status=status).status == status


@pytest.mark.parametrize("body", [None, 1, "x", [], [{"chatId": "a", "text": "hi"}], True], ids=repr)
def test_body_is_an_object(body: Any) -> None:
    """A body is one object."""
    assert pointers(body) == ["#"]


def test_several() -> None:
    """1 to 500 messages are taken in their order; none, 501, or what is no list is refused."""
    several = [{"chatId": "a", "text": str(n)} for n in range(500)]
    loaded = posted.load_body({"messages": several}, "shop", NOW).messages
    assert [message.text for message in loaded] == [str(n) for n in range(500)]
    for wrong in ([], [*several, several[0]], {}, None, "x", {"0": several[0]}):
        assert pointers({"messages": wrong}) == ["#/messages"]


def test_faults_of_several() -> None:
    """Every fault is told with its place, though no more than a hundred."""
    good = {"chatId": "a", "text": "hi"}
    assert pointers({"messages": [good, {"text": "x"}, good, 1, {"chatId": 2, "text": 3}]}) == [
        "#/messages/1/chatId",
        "#/messages/3",
        "#/messages/4/chatId",
        "#/messages/4/text",
    ]
    assert len(pointers({"messages": [{}] * 500})) == 100


@pytest.mark.parametrize("value", ["shop", "A-Z_0.9:@x", "a" * 64, "...", "5511@s.whatsapp.net"])
def test_session_id(value: str) -> None:
    """A sessionId is 1 to 64 of the characters that the contract names."""
    schemas.check_session_id(value)


@pytest.mark.parametrize("value", ["", ".", "..", "a" * 65, "a b", "a/b", "ü", "a\n", "*", "$"])
def test_no_session_id(value: str) -> None:
    """Everything else is no sessionId."""
    with pytest.raises(AppError, match="invalid"):
        schemas.check_session_id(value)


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        ({}, "#/sessionId"),
        ({"sessionId": 1}, "#/sessionId"),
        ({"sessionId": ["x"]}, "#/sessionId"),
        ({"sessionId": "a", "chatId": {"$ne": 1}}, "#/chatId"),
        ({"sessionId": "a", "position": 1}, "#/position"),
        ({"sessionId": "a", "position": {"seq": 1}}, "#/position/epoch"),
        ({"sessionId": "a", "position": {"epoch": "e"}}, "#/position/seq"),
        ({"sessionId": "a", "position": {"epoch": "e", "seq": -1}}, "#/position/seq"),
        ({"sessionId": "a", "position": {"epoch": "e", "seq": "1"}}, "#/position/seq"),
        ({"sessionId": "a", "position": {"epoch": "e", "seq": True}}, "#/position/seq"),
        ({"sessionId": "a", "position": {"epoch": "e", "seq": 1.0}}, "#/position/seq"),
        ({"sessionId": "a", "position": {"epoch": "e", "seq": 1, "x": 1}}, "#/position/x"),
        ({"sessionId": "a", "room": "b"}, "#/room"),
        ([], "#"),
        (None, "#"),
        ("x", "#"),
    ],
)
def test_subscribe(payload: Any, pointer: str) -> None:
    """A wrong subscribe is refused, and the place is told."""
    with pytest.raises(AppError) as error:
        schemas.load(schemas.SubscribeSchema(), payload)
    assert [fault.pointer for fault in error.value.faults] == [pointer]


def test_position() -> None:
    """A position is the epoch and the number, or is left out."""
    payload = schemas.load(
        schemas.SubscribeSchema(), {"sessionId": "a", "chatId": None, "position": {"epoch": "e", "seq": 0}}
    )
    assert schemas.load_position(payload["position"]) == Position("e", 0)
    assert schemas.load_position(None) is None


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud83d", "https://a.b/"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(["id", "name", "url", "messageId"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_fields = st.sampled_from([*schemas.MessageSchema().fields, "seq", "x"])


@settings(max_examples=300, deadline=None)
@given(_json | st.dictionaries(_fields, _json, max_size=6) | st.fixed_dictionaries({"messages": _json}))
def test_nothing_else_is_raised(body: Any) -> None:
    """Whatever a body is, it is loaded, or refused as invalid with a place that can be sent."""
    try:
        messages = posted.load_body(body, "shop", NOW).messages
    except AppError as error:
        code, faults = error.code, error.faults
    else:
        for message in messages:
            assert message.text is None or message.text.encode()
            assert len(format_time(message.timestamp)) == 24
        return
    assert code == "invalid"
    assert 1 <= len(faults) <= 100
    for fault in faults:
        assert fault.pointer.isascii()
        assert fault.detail.encode()
