"""The general reader: extracts the text of unknown kinds of messages, so that they are not empty."""

from __future__ import annotations

import json
from typing import Any, Final

from app.domain.models import MAX_TEXT
from app.providers.values import as_dict, as_text
from app.providers.words import MAX_ITEMS, Node, lines

MAX_DEPTH: Final = 6
MAX_PARAMETERS: Final = 65_536
"""Maximum length of JSON in a text field that is parsed."""

_WORDS: Final = (
    "header",
    "title",
    "name",
    "subject",
    "text",
    "caption",
    "body",
    "contentText",
    "hydratedContentText",
    "messageText",
    "description",
    "comment",
    "footer",
    "footerText",
    "displayText",
    "display_text",
    "label",
)
_PARAMETERS: Final = ("paramsJson", "buttonParamsJson", "messageParamsJson")


def read(node: object) -> str | None:
    """The texts in the usual fields, in the order in which a person would see them."""
    found: list[str] = []
    _collect(node, found, 0)
    return lines(*found)


def parameters(value: object) -> Node:
    """An object written as JSON in a text. Empty if it is not one."""
    if not isinstance(value, str) or not value.lstrip().startswith("{") or len(value) > MAX_PARAMETERS:
        return {}
    try:
        return as_dict(json.loads(value))
    except (ValueError, RecursionError):
        return {}


def _collect(value: object, found: list[str], depth: int) -> None:
    if depth > MAX_DEPTH or len(found) >= MAX_ITEMS:
        return
    if isinstance(value, list):
        for inner in value[:MAX_ITEMS]:
            _collect(inner, found, depth + 1)
        return
    if not isinstance(value, dict):
        return
    for name in _WORDS:
        text = value.get(name)
        if isinstance(text, str):
            _add(text, found)
        else:
            _collect(text, found, depth + 1)
    for name in _PARAMETERS:
        _collect(parameters(value.get(name)), found, depth + 1)
    for name, inner in list(value.items())[:MAX_ITEMS]:
        if isinstance(inner, dict | list) and name not in _WORDS and name not in ("contextInfo", "key"):
            _collect(inner, found, depth + 1)


def _add(value: Any, found: list[str]) -> None:
    text = as_text(value, MAX_TEXT)
    if text and not text.isspace() and text not in found and len(found) < MAX_ITEMS:
        found.append(text)
