"""Corrects receipts and reactions in groups when a hidden address turns out to belong to a known person.

Until then the two addresses count as two people. The transaction that learns the alias corrects RENAME_AT_ONCE
messages; more follow in separate transactions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from app.domain.aliases import People
from app.domain.changes import renamed
from app.domain.events import render_receipts
from app.domain.known import Touched
from app.domain.ledger import Ledger
from app.domain.models import Alias

RENAME_AT_ONCE: Final = 500


def rename(ledger: Ledger, alias: Alias) -> None:
    """Keep one receipt and one reaction of the alias's person, in each message with any under the hidden address.

    There is no event if nobody can see a difference.
    """
    found = ledger.under(alias.lid, RENAME_AT_ONCE)
    for message in found:
        after = renamed(message, alias.lid, alias.address)
        if list(after.reactions) != list(message.reactions) or render_receipts(after) != render_receipts(message):
            ledger.change(message, after, quiet=True)
        else:
            ledger.put_message(message, after)
    if len(found) == RENAME_AT_ONCE:
        ledger.out.follow_up.append(RenamePerson(alias))


@dataclass(frozen=True, slots=True)
class RenamePerson:
    """Correct the next messages with receipts or reactions under the hidden address."""

    alone: ClassVar[bool] = True
    alias: Alias
    size: int = 1024
    aliases: Sequence[Alias] = ()

    def addresses(self) -> Iterable[str]:
        return (self.alias.lid,)

    def touch(self, people: People, touched: Touched) -> None:
        pass

    def apply(self, ledger: Ledger) -> None:
        if ledger.aliases.name(self.alias.lid) == self.alias.address:
            rename(ledger, self.alias)
