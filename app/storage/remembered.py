"""A cache of the state of recently written sessions, so that a writer need not read it again.

An entry is valid while the session's version in the database is the same. The cache is not thread-safe: a writer takes
entries out before its transaction and puts them back after it, and no other transaction writes the session meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from app.domain.aliases import Aliases
from app.domain.incoming import PARKED_FOR
from app.domain.known import Outcome
from app.domain.models import Chat
from app.storage.documents import Document

MAX_WEIGHT: Final = 1_000_000
"""Limit for all sessions. A unit is about 100 bytes."""
MAX_CHATS: Final = 100
"""Chats of a session, those written last."""
MAX_IDS: Final = 500
"""Message ids of a session, those stored last."""
MAX_PEOPLE: Final = 200
"""Addresses of a session whose aliases are cached."""
_CHAT_WEIGHT: Final = 16
_SESSION_WEIGHT: Final = 10

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Session:
    """A session after the last commit. `version` None: the session has no version yet."""

    seq: int = 0
    version: int | None = None
    exists: bool = False
    has_aliases: bool = False
    has_contacts: bool = False
    has_deliveries: bool = False
    parked_until: datetime | None = None
    """Until then there may be parked updates."""
    is_read: bool = True
    """Just read from the database, so that no message may be assumed to be new."""
    chats: Mapping[str, Chat] = field(default_factory=dict)
    ids: Mapping[str, None] = field(default_factory=dict)
    """Ids of stored messages, oldest first. Other messages may be stored as well."""
    aliases: Aliases = field(default_factory=Aliases)
    """All aliases of `people`."""
    people: frozenset[str] = frozenset()

    @property
    def weight(self) -> int:
        return _SESSION_WEIGHT + _CHAT_WEIGHT * len(self.chats) + len(self.ids) + 2 * len(self.people)

    @property
    def flags(self) -> Document:
        """The fields of its document besides the numbers."""
        return {
            "hasAliases": self.has_aliases,
            "hasContacts": self.has_contacts,
            "hasDeliveries": self.has_deliveries,
            "parkedUntil": self.parked_until,
        }

    def is_stored_as(self, document: Document | None) -> bool:
        """Whether the stored document is the same. A database restored from a backup may have the same version."""
        if document is None:
            return not self.exists
        return self.exists and (self.seq, self.version) == (document.get("seq", 0), document.get("version"))

    def after(self, outcome: Outcome, aliases: Aliases, people: frozenset[str]) -> Session:
        """The state after the outcome. `aliases` are those of `people`."""
        older = {
            chat_id: chat
            for chat_id, chat in self.chats.items()
            if chat_id not in outcome.chats and chat_id not in outcome.removed_chats
        }
        parked_until = self.parked_until
        for parked in outcome.parked.values():
            until = parked.received_at + PARKED_FOR
            parked_until = until if parked_until is None else max(until, parked_until)
        ids = dict(self.ids)
        for _, message_id in outcome.new_messages:
            ids.pop(message_id, None)
            ids[message_id] = None
        forget = len(people) > MAX_PEOPLE
        return Session(
            seq=outcome.seq,
            version=(self.version or 0) + 1 if outcome.writes else self.version,
            exists=self.exists or outcome.writes,
            has_aliases=self.has_aliases or bool(outcome.new_aliases or outcome.refused_aliases),
            has_contacts=self.has_contacts or bool(outcome.contact_names),
            has_deliveries=self.has_deliveries or bool(outcome.deliveries),
            parked_until=parked_until,
            is_read=False,
            chats=_last(older | outcome.chats, MAX_CHATS),
            ids=_last(ids, MAX_IDS),
            aliases=Aliases() if forget else aliases,
            people=frozenset() if forget else people,
        )


def load(document: Document) -> Session:
    get = document.get
    return Session(
        seq=get("seq", 0),
        version=get("version"),
        exists=True,
        has_aliases=get("hasAliases", False),
        has_contacts=get("hasContacts", False),
        has_deliveries=get("hasDeliveries", False),
        parked_until=get("parkedUntil"),
    )


class Remembered:
    """Sessions by sessionId, those written last."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._weight = 0

    def take(self, session_ids: Iterable[str]) -> dict[str, Session]:
        """Remove and return the entries of these sessions."""
        found = {name: session for name in session_ids if (session := self._sessions.pop(name, None)) is not None}
        self._weight -= sum(session.weight for session in found.values())
        return found

    def put(self, sessions: Mapping[str, Session]) -> None:
        for name, session in sessions.items():
            self._sessions[name] = session
            self._weight += session.weight
        while self._weight > MAX_WEIGHT:
            _, oldest = self._sessions.popitem(last=False)
            self._weight -= oldest.weight


def _last(values: Mapping[str, Value], most: int) -> Mapping[str, Value]:
    return values if len(values) <= most else dict(list(values.items())[-most:])
