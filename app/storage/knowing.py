"""The stored state that a group of commands needs: from memory, or read with one query per collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.domain.aliases import Aliases, People
from app.domain.events import now
from app.domain.known import Command, Known, Touched
from app.domain.models import Alias, Chat, Key, Message
from app.storage.reading import GroupReader
from app.storage.remembered import Session

Batches = Mapping[str, Sequence[Command]]
"""Commands, by sessionId."""


class Knowledge:
    """The stored state of a group's sessions. It must be made before anything of the group is written."""

    def __init__(self, reader: GroupReader, sessions: Mapping[str, Session], batches: Batches, *, ask: bool) -> None:
        """`ask`: look up every message that is to be stored, instead of assuming that it is new unless it is in
        memory."""
        self._reader, self._sessions, self._ask = reader, sessions, ask
        named = {name: _people_of(commands) for name, commands in batches.items()}
        self.people = {name: sessions[name].people | people for name, people in named.items()}
        """Addresses whose aliases are known."""
        self.aliases = {name: sessions[name].aliases.copy() for name in batches}
        self._learn({name: people - sessions[name].people for name, people in self.people.items()})
        self._touched = {
            name: _touched(self.aliases[name], named[name], commands) for name, commands in batches.items()
        }
        self._deliveries = reader.deliveries(
            {name: touched.deliveries for name, touched in self._existing() if sessions[name].has_deliveries}
        )
        self._touch_copies()
        self._messages = self._read_messages()
        self._chats = self._read_chats()
        self._read_moving()
        self._parked = reader.parked(
            {
                name: {message_id for _, message_id in touched.new_messages | touched.messages}
                for name, touched in self._existing()
                if (until := sessions[name].parked_until) is not None and until > now()
            }
        )
        self._learn_of_parked()
        self._names = reader.contact_names(
            {
                name: touched.chats - self._chats[name].keys()
                for name, touched in self._existing()
                if sessions[name].has_contacts
            }
        )

    def of(self, session_id: str) -> Known:
        aliases, source = self.aliases[session_id], self._reader.of(session_id)
        if not self._sessions[session_id].exists:
            return Known(0, aliases, {}, {}, (), (), {}, source)
        return Known(
            self._sessions[session_id].seq,
            aliases,
            self._chats[session_id],
            self._messages.get(session_id, {}),
            self._parked.get(session_id, ()),
            self._deliveries.get(session_id, ()),
            self._names.get(session_id, {}),
            source,
        )

    def _existing(self) -> list[tuple[str, Touched]]:
        return [(name, touched) for name, touched in self._touched.items() if self._sessions[name].exists]

    def _learn(self, people: Mapping[str, frozenset[str]]) -> None:
        asked = {name: unknown for name, unknown in people.items() if unknown and self._sessions[name].has_aliases}
        for name, (known, refused) in self._reader.aliases(asked).items():
            self.aliases[name].add(known, refused)

    def _learn_of_parked(self) -> None:
        people = {
            name: frozenset(one for each in parked for one in each.update.people()) - self.people[name]
            for name, parked in self._parked.items()
        }
        self._learn(people)
        for name, learned in people.items():
            self.people[name] |= learned

    def _touch_copies(self) -> None:
        """Copies may join attempted deliveries, and waiting copies may be stored."""
        for name, deliveries in self._deliveries.items():
            touched, aliases = self._touched[name], self.aliases[name]
            touched.messages |= {(one.chat_id, one.message_id) for one in deliveries if one.attempt}
            for copy in (copy for one in deliveries for copy in one.held):
                names = aliases.all_names(copy.chat_id)
                touched.chats.update(names)
                touched.named.add(copy.message_id)
                touched.messages.update((chat_id, copy.message_id) for chat_id in names)

    def _read_messages(self) -> dict[str, dict[Key, Message]]:
        keys: dict[str, set[Key]] = {}
        for name, touched in self._existing():
            session = self._sessions[name]
            # While something is being delivered, a message of ours may be held instead of stored, and then no index
            # says that it is stored already.
            ask = self._ask or session.is_read or bool(self._deliveries.get(name))
            keys[name] = touched.messages | {key for key in touched.new_messages if ask or key[1] in session.ids}
        return self._reader.messages(
            keys,
            {name: touched.ids for name, touched in self._existing()},
            {name: self._touched[name].named for name in self._deliveries},
        )

    def _read_chats(self) -> dict[str, dict[str, Chat]]:
        chats: dict[str, dict[str, Chat]] = {}
        unknown: dict[str, set[str]] = {}
        for name, touched in self._existing():
            wanted = touched.chats | {chat_id for chat_id, _ in self._messages[name]}
            remembered = self._sessions[name].chats
            chats[name] = {chat_id: remembered[chat_id] for chat_id in wanted & remembered.keys()}
            if missing := wanted - chats[name].keys():
                unknown[name] = missing
        for name, found in self._reader.chats(unknown).items():
            chats[name] |= found
        return chats

    def _read_moving(self) -> None:
        """Messages of merged chats may still be stored under other chatIds."""
        moving: dict[str, set[Key]] = {}
        for name, touched in self._existing():
            chats = self._chats[name]
            if any(chat.also for chat in chats.values()):
                moving[name] = {
                    (old, message_id)
                    for chat_id, message_id in touched.messages | touched.new_messages
                    if (chat := chats.get(chat_id))
                    for old in (chat_id, *chat.also)
                }
        for name, found in self._reader.messages(moving).items():
            self._messages[name] |= found


def _touched(aliases: Aliases, named: frozenset[str], commands: Sequence[Command]) -> Touched:
    # Within the batch, a stored message's chat may be merged into another, and that one into a third.
    several = [names for one in named if len(names := aliases.all_names(one)) > 1]
    stored = (Alias(other, name) for name, *others in several for other in others)
    people = People((*stored, *(alias for command in commands for alias in command.aliases)))
    touched = Touched()
    for command in commands:
        command.touch(people, touched)
    return touched


def _people_of(commands: Sequence[Command]) -> frozenset[str]:
    """All addresses in the commands."""
    names: set[str] = set()
    for command in commands:
        names.update(command.addresses())
        for alias in command.aliases:
            names.update((alias.lid, alias.address))
    return frozenset(names)
