"""Applies a batch of commands to a session: a pure function from the known state to the documents to write.

- A message is identified by (chatId, messageId). Each change takes the next number and makes one event, with the
  message and the chat as they are after it.
- Statuses and receipts make one event per message at the end of the batch, or none if the message has another event in
  the batch.
- A chat is named by its person's known address, or else by the hidden `…@lid` address.
- The numbers start at `known.seq + 1`, without gaps. The writer of the outcome ensures that nobody else has changed the
  session since `known` was read.
- The commands are in `app.domain.commands` and the modules named there. The ledger does not know the individual
  commands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from app.domain.changes import ending_with, moved, preview
from app.domain.deliveries import Deliveries
from app.domain.events import MESSAGE_UPDATED, NEW_MESSAGE, chat_event, message_event
from app.domain.incoming import Parked
from app.domain.known import Command, Known, Outcome
from app.domain.models import Alias, Chat, Key, Message, UpdateResult


def apply(
    session_id: str, known: Known, commands: Sequence[Command], now: datetime, *, keep_deleted: bool = False
) -> Outcome:
    """The outcome of applying `commands` in order, at the time `now`."""
    ledger = Ledger(session_id, known, now, keep_deleted=keep_deleted)
    ledger.out.results = [command.apply(ledger) for command in commands]
    ledger.tell_quiet_changes()
    return ledger.out


class Ledger:
    """The state of a session while a batch is applied to it."""

    def __init__(self, session_id: str, known: Known, now: datetime, *, keep_deleted: bool) -> None:
        self.session_id, self.now, self.keep_deleted = session_id, now, keep_deleted
        self.aliases, self.source = known.aliases, known.source
        self.contact_names = dict(known.contact_names)
        self.out = Outcome(known.seq)
        self.deliveries = Deliveries(known.deliveries, self.out.deliveries)
        self._known = known
        self._chats = dict(known.chats)
        self._messages: dict[Key, Message] = {}
        self._by_id: defaultdict[str, set[Key]] = defaultdict(set)
        self._take(known.messages.values())
        self._unconcerned: set[str] = set()  # addresses that the source has nothing about
        self._stored_as: dict[Key, Key] = {}
        """The stored keys of messages whose key has changed."""
        self._quiet: dict[Key, list[UpdateResult]] = {}
        """Changed messages without an event yet, and the callbacks that need its number."""
        self._parked: defaultdict[str, list[Parked]] = defaultdict(list)
        for parked in known.parked:
            self._parked[parked.update.message_id].append(parked)

    # reading

    def chat(self, chat_id: str) -> Chat | None:
        return self._chats.get(chat_id)

    def is_stored(self, chat_id: str) -> bool:
        """Whether the chat existed before the batch."""
        return chat_id in self._known.chats

    def message(self, key: Key) -> Message | None:
        """The message with exactly this key."""
        return self._messages.get(key)

    def is_untouched(self, key: Key) -> bool:
        """Whether the message stored under this key has not changed in the batch."""
        return key not in self.out.changed_messages and key not in self.out.removed_messages

    def find(self, chat_id: str, message_id: str) -> Message | None:
        """The message with this id (ours or the provider's), wherever it is stored, as it is in its present chat."""
        names = self.names_of(chat_id)
        given = [key for key in sorted(self._by_id[message_id]) if key[1] != message_id and key[0] in names]
        for key in (*((name, message_id) for name in names), *given):
            message = self._in_its_chat(self._messages[key]) if key in self._messages else None
            if message and message.chat_id == names[0]:  # else being moved to the last owner's chat
                return message
        return None

    def find_by_id(self, message_id: str) -> list[Message]:
        """All messages with this id, in any chat. The id must be in `Touched.ids`."""
        return [self._in_its_chat(self._messages[key]) for key in sorted(self._by_id[message_id])]

    def _in_its_chat(self, message: Message) -> Message:
        """The message with its present chatId: its chat may have been merged while the message was not moved yet."""
        if message.chat_id in self._chats:
            return message
        owner = next((chat for chat in self._chats.values() if message.chat_id in chat.also), None)
        if owner is None:
            return message
        after = moved(message, owner.chat_id)
        self._stored_as[after.key] = self._stored_as.pop(message.key, message.key)
        self._replace(message, after)
        return after

    def load(self, keys: Iterable[Key]) -> None:
        """Read messages that no command has named from the source."""
        if missing := [key for key in keys if key not in self._messages and self.is_untouched(key)]:
            self._take(self.source.messages(missing).values())

    def foresee(self, aliases: Sequence[Alias]) -> None:
        """Ask the source at once about all people but the first, before the aliases are learned one by one."""
        addresses = {one for alias in aliases[1:] for one in (alias.lid, alias.address)}
        self._unconcerned |= addresses.difference(self.source.concerned(addresses)) if addresses else set()

    def parked_in(self, chat_ids: Sequence[str]) -> Sequence[Parked]:
        return self.source.parked_in(chat_ids) if not self._unconcerned.issuperset(chat_ids) else ()

    def under(self, address: str, limit: int) -> list[Message]:
        """Messages in groups with a receipt or a reaction under this hidden address."""
        stored = () if address in self._unconcerned else self.source.under(address, limit)
        found = [one for one in stored if one.key not in self._messages]
        self._take(one for one in found if self.is_untouched(one.key))
        if missing := {one.chat_id for one in found} - self._chats.keys():
            self._chats |= self.source.chats(missing)
        here = [one for one in self._messages.values() if one.people or one.reactions]
        return [one for one in here if address in one.hidden][:limit]

    def _take(self, stored: Iterable[Message]) -> None:
        for message in stored:
            self._messages[message.key] = message
            for one in (message.message_id, *message.provider_ids):
                self._by_id[one].add(message.key)

    def names_of(self, chat_id: str) -> list[str]:
        """The present name of the chat, and all others under which something of it may be stored."""
        names = self.aliases.all_names(chat_id)
        chat = self._chats.get(names[0])
        return [*names, *(chat.also if chat else ())]

    def parked(self, message_id: str) -> list[Parked]:
        return self._parked.get(message_id, [])

    def count(self, chat: Chat, above: int, upto: int) -> int:
        """The number of messages that can count as unread, with a contentSeq above the one number, up to the other. Of
        a chat that is being merged, a message that is in both chats counts twice until it has moved."""
        places = [chat.chat_id, *chat.also]
        touched = {key for key in (*self.out.changed_messages, *self.out.removed_messages) if key[0] in places}
        written = sum(one.counts and above < one.content_seq <= upto for one in self.written_in(chat.chat_id))
        return written + self.source.count(places, above, upto, but=touched)

    # changing

    def add(self, message: Message, chat: Chat) -> None:
        """Add a new message, which has its number, and its chat after it."""
        self.put_message(None, message)
        self.put_chat(chat)
        self.out.events.append(message_event(NEW_MESSAGE, message.seq, message, chat, self.now))

    def change(
        self,
        before: Message,
        after: Message,
        result: UpdateResult | None = None,
        *,
        quiet: bool = False,
        chat: Chat | None = None,
    ) -> None:
        """Change a message, and perhaps its chat. `quiet`: its event may wait for the end of the batch."""
        if quiet:
            self.put_message(before, after)
            self._quiet.setdefault(after.key, []).extend([result] if result else [])
            return
        chat_before = self._chats[before.chat_id]
        seq = self.next_seq()
        late = not before.has_content and after.has_content and after.deleted_at is None
        after = replace(after, updated_seq=seq, content_seq=seq if late else after.content_seq)
        self.put_message(before, after)
        changed = self._chat_after(chat or chat_before, before, after, late=late)
        if changed != chat_before:
            changed = replace(changed, updated_seq=seq, updated_at=self.now)
            self.put_chat(changed)
        self.out.events.append(message_event(MESSAGE_UPDATED, seq, after, changed, self.now))
        for one in (*self._quiet.pop(after.key, ()), *((result,) if result else ())):
            one.seq = seq

    def _chat_after(self, chat: Chat, before: Message, after: Message, *, late: bool) -> Chat:
        unread = chat.unread_count
        unread -= before.counts and before.content_seq > chat.read_seq
        unread += after.counts and after.content_seq > chat.read_seq
        if late:
            return ending_with(replace(chat, unread_count=unread, last_seq=after.content_seq), after)
        last = chat.last_message
        if last is not None and last.message_id == after.message_id:
            last = preview(after)
            earlier = self._last_but(chat, after) if after.is_gone else None
            if earlier is not None:
                return ending_with(replace(chat, unread_count=unread), earlier)
        return replace(chat, unread_count=unread, last_message=last)

    def _last_but(self, chat: Chat, gone: Message) -> Message | None:
        """The chat's newest message with content before this one, from the batch or from the database."""
        here = [m for m in self.written_in(chat.chat_id) if m.key != gone.key and not m.is_gone]
        stored = self.source.last([chat.chat_id, *chat.also], but=gone.message_id)
        if stored is not None and self.is_untouched(stored.key):
            here.append(stored)
        return max(here, key=lambda message: message.content_seq, default=None)

    def change_chat(self, chat: Chat) -> Chat:
        """Change a chat, with an event of its own."""
        seq = self.next_seq()
        chat = replace(chat, updated_seq=seq, updated_at=self.now)
        self.put_chat(chat)
        self.out.events.append(chat_event(seq, chat, self.now))
        return chat

    def tell_quiet_changes(self) -> None:
        """Make the delayed events."""
        for key in list(self._quiet):
            message = self._messages[key]
            seq = self.next_seq()
            after = replace(message, updated_seq=seq)
            self.put_message(message, after)
            self.out.events.append(message_event(MESSAGE_UPDATED, seq, after, self._chats[key[0]], self.now))
            for one in self._quiet.pop(key):
                one.seq = seq

    def learn(self, alias: Alias) -> bool:
        """Learn an alias. Returns whether it is new."""
        news = self.aliases.learn(alias)
        if news:
            self.out.new_aliases.append(alias)
        return news

    def tell_name(self, chat_id: str, name: str) -> None:
        """Set the name of a chat that does not exist yet."""
        self.contact_names[chat_id] = self.out.contact_names[chat_id] = name

    def written_in(self, chat_id: str) -> list[Message]:
        """The chat's messages written by this batch so far."""
        written = (*self.out.new_messages.values(), *self.out.changed_messages.values())
        return [message for message in written if message.chat_id == chat_id]

    def park(self, parked: Parked) -> None:
        if parked.id not in self.out.parked:
            self.out.parked[parked.id] = parked
            self._parked[parked.update.message_id].append(parked)

    def unpark(self, parked: Parked) -> None:
        waiting = self._parked[parked.update.message_id]
        if parked in waiting:
            waiting.remove(parked)
        if self.out.parked.pop(parked.id, None) is None:
            self.out.unparked.add(parked.id)

    def next_seq(self) -> int:
        self.out.seq += 1
        return self.out.seq

    def put_chat(self, chat: Chat) -> None:
        self._chats[chat.chat_id] = self.out.chats[chat.chat_id] = chat
        self.out.removed_chats.discard(chat.chat_id)

    def remove_chat(self, chat_id: str) -> None:
        del self._chats[chat_id]
        self.out.chats.pop(chat_id, None)
        self.out.removed_chats.add(chat_id)

    def put_message(self, before: Message | None, after: Message) -> None:
        """Replace `before`, which may have another key."""
        if before is None or self.out.new_messages.pop(before.key, None) is not None:
            self.out.new_messages[after.key] = after
        else:
            stored_as = self._stored_as.pop(before.key, before.key)
            self._stored_as[after.key] = stored_as
            self.out.changed_messages[stored_as] = after
        self._replace(before, after)

    def _replace(self, before: Message | None, after: Message) -> None:
        if before is not None and before.key != after.key:
            self._forget(before.key)
            if before.key in self._quiet:
                self._quiet[after.key] = self._quiet.pop(before.key)
        self._take([after])

    def _forget(self, key: Key) -> None:
        message = self._messages.pop(key, None)
        for one in (key[1], *(message.provider_ids if message else ())):
            self._by_id[one].discard(key)

    def remove_message(self, message: Message) -> None:
        self._forget(message.key)
        self._quiet.pop(message.key, None)
        if self.out.new_messages.pop(message.key, None) is None:
            stored_as = self._stored_as.pop(message.key, message.key)
            self.out.changed_messages.pop(stored_as, None)
            self.out.removed_messages.add(stored_as)
