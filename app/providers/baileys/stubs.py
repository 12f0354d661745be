"""Baileys' stubs: messages without content that say what has happened, such as somebody joining a group.

The policy: what an agent wants to know becomes a `system` message in plain English, people named by their numbers where
these are told; the rest is a `system` message without words. Types 0 to 3 and 68 are messages whose content is not
there (could not be decrypted yet, too large …): those stay without content, so that it can complete them.
"""

from __future__ import annotations

import json
from typing import Final

from app.domain.models import MAX_NAME, MAX_TEXT
from app.providers.baileys.addresses import best_of, phone_of
from app.providers.baileys.content import Content, NoMessage
from app.providers.values import as_count, as_dict, as_list, as_text

MAX_PEOPLE: Final = 100

_NO_CONTENT: Final = (0, 2, 3, 68)
_REVOKE: Final = 1
_NAMED: Final = (20, 21)

_TEXTS: Final[dict[int, str]] = {
    20: "The group {words} was created",
    21: "The group is now named {words}",
    22: "The group's picture was changed",
    23: "The group's invitation link was changed",
    24: "The group's description was changed",
    25: "Who may change the group's settings was changed",
    26: "Who may write in the group was changed",
    27: "{people} joined the group",
    28: "Removed from the group: {people}",
    29: "Made admin: {people}",
    30: "No longer admin: {people}",
    31: "Invited to the group: {people}",
    32: "{people} left the group",
    33: "Changed the phone number: {people}",
    38: "The security code was changed",
    40: "Missed voice call",
    41: "Missed video call",
    42: "The phone number was changed",
    43: "The group was deleted",
    45: "Missed group voice call",
    46: "Missed group video call",
    71: "Asked to join the group: {people}",
    72: "The time after which messages disappear was changed",
}

_NAMES: Final[dict[str, int]] = {
    "UNKNOWN": 0,
    "REVOKE": 1,
    "CIPHERTEXT": 2,
    "FUTUREPROOF": 3,
    "GROUP_CREATE": 20,
    "GROUP_CHANGE_SUBJECT": 21,
    "GROUP_CHANGE_ICON": 22,
    "GROUP_CHANGE_INVITE_LINK": 23,
    "GROUP_CHANGE_DESCRIPTION": 24,
    "GROUP_CHANGE_RESTRICT": 25,
    "GROUP_CHANGE_ANNOUNCE": 26,
    "GROUP_PARTICIPANT_ADD": 27,
    "GROUP_PARTICIPANT_REMOVE": 28,
    "GROUP_PARTICIPANT_PROMOTE": 29,
    "GROUP_PARTICIPANT_DEMOTE": 30,
    "GROUP_PARTICIPANT_INVITE": 31,
    "GROUP_PARTICIPANT_LEAVE": 32,
    "GROUP_PARTICIPANT_CHANGE_NUMBER": 33,
    "E2E_IDENTITY_CHANGED": 38,
    "CALL_MISSED_VOICE": 40,
    "CALL_MISSED_VIDEO": 41,
    "INDIVIDUAL_CHANGE_NUMBER": 42,
    "GROUP_DELETE": 43,
    "CALL_MISSED_GROUP_VOICE": 45,
    "CALL_MISSED_GROUP_VIDEO": 46,
    "OVERSIZED": 68,
    "GROUP_PARTICIPANT_ADD_REQUEST_JOIN": 71,
    "CHANGE_EPHEMERAL_SETTING": 72,
}
"""The types as they are written where a message was made JSON by its own class; as numbers elsewhere."""


def read_stub(kind: object, parameters: object) -> Content | NoMessage | None:
    """None: no content (yet), or no stub at all."""
    number = _number(kind)
    if number is None:
        return Content("system") if isinstance(kind, str) and kind.isupper() else None
    if number in _NO_CONTENT:
        return None
    if number == _REVOKE:
        return NoMessage("revoke")
    template = _TEXTS.get(number)
    if template is None:
        return Content("system")
    words = f"“{subject}”" if (subject := _first(parameters)) else ""
    text = template.format(words=words, people=_people(parameters)).replace("  ", " ").strip()
    return Content("system", as_text(text[:1].upper() + text[1:], MAX_TEXT))


def group_name(kind: object, parameters: object) -> str | None:
    """The group's name, from the stubs that tell it."""
    return _first(parameters) if _number(kind) in _NAMED else None


def _number(kind: object) -> int | None:
    return _NAMES.get(kind, as_count(kind)) if isinstance(kind, str) else as_count(kind)


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
