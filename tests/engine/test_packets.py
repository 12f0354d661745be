"""Socket.IO 5 packets, read strictly and written for everybody."""

import json
from typing import Any

import pytest

from app.engine import Limits, packets
from app.engine.packets import Partial, ProtocolError

LIMITS = Limits()


def decode(text: str) -> tuple[Any, ...]:
    return tuple(packets.decode(text, LIMITS))[:5]


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("0", ("0", 0, "/", None, None)),
        ('0{"token":"x"}', ("0", 0, "/", None, {"token": "x"})),
        ("0/admin,", ("0", 0, "/admin", None, None)),
        ("0/admin", ("0", 0, "/admin", None, None)),
        ('0/admin,{"a":1}', ("0", 0, "/admin", None, {"a": 1})),
        ("1", ("1", 0, "/", None, None)),
        ("1/admin,", ("1", 0, "/admin", None, None)),
        ('2["foo"]', ("2", 0, "/", None, ["foo"])),
        ('2/admin,["foo"]', ("2", 0, "/admin", None, ["foo"])),
        ('212["foo",1]', ("2", 0, "/", 12, ["foo", 1])),
        ('2/admin,12["foo"]', ("2", 0, "/admin", 12, ["foo"])),
        ("312[]", ("3", 0, "/", 12, [])),
        ('51-["a",{"_placeholder":true,"num":0}]', ("5", 1, "/", None, ["a", {"_placeholder": True, "num": 0}])),
        ('51-/n,12["a",{"_placeholder":true,"num":0}]', ("5", 1, "/n", 12, ["a", {"_placeholder": True, "num": 0}])),
        ('61-/n,13[{"_placeholder":true,"num":0}]', ("6", 1, "/n", 13, [{"_placeholder": True, "num": 0}])),
        ('2["a","\\ud800"]', ("2", 0, "/", None, ["a", "\ud800"])),
    ],
)
def test_packets_of_the_protocols_document_are_read(text: str, packet: tuple[Any, ...]) -> None:
    """Each form there is: namespace, id, data and attachments or not."""
    assert decode(text) == packet


@pytest.mark.parametrize(
    "text",
    [
        "", "7", "9[]", "a", "abc", "-1", "٣[]",
        "2", "2{}", "2[]", "2[1]", "2[null]", "2[[]]", '2"a"', '2["a"', '2["a"]x', '2["a",NaN]', '2["a",Infinity]',
        '2abc["a"]', '2-1["a"]', '21.5["a"]', '2/admin["a"]', '21234567890123456["a"]', '2 ["a"] x',
        '2["connect"]', '2["disconnect"]', '2["connect_error"]', '2["disconnecting"]', '2["newListener"]',
        '2["removeListener"]', '51-["connect"]',
        "3", "3[]", "312", "312{}", '3["a"]', "31{}",
        "4", '4{"message":"x"}', "0[]", "0null1", "01{}", '0"x"', "012", "1{}", "11", '1["a"]',
        '5["a"]', '5-["a"]', '5a-["a"]', '51["a"]', '511-["a"]', '599-["a"]', '54294967295-["a"]', '5-1-["a"]',
        '51-{"_placeholder":true,"num":0}', "51-", '21-["a"]', "61-[]",
    ],
)  # fmt: skip
def test_what_is_almost_a_packet_is_none(text: str) -> None:
    """Invalid types, counts, ids, names and JSON."""
    with pytest.raises(ProtocolError):
        decode(text)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_is_nested_as_deep_as_allowed_and_no_deeper(opening: str) -> None:
    """32 levels, the packet's own array among them; brackets in strings are none."""
    closing = "]" if opening == "[" else "}"
    decode('2["a",' + opening * 31 + "1" + closing * 31 + "]")
    decode('2["a","' + "[" * 1000 + '"]')
    for depth in (32, 900, 30_000):
        with pytest.raises(ProtocolError):
            decode('2["a",' + opening * depth + "1" + closing * depth + "]")


def test_attachments_are_put_where_they_belong() -> None:
    """In any depth, and only numbers that there are."""
    packet = packets.decode('52-["a",{"x":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":0}]', LIMITS)
    partial = Partial(packet)
    assert partial.add(b"0", LIMITS) is None
    whole = partial.add(b"1", LIMITS)
    assert whole is not None
    assert whole.data == ["a", {"x": [b"1"]}, b"0"]
    for num in ("1", "-1", '"0"', "null", "true", "0.0"):
        partial = Partial(packets.decode(f'51-["a",{{"_placeholder":true,"num":{num}}}]', LIMITS))
        with pytest.raises(ProtocolError):
            partial.add(b"0", LIMITS)


def test_attachments_count_against_the_packets_limit() -> None:
    """Ten of nearly the limit each would be ten times the limit."""
    partial = Partial(packets.decode('53-["a"]', LIMITS))
    assert partial.add(b"x" * 40_000, LIMITS) is None
    with pytest.raises(ProtocolError):
        partial.add(b"x" * 40_000, LIMITS)


def test_writing_takes_what_the_json_module_takes() -> None:
    """Large integers, lone surrogates, non-string keys and tuples; never invalid JSON."""
    data = {"big": 10**100, "lone": "\ud800", 5: (1, 2), "ok": "ä"}
    assert json.loads(packets.dumps(data)) == json.loads(json.dumps(data))
    for bad in (object(), {1, 2}):
        with pytest.raises(TypeError):
            packets.encode(packets.EVENT, data=["a", bad])
    with pytest.raises(ValueError, match="JSON"):
        packets.dumps([float("nan"), 10**100])


def test_binary_data_goes_behind_its_packet() -> None:
    """Placeholders are numbered in order; bytearray and memoryview are binary as well."""
    head, *rest = packets.encode(packets.ACK, "/n", 5, [{"x": b"0"}, (bytearray(b"1"), memoryview(b"2"))])
    assert head.payload == (
        b'463-/n,5[{"x":{"_placeholder":true,"num":0}},[{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]]'
    )
    assert [m.payload for m in rest] == [b"0", b"1", b"2"]
    assert [m.text for m in rest] == ["bMA==", "bMQ==", "bMg=="]
