"""JSON as it comes in: what is refused, and what is merely odd."""

from __future__ import annotations

import json as standard
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import json_input
from app.errors import AppError

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(_values)
def test_what_is_json_is_read(value: Any) -> None:
    """Every value comes in as it went out, in both readings."""
    body = standard.dumps(value).encode()
    assert json_input.loads(body) == value
    assert json_input.loads_provider(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"not json",
        b"{",
        b'{"a": 1,}',
        b"{'a': 1}",
        b"[1] [2]",
        b"NaN",
        b'{"a": Infinity}',
        b"[-Infinity]",
        b'"\xff\xfe"',
        b'"\xed\xa0\x80"',
        b'{"a": "\x01"}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b"1" * 5000,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    """What is not JSON, not UTF-8, or nested beyond all use is malformed, and says no more than where."""
    with pytest.raises(AppError) as error:
        json_input.loads(body)
    assert error.value.code == "malformed"
    assert len(error.value.detail) < 100


def test_depth() -> None:
    """64 levels are taken, 65 are not."""
    assert json_input.loads(b"[" * 64 + b"]" * 64)
    with pytest.raises(AppError, match="deeper than 64"):
        json_input.loads(b"[" * 65 + b"]" * 65)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'"\\ud83d"', "\ud83d"),
        (b'["\\udc00"]', ["\udc00"]),
        (b"1" * 100, float("1" * 100)),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"__proto__": {"a": 1}}', {"__proto__": {"a": 1}}),
        (b"[" + b"0," * 1_000_000 + b"0]", [0] * 1_000_001),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_what_is_odd_is_read(body: bytes, value: Any) -> None:
    """Lone surrogates and long integers are well-formed; what they mean is for the schemas to say."""
    assert json_input.loads(body) == value


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'"a\xffb"', "a\ufffdb"),
        (b'{"a": NaN, "b": [Infinity, -Infinity]}', {"a": None, "b": [None, None]}),
        (b'"\\ud83d"', "\ud83d"),
        (b"[" * 100 + b"]" * 100, standard.loads("[" * 100 + "]" * 100)),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_provider_may_send_odd_things(body: bytes, value: Any) -> None:
    """A provider's body is read though bytes of it are no UTF-8, and numbers of it no numbers."""
    assert json_input.loads_provider(body) == value


@pytest.mark.parametrize("body", [b"", b"not json", b"{", b"[" * 100_000], ids=lambda body: repr(body[:12]))
def test_a_provider_must_send_json(body: bytes) -> None:
    """What is no JSON at all is malformed from a provider too."""
    with pytest.raises(AppError) as error:
        json_input.loads_provider(body)
    assert error.value.code == "malformed"


@pytest.mark.parametrize("loads", [json_input.loads, json_input.loads_provider])
def test_the_number_of_values_is_bounded(loads: Any) -> None:
    """Too many values are refused, of whatever kind, before any is built; commas and brackets in texts are none."""
    assert loads(b'{"a": [1, 2, {"b": [0]}]}', 7) == {"a": [1, 2, {"b": [0]}]}
    texts = b'{"a,[{": "' + b",[{" * 1_000 + b'", "\\"[": "\\\\"}'
    assert loads(texts, 3) == {"a,[{": ",[{" * 1_000, '"[': "\\"}
    for body in (b"[" + b"0," * 10 + b"0]", b"[" + b"[]," * 10 + b"0]", b'{"a":' * 11 + b"0" + b"}" * 11):
        with pytest.raises(AppError) as error:
            loads(body, 10)
        assert error.value.code == "too_large"
    tracemalloc.start()
    hostile = b"[" + b"[]," * 5_000_000 + b"[]]"
    strings = b"[" + b'"",' * 5_000_000 + b'""]'
    before, _ = tracemalloc.get_traced_memory()
    for body in (hostile, strings):
        with pytest.raises(AppError, match="more than 500000 values"):
            loads(body, 500_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before < 20_000_000
