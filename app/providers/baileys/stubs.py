"""Baileys' stubs: messages without content that report an event, such as somebody joining a group.

The policy: the event becomes a `system` message in plain English, with people's numbers if they are known. An unknown
type is a `system` message without text. Types 0 to 3 and 68 are messages with missing content (not decrypted yet, too
large …); these are stored without content, to be completed later.
"""

from __future__ import annotations

import json
from typing import Final

from app.domain.models import MAX_NAME, MAX_TEXT
from app.providers.addresses import best_of, phone_of
from app.providers.baileys.kinds import Content, NoMessage
from app.providers.baileys.stub_types import NAMED, NAMES, NO_CONTENT, REVOKES, TEXTS
from app.providers.values import as_count, as_dict, as_list, as_name, as_text

MAX_PEOPLE: Final = 100


def read_stub(kind: object, parameters: object) -> Content | NoMessage | None:
    """Read a stub. None: the content is missing (so far), or it is not a stub."""
    number = _number(kind)
    if number is None:
        return Content("system") if isinstance(kind, str) and kind.isupper() else None
    if number in NO_CONTENT:
        return None
    if number in REVOKES:
        return NoMessage("revoke")
    template = TEXTS.get(number)
    if template is None:
        return Content("system")
    words = f"“{subject}”" if (subject := _first(parameters)) else ""
    text = template.format(words=words, people=_people(parameters)).replace("  ", " ").strip()
    return Content("system", as_text(text[:1].upper() + text[1:], MAX_TEXT))


def is_revoke(kind: object) -> bool:
    """Whether the stub reports that the message was deleted for everyone."""
    return _number(kind) in REVOKES


def is_placeholder(kind: object) -> bool:
    """Whether the content is missing: not decrypted, too new, or too large."""
    return _number(kind) in NO_CONTENT[1:]


def group_name(kind: object, parameters: object) -> str | None:
    """The group's name, if the stub has it."""
    return as_name(_first(parameters)) if _number(kind) in NAMED else None


def _number(kind: object) -> int | None:
    return NAMES.get(kind, as_count(kind)) if isinstance(kind, str) else as_count(kind)


def _first(parameters: object) -> str | None:
    values = as_list(parameters)
    return as_text(values[0], MAX_NAME) if values else None


def _people(parameters: object) -> str:
    phones = []
    for value in as_list(parameters)[:MAX_PEOPLE]:
        phone = phone_of(_address(value))
        if phone is None:
            return "somebody" if len(as_list(parameters)) == 1 else "some people"
        phones.append(phone)
    return ", ".join(phones) or "somebody"


def _address(parameter: object) -> str | None:
    """A person in a stub: an address, or (version 7) an object written as JSON."""
    person: object = parameter
    if isinstance(parameter, str) and parameter.startswith("{") and len(parameter) <= 1_024:
        try:
            person = json.loads(parameter)
        except (ValueError, RecursionError):
            return None
    if isinstance(person, dict):
        fields = as_dict(person)
        return best_of(fields.get("phoneNumber"), fields.get("id"), fields.get("lid"))
    return best_of(person)
