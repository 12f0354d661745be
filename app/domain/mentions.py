"""Mentions: messages mention people by number, and show their names if these are known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from app.domain.graphemes import cut
from app.domain.models import MAX_TEXT, IncomingMessage

if TYPE_CHECKING:
    from app.domain.ledger import Ledger

_MENTION: Final = re.compile(r"@([0-9]{5,15})(?![0-9])")


def with_names(text: str, names: Mapping[str, str]) -> str:
    """Replace `@4915112345678` by `@Mina`. `names` maps addresses to names."""
    by_number = {address.partition("@")[0]: name for address, name in names.items()}
    return cut(_MENTION.sub(lambda found: "@" + by_number.get(found[1], found[1]), text), MAX_TEXT)


def known_names(ledger: Ledger, addresses: Iterable[str]) -> dict[str, str]:
    """The known names of these people, from their chats or contacts."""
    names: dict[str, str] = {}
    for address in addresses:
        for one in ledger.aliases.all_names(address):
            chat = ledger.chat(one)
            if name := (chat and chat.name) or ledger.contact_names.get(one):
                names[address] = name
                break
    return names


def with_mentions(ledger: Ledger, incoming: IncomingMessage) -> IncomingMessage:
    """The message with names in its text and quote."""
    if not incoming.mentions:
        return incoming
    names = known_names(ledger, incoming.mentions)
    quoted = incoming.reply_to
    if quoted is not None and quoted.text:
        quoted = replace(quoted, text=with_names(quoted.text, names))
    return replace(incoming, text=incoming.text and with_names(incoming.text, names), reply_to=quoted)
