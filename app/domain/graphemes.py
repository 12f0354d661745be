"""Cutting text between grapheme clusters.

Implements the parts of Unicode's annex 29 that people use: marks, joined emoji, skin tones, flags, Hangul, line ends.
"""

from __future__ import annotations

import unicodedata
from typing import Final

LONGEST_CLUSTER: Final = 64
"""Maximum number of characters to look back, because a cluster may have any length."""

_JOINER: Final = "\u200d"
_EXTENDING: Final = frozenset(
    {_JOINER, "\u200c", *map(chr, range(0x1F3FB, 0x1F400)), *map(chr, range(0xE0020, 0xE0080))}
)


def cut(text: str, longest: int) -> str:
    """The text, cut after the last whole cluster if it has more than `longest` characters."""
    if len(text) <= longest:
        return text
    if text[: longest + 1].isascii():
        return text[: longest - 1] if longest and text[longest - 1 : longest + 1] == "\r\n" else text[:longest]
    for end in range(longest, max(0, longest - LONGEST_CLUSTER), -1):
        if _is_boundary(text, end):
            return text[:end]
    return text[:longest]


def _is_boundary(text: str, at: int) -> bool:
    before, after = text[at - 1], text[at]
    if after in _EXTENDING or unicodedata.category(after) in ("Mn", "Me", "Mc"):
        return False
    if before == _JOINER or (before == "\r" and after == "\n"):
        return False
    if _is_flag_letter(before) and _is_flag_letter(after):
        first = at
        while first > 0 and at - first < LONGEST_CLUSTER and _is_flag_letter(text[first - 1]):
            first -= 1
        return (at - first) % 2 == 0
    return not _joins_hangul(ord(before), ord(after))


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _joins_hangul(before: int, after: int) -> bool:
    """Whether leading consonants, vowels and trailing consonants join into one syllable block."""
    leading, vowel = 0x1100 <= before < 0x1160, 0x1160 <= before < 0x11A8
    whole = 0xAC00 <= before < 0xD7A4
    if leading:
        return 0x1100 <= after < 0x11A8 or 0xAC00 <= after < 0xD7A4
    if whole and (before - 0xAC00) % 28 == 0:
        vowel = True
    if vowel:
        return 0x1160 <= after < 0x1200
    return (whole or 0x11A8 <= before < 0x1200) and 0x11A8 <= after < 0x1200
