"""Mentions: people are mentioned by their numbers, and shown by their names where these are known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from app.domain.graphemes import cut
from app.domain.models import MAX_TEXT

if TYPE_CHECKING:
    from app.domain.ledger import Ledger

_MENTION: Final = re.compile(r"@([0-9]{5,15})(?![0-9])")


def with_names(text: str, names: Mapping[str, str]) -> str:
    """`@4915112345678` becomes `@Mina`; `names` are by address."""
    by_number = {address.partition("@")[0]: name for address, name in names.items()}
    return cut(_MENTION.sub(lambda found: "@" + by_number.get(found[1], found[1]), text), MAX_TEXT)


def known_names(ledger: Ledger, addresses: Iterable[str]) -> dict[str, str]:
    """What the session calls these people: by their chats, or by what contacts have told."""
    names: dict[str, str] = {}
    for address in addresses:
        for one in ledger.aliases.all_names(address):
            chat = ledger.chat(one)
            if name := (chat and chat.name) or ledger.contact_names.get(one):
                names[address] = name
                break
    return names
