"""Aliases: the hidden addresses of people (`…@lid`) and the addresses that chats are named by.

Only addresses that can be a person's become aliases, because a wrong alias would merge two strangers' chats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from app.domain.models import Alias

_ADDRESS: Final = re.compile(r"[1-9][0-9]{4,14}@s\.whatsapp\.net")
_LID: Final = re.compile(r"[1-9][0-9]{4,14}@lid|[A-Z]{2}\.[A-Za-z0-9.]{5,128}")
"""A hidden WhatsApp address, or a user id of the Cloud API, such as `BR.1502334565`."""


def is_hidden(address: str) -> bool:
    """Whether the person's chat may be named by another address."""
    return _LID.fullmatch(address) is not None


def is_possible(alias: Alias) -> bool:
    """Whether both can be a person's: 5 to 15 digits (E.164) for known addresses and for `@lid`."""
    return _ADDRESS.fullmatch(alias.address) is not None and _LID.fullmatch(alias.lid) is not None


def aliases_of(addresses: Iterable[str]) -> list[Alias]:
    """The aliases that follow from these addresses of one person. The first known address names the chat."""
    told = list(addresses)
    address = next((one for one in told if _ADDRESS.fullmatch(one)), None)
    if address is None:
        return []
    return [Alias(lid, address) for lid in told if _LID.fullmatch(lid)]


class People:
    """The addresses under which people may be stored: all addresses that any of these aliases connects, in any order,
    even if a later alias contradicts an earlier one.
    """

    def __init__(self, aliases: Iterable[Alias]) -> None:
        self._names: dict[str, list[str]] = {}
        for alias in aliases:
            if is_possible(alias):
                here, there = (self._names.setdefault(one, [one]) for one in (alias.address, alias.lid))
                if here is not there:
                    more, fewer = sorted((here, there), key=len, reverse=True)
                    more += fewer
                    self._names |= dict.fromkeys(fewer, more)

    def all_names(self, address: str) -> Sequence[str]:
        return self._names.get(address, [address])


class Aliases:
    """Known aliases, in both directions. `refused` are pairs that were split: they are never learned again."""

    def __init__(self, known: Iterable[Alias] = (), refused: Iterable[Alias] = ()) -> None:
        self.refused: set[Alias] = set()
        self._addresses: dict[str, str] = {}
        self._lids: dict[str, list[str]] = {}
        self.add(known, refused)

    def add(self, known: Iterable[Alias], refused: Iterable[Alias] = ()) -> None:
        """Add known aliases of other people."""
        self.refused.update(refused)
        for alias in known:
            if is_possible(alias):  # an earlier version also learned others
                self._put(alias)

    def copy(self) -> Aliases:
        return Aliases(self, self.refused)

    def learn(self, alias: Alias) -> bool:
        """Learn an alias. Returns whether it is new."""
        if self._addresses.get(alias.lid) == alias.address or alias in self.refused or not is_possible(alias):
            return False
        self._put(alias)
        return True

    def refuse(self, alias: Alias) -> None:
        """Treat the two addresses as two people from now on."""
        self.refused.add(alias)
        if self._addresses.get(alias.lid) == alias.address:
            del self._addresses[alias.lid]
            self._lids[alias.address].remove(alias.lid)

    def __iter__(self) -> Iterator[Alias]:
        return (Alias(lid, address) for lid, address in self._addresses.items())

    def name(self, address: str) -> str:
        """The address that names the person's chat."""
        return self._addresses.get(address, address)

    def all_names(self, address: str) -> list[str]:
        """All addresses under which the person's chat may be stored, beginning with its name."""
        if address not in self._addresses and address not in self._lids:
            return [address]
        name = self.name(address)
        return list(dict.fromkeys([name, address, *sorted(self._lids.get(name, ()))]))

    def _put(self, alias: Alias) -> None:
        before = self._addresses.get(alias.lid)
        if before is not None:
            self._lids[before].remove(alias.lid)
        self._addresses[alias.lid] = alias.address
        self._lids.setdefault(alias.address, []).append(alias.lid)
