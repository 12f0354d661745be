"""For any JSON, a provider's parser returns only storable data, and never raises."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.providers import PROVIDERS, Parsed
from app.providers.reasons import REASONS
from tests.providers.test_baileys import JUNK, NOW, check_id, check_media, check_text, paths

DAYS = {path.stem: json.loads(path.read_text()) for path in Path(__file__).parent.glob("payloads/days/*.json")}
PLACES = [(name, path) for name, payloads in DAYS.items() for path in paths(payloads) if path]


def check(parsed: Parsed) -> None:
    assert set(parsed.skipped) <= REASONS.keys()
    assert all(count > 0 for count in parsed.skipped.values())
    for message in parsed.messages:
        for one in (message.message_id, message.chat_id, message.sender.id):
            check_id(one)
        check_text(message.sender.name, 256)
        check_text(message.text, 65_536)
        if message.media is not None:
            check_media(message.media)
            assert message.media.preview is None or message.media.preview.startswith("data:image/")
        assert message.timestamp.tzinfo is not None
    for update in parsed.updates:
        check_id(update.message_id)
        if update.chat_id is not None:
            check_id(update.chat_id)
        if update.error is not None:
            check_text(update.error.code, 65_536)
            check_text(update.error.title, 65_536)
        if update.reaction is not None:
            check_id(update.reaction.sender.id)
            check_text(update.reaction.emoji, 256)
        if update.receipt is not None:
            check_id(update.receipt.by)
    for contact in parsed.contacts:
        check_id(contact.id)
        check_text(contact.name, 256)
    for read in parsed.reads:
        check_id(read.chat_id)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=1, max_size=3))
def test_junk_in_any_place_of_a_day(changes: list[tuple[tuple[str, tuple[Any, ...]], Any]]) -> None:
    """Any values of a real payload replaced by anything."""
    (name, first), _ = changes[0]
    payload = copy.deepcopy(DAYS[name][first[0]])
    for (_, path), junk in changes:
        node: Any = payload
        for step in path[1:-1]:
            if not isinstance(node, dict) or step not in node:
                break
            node = node[step]
        if isinstance(node, dict):
            node[str(path[-1])] = junk  # a place of another provider's day may be in a list
    check(PROVIDERS[name].parse(payload, "shop", NOW, {"106": "shop", "107": None}))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("source", PROVIDERS)
@settings(max_examples=100, deadline=None)
@given(ANYTHING)
def test_any_json(source: str, payload: Any) -> None:
    """JSON that does not look like a payload is skipped, with the reason."""
    parsed = PROVIDERS[source].parse(payload, "shop", NOW)
    check(parsed)
    assert not parsed.messages
    assert parsed.skipped or payload == []


@pytest.mark.parametrize("source", PROVIDERS)
def test_the_same_junk_in_every_place_of_a_day(source: str) -> None:
    """Each node of each payload replaced in turn."""
    for junk in (None, True, [], {}, "x", -1, 10**100, float("nan"), "\ud83d", ["x"], {"a": {}}):
        for name, path in PLACES:
            if name == source and len(path) > 1:
                payload = copy.deepcopy(DAYS[name][path[0]])
                node: Any = payload
                for step in path[1:-1]:
                    node = node[step]
                node[path[-1]] = junk
                check(PROVIDERS[source].parse(payload, "shop", NOW))
