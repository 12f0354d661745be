"""Collects the contents of a payload while it is read, each kind in order."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from app.domain.incoming import Contact, IncomingUpdate, ReadElsewhere, Signal
from app.domain.models import Alias, IncomingMessage, MessageStatus, ReceiptStatus
from app.providers.addresses import LID, alias_of, faults_of, is_person
from app.providers.parsed import Parsed
from app.providers.values import as_name


class Collector:
    def __init__(self, session_id: str, now: datetime) -> None:
        self.session_id, self.now = session_id, now
        self.messages: list[IncomingMessage] = []
        self.updates: list[IncomingUpdate] = []
        self.contacts: list[Contact] = []
        self.signals: list[Signal] = []
        self.skipped: Counter[str] = Counter()
        self.names: dict[str, str] = {}
        """Names of people in this body, by address. Used to show mentions."""
        self._reads: dict[str, ReadElsewhere] = {}
        self._aliases: dict[Alias, None] = {}

    def skip(self, reason: str, count: int = 1) -> None:
        if count:
            self.skipped[reason] += count

    def learn(self, *addresses: object) -> Alias | None:
        """Learn that these addresses are one person's. Those that cannot be a person's are skipped and counted."""
        self.skip("bad_address", faults_of(*addresses))
        alias = alias_of(*addresses)
        if alias is not None:
            # Moved to the end: if two contradict each other, the last one counts.
            self._aliases.pop(alias, None)
            self._aliases[alias] = None
        return alias

    def name(self, address: str | None, name: str | None, *, calls_itself: bool = False) -> None:
        """Add the name of a person or group, for the chat and for mentions in this body."""
        name = as_name(name)
        if address and name:
            self.names[address] = name
            if is_person(address) or address.endswith("@g.us"):
                self.contacts.append(Contact(address, name, calls_itself=calls_itself))

    def read(self, chat_id: str) -> None:
        self._reads[chat_id] = ReadElsewhere(chat_id)

    def update(self, message_id: str, chat_id: str | None, at: datetime | None = None, **change: Any) -> None:
        self.updates.append(IncomingUpdate(message_id, chat_id, at, **change))

    def status(self, message_id: str, chat_id: str, at: datetime | None, **change: Any) -> None:
        """Add the status of our own message. A hidden address's chat may have another name, so there the message is
        identified only by its id."""
        self.update(message_id, None if chat_id.endswith(LID) else chat_id, at, **change)

    def parsed(self) -> Parsed:
        return Parsed(
            self.messages,
            list(self._aliases),
            self.skipped,
            self.updates,
            self.contacts,
            list(self._reads.values()),
            self.signals,
        )


def receipt_status(status: MessageStatus | None) -> ReceiptStatus | None:
    """The status of a message as one person's receipt."""
    return status if status in ("delivered", "read", "played") else None
