"""WhatsApp's addresses as Baileys gives them: one form for each person, and which two are the same person.

`5511999998888:12@s.whatsapp.net` is device 12 of a person, `…@c.us` an older spelling, `…@lid` a hidden address.
"""

from __future__ import annotations

import re
from typing import Any, Final

from app.domain.models import Alias
from app.providers.values import as_dict, as_id

PERSON: Final = "@s.whatsapp.net"
LID: Final = "@lid"
GROUP: Final = "@g.us"
STATUS: Final = "status@broadcast"

_PHONE: Final = re.compile(r"\d{5,15}\Z", re.ASCII)


def as_address(value: object) -> str | None:
    """The address in the one form that we store, or None for what cannot be an id."""
    address = as_id(value)
    if address is None:
        return None
    user, at, server = address.rpartition("@")
    if server == "c.us":
        server = PERSON[1:]
    elif server not in ("s.whatsapp.net", "lid"):
        return address
    user = user.partition(":")[0]
    return as_id(f"{user}{at}{server}") if user else None


def phone_of(value: object) -> str | None:
    """`+5511999998888`, or None where the address does not tell the number."""
    address = as_address(value)
    if address is None or not address.endswith(PERSON):
        return None
    user = address.removesuffix(PERSON)
    return f"+{user}" if _PHONE.match(user) else None


def alias_of(*values: object) -> Alias | None:
    """What two or more addresses of the same person tell: the first hidden and the first open one."""
    addresses = [address for address in map(as_address, values) if address is not None]
    lid = next((address for address in addresses if address.endswith(LID)), None)
    person = next((address for address in addresses if address.endswith(PERSON)), None)
    return Alias(lid, person) if lid and person else None


def best_of(*values: object) -> str | None:
    """The open address of a person known by several, else the first."""
    addresses = [address for address in map(as_address, values) if address is not None]
    return next((address for address in addresses if address.endswith(PERSON)), addresses[0] if addresses else None)


def chat_alternatives(key: dict[str, Any]) -> tuple[object, ...]:
    """Other addresses of the person whose chat it is: version 7's name, then those of 6.7.

    In a message of our own they may be our own addresses, so there they say nothing and are not given.
    """
    if key.get("fromMe") is True:
        return ()
    return key.get("remoteJidAlt"), key.get("senderPn"), key.get("senderLid")


def participant_alternatives(key: dict[str, Any]) -> tuple[object, ...]:
    """Other addresses of the member of a group who wrote: version 7's name, then those of 6.7."""
    return key.get("participantAlt"), key.get("participantPn"), key.get("participantLid")


def contact_aliases(data: object) -> list[Alias]:
    """What contacts.upsert, contacts.update, lid-mapping.update and chats.phoneNumberShare tell."""
    found = []
    for entry in data if isinstance(data, list) else [data]:
        contact = as_dict(entry)
        fields = ("id", "lid", "phoneNumber", "jid", "pn")
        alias = alias_of(*(contact.get(field) for field in fields))
        if alias is not None:
            found.append(alias)
    return found
