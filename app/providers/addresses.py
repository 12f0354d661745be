"""WhatsApp addresses: normalization, and which addresses belong to the same person.

`5511999998888:12@s.whatsapp.net` is device 12 of a person, `_1:0` an agent and a device, `…@c.us` an older spelling,
`…@hosted` a number whose devices are hosted by a business. `…@lid` and `…@hosted.lid` are hidden addresses of a person.

The policy: two addresses can only belong to one person if both can be a person's: 5 to 15 digits that do not begin
with 0. Software that lost an address writes `undefined@`, `null@` or `0@`; as an alias, this would merge strangers'
chats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from app.domain.models import Alias
from app.providers.values import as_flag, as_id, as_text

PERSON: Final = "@s.whatsapp.net"
LID: Final = "@lid"
GROUP: Final = "@g.us"
STATUS: Final = "status@broadcast"
NEWSLETTER: Final = "@newsletter"

_SERVERS: Final = {
    "s.whatsapp.net": PERSON,
    "c.us": PERSON,
    "hosted": PERSON,
    "lid": LID,
    "hosted.lid": LID,
}
_USER: Final = re.compile(r"[1-9][0-9]{4,14}\Z")
_DEVICE: Final = re.compile(r"([0-9]+)(?:[._][0-9]+)?(?::[0-9]+)?\Z")
_BLANK: Final = re.compile(r"[\s\u00a0\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]+")
_SEPARATORS: Final = re.compile(r"[()./-]")


def as_address(value: object) -> str | None:
    """The address in the form that we store, or None if it cannot be an id."""
    text = as_text(value, 1_024)
    if text is None:
        return None
    address = _BLANK.sub("", text)
    user, at, server = address.rpartition("@")
    known = _SERVERS.get(server.lower())
    if known is None:
        return as_id(f"{user}{at}{server.lower()}" if server.lower() in ("g.us", "broadcast", "newsletter") else text)
    user = user.removeprefix("+")
    device = _DEVICE.match(user)
    user = device[1] if device else user.partition(":")[0].lower()
    return as_id(f"{user}{known}") if user else None


def is_person(address: str) -> bool:
    """Whether it can be a person's address."""
    for server in (PERSON, LID):
        if address.endswith(server):
            return _USER.match(address.removesuffix(server)) is not None
    return False


def as_phone(value: object) -> str | None:
    """The address of a field that holds a phone number, with or without `@…`, `+` and separators."""
    text = as_text(value, 64)
    if text is None or "@" in text:
        return as_address(text)
    digits = _SEPARATORS.sub("", _BLANK.sub("", text)).removeprefix("+")
    return f"{digits}{PERSON}" if digits else None


def as_lid(value: object) -> str | None:
    """The address of a field that holds a hidden one, with or without `@lid`."""
    text = as_text(value, 64)
    if text is None or "@" in text:
        return as_address(text)
    return as_address(f"{text}{LID}")


def phone_of(value: object) -> str | None:
    """`+5511999998888`, or None if the address has no number."""
    address = as_address(value)
    if address is None or not address.endswith(PERSON) or not is_person(address):
        return None
    return f"+{address.removesuffix(PERSON)}"


def alias_of(*values: object) -> Alias | None:
    """The alias from addresses of one person: the first hidden and the first known one."""
    addresses = [address for address in map(as_address, values) if address is not None and is_person(address)]
    lid = next((address for address in addresses if address.endswith(LID)), None)
    person = next((address for address in addresses if address.endswith(PERSON)), None)
    return Alias(lid, person) if lid and person else None


def faults_of(*values: object) -> int:
    """How many of these look like a person's address but cannot be one."""
    addresses = [address for address in map(as_address, values) if address is not None]
    return sum(address.endswith((PERSON, LID)) and not is_person(address) for address in addresses)


def best_of(*values: object) -> str | None:
    """The known address of a person with several addresses, or a hidden one, or the first of all."""
    addresses = [address for address in map(as_address, values) if address is not None]
    people = [address for address in addresses if is_person(address)]
    return next(_in_order(people, addresses), None)


def _in_order(people: list[str], addresses: list[str]) -> Iterator[str]:
    yield from (address for address in people if address.endswith(PERSON))
    yield from people
    yield from addresses


def is_from_me(key: dict[str, Any]) -> bool:
    return as_flag(key.get("fromMe")) is True


def chat_alternatives(key: dict[str, Any]) -> tuple[object, ...]:
    """Other addresses of the person whose chat it is: the field of version 7, then those of 6.7.

    For our own messages they may be our own addresses, so they are not returned.
    """
    if is_from_me(key):
        return ()
    return key.get("remoteJidAlt"), as_phone(key.get("senderPn")), as_lid(key.get("senderLid"))


def participant_alternatives(key: dict[str, Any]) -> tuple[object, ...]:
    """Other addresses of the group member who wrote: the field of version 7, then those of 6.7."""
    return key.get("participantAlt"), as_phone(key.get("participantPn")), as_lid(key.get("participantLid"))
