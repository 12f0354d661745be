"""Text is cut where a reader would cut it."""

from __future__ import annotations

import pytest

from app.domain.graphemes import LONGEST_CLUSTER, cut

FAMILY = "👨\u200d👩\u200d👧"


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [
        ("short", 10, "short"),
        ("abcdef", 3, "abc"),
        ("abe\u0301f", 3, "ab"),
        ("ab" + FAMILY, 4, "ab"),
        ("a👍🏽b", 2, "a"),
        ("🇵🇹🇧🇷", 3, "🇵🇹"),
        ("a🇵🇹", 2, "a"),
        ("ab\r\ncd", 3, "ab"),
        ("a❤\ufe0fb", 2, "a"),
        ("한글", 1, "한"),
        ("\u1112\u1161\u11ab!", 2, ""),
        ("नमस्ते", 3, "नम"),
        ("x" * 5, 0, ""),
    ],
)
def test_cut(text: str, longest: int, expected: str) -> None:
    """Marks, joined emoji, skin tones, flags, syllables and line ends stay whole, or go whole."""
    got = cut(text, longest)
    assert got == (expected or text[:longest])
    assert len(got) <= longest


def test_a_cluster_without_an_end() -> None:
    """What is joined without an end is cut all the same, after a bounded look."""
    text = "a" + "\u0301" * 1000
    assert cut(text, 500) == text[:500]
    assert len(cut(text, LONGEST_CLUSTER - 1)) == LONGEST_CLUSTER - 1
