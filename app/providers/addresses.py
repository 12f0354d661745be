"""WhatsApp's addresses: one form for each person, and which two belong to the same person.

`5511999998888:12@s.whatsapp.net` is device 12 of a person, `_1:0` an agent and a device, `…@c.us` an older spelling,
`…@hosted` a number whose devices a business hosts. `…@lid` is a hidden address of the same person, `…@hosted.lid` too.

The policy: two addresses are one person's only if both could be a person's at all: 5 to 15 digits that do not begin
with 0. Software that lost an address writes `undefined@`, `null@` or `0@` in its place; taken for an alias, it would
make one chat of strangers' chats.
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
    """The address in the one form that we store, or None for what cannot be an id."""
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
    """Whether it could be a person's address."""
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
    """`+5511999998888`, or None where the address does not tell the number."""
    address = as_address(value)
    if address is None or not address.endswith(PERSON) or not is_person(address):
        return None
    return f"+{address.removesuffix(PERSON)}"


def alias_of(*values: object) -> Alias | None:
    """What two or more addresses of the same person tell: the first hidden and the first open one."""
    addresses = [address for address in map(as_address, values) if address is not None and is_person(address)]
    lid = next((address for address in addresses if address.endswith(LID)), None)
    person = next((address for address in addresses if address.endswith(PERSON)), None)
    return Alias(lid, person) if lid and person else None


def faults_of(*values: object) -> int:
    """How many of these claim to be a person's address and cannot be one."""
    addresses = [address for address in map(as_address, values) if address is not None]
    return sum(address.endswith((PERSON, LID)) and not is_person(address) for address in addresses)


def best_of(*values: object) -> str | None:
    """The open address of a person known by several, else a hidden one, else the first of all."""
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
    """Other addresses of the person whose chat it is: version 7's name, then those of 6.7.

    In a message of our own they may be our own addresses, so there they say nothing and are not given.
    """
    if is_from_me(key):
        return ()
    return key.get("remoteJidAlt"), as_phone(key.get("senderPn")), as_lid(key.get("senderLid"))


def participant_alternatives(key: dict[str, Any]) -> tuple[object, ...]:
    """Other addresses of the member of a group who wrote: version 7's name, then those of 6.7."""
    return key.get("participantAlt"), as_phone(key.get("participantPn")), as_lid(key.get("participantLid"))
