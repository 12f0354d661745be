"""Names as people read them."""

from __future__ import annotations

import re
from typing import Final

_HIDES: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Unicode's Bidi_Control. Such characters can make `gpj.exe` look like `exe.jpg` (UTR 36, 2.7)."""
_BREAKS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def clean_name(text: str) -> str:
    """A person's, chat's or file's name without characters that change the direction of text. Line breaks and other
    control characters become spaces."""
    if text.isascii() and text.isprintable():
        return text
    return _BREAKS.sub(" ", _HIDES.sub("", text)).strip()
