"""What a batch of commands makes of a session: a pure function from what is known to what is to be written.

- A message is known by (chatId, messageId). A repeat of a known one changes nothing, unless it brings content to
  one that was stored without any: that completes it.
- Each change takes the next number: one event, and the message and the chat as they are after it.
- A chat is named by the address of its person wherever one is known, else by the hidden `…@lid` address. What was
  stored under the hidden address before the other was known stays there, and its repeats find it there.
- The numbers start at `known.seq + 1` and have no hole; whoever writes the outcome must make sure that nobody else
  has taken numbers since `known` was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from app.domain.events import MESSAGE_UPDATED, NEW_MESSAGE, Event, chat_event, message_event
from app.domain.models import (
    PREVIEW_LENGTH,
    Alias,
    Chat,
    Command,
    IncomingMessage,
    Key,
    LastMessage,
    MarkRead,
    Message,
    MessageResult,
    ReplyTo,
    Sender,
    StoreMessages,
)

LID_SUFFIX = "@lid"

Result = list[MessageResult] | Chat | None
"""For StoreMessages a result for each message; for MarkRead the chat, or None where nothing is stored of it."""


class Aliases:
    """Who is who: hidden addresses and the addresses that chats are named by, both ways."""

    def __init__(self, known: Iterable[Alias] = ()) -> None:
        self._addresses: dict[str, str] = {}
        self._lids: dict[str, list[str]] = {}
        for alias in known:
            self.learn(alias)

    def learn(self, alias: Alias) -> bool:
        """Whether that was news."""
        before = self._addresses.get(alias.lid)
        if before == alias.address:
            return False
        if before is not None:
            self._lids[before].remove(alias.lid)
        self._addresses[alias.lid] = alias.address
        self._lids.setdefault(alias.address, []).append(alias.lid)
        return True

    def __iter__(self) -> Iterator[Alias]:
        return (Alias(lid, address) for lid, address in self._addresses.items())

    def name(self, address: str) -> str:
        return self._addresses.get(address, address)

    def all_names(self, address: str) -> list[str]:
        """Every address under which the person's chat may have been stored, the one to be used first."""
        name = self.name(address)
        return list(dict.fromkeys([name, address, *sorted(self._lids.get(name, ()))]))


@dataclass(slots=True)
class Known:
    """What the database has of all that a batch touches."""

    seq: int
    aliases: Aliases
    chats: Mapping[str, Chat]
    messages: Mapping[Key, Message]
    unread: Mapping[str, Sequence[int]]
    """For chats that are marked read in part: the seq of the messages not from us above the lowest mark."""


@dataclass(slots=True)
class Outcome:
    """What is to be written, and what each command is answered, in order."""

    seq: int
    events: list[Event] = field(default_factory=list)
    new_messages: dict[Key, Message] = field(default_factory=dict)
    changed_messages: dict[Key, Message] = field(default_factory=dict)
    chats: dict[str, Chat] = field(default_factory=dict)
    new_aliases: list[Alias] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)


def apply(session_id: str, known: Known, commands: Sequence[Command], now: datetime) -> Outcome:
    """The outcome of `commands`, one after the other, at the time `now`."""
    return _Ledger(session_id, known, now).run(commands)


class _Ledger:
    def __init__(self, session_id: str, known: Known, now: datetime) -> None:
        self._session_id, self._known, self._now = session_id, known, now
        self._unread = {chat_id: list(seqs) for chat_id, seqs in known.unread.items()}
        self._out = Outcome(known.seq)

    def run(self, commands: Sequence[Command]) -> Outcome:
        for command in commands:
            if isinstance(command, StoreMessages):
                self._out.results.append(self._store(command))
            else:
                self._out.results.append(self._mark_read(command))
        return self._out

    def _store(self, command: StoreMessages) -> list[MessageResult]:
        for alias in command.aliases:
            if self._known.aliases.learn(alias):
                self._out.new_aliases.append(alias)
        return [self._store_one(incoming, command.received_at) for incoming in command.messages]

    def _store_one(self, incoming: IncomingMessage, received_at: datetime) -> MessageResult:
        aliases = self._known.aliases
        for name in aliases.all_names(incoming.chat_id):
            stored = self._message((name, incoming.message_id))
            if stored is not None:
                if not stored.has_content and incoming.has_content:
                    return self._complete(stored, incoming)
                return MessageResult(stored.message_id, stored.seq, duplicate=True)
        return self._add(incoming, received_at)

    def _add(self, incoming: IncomingMessage, received_at: datetime) -> MessageResult:
        seq = self._next_seq()
        chat_id = self._known.aliases.name(incoming.chat_id)
        message = Message(
            message_id=incoming.message_id,
            session_id=self._session_id,
            chat_id=chat_id,
            seq=seq,
            updated_seq=seq,
            from_me=incoming.from_me,
            sender=self._sender(incoming),
            type=incoming.type,
            text=incoming.text,
            media=incoming.media,
            reply_to=self._reply_to(incoming),
            status=incoming.status,
            timestamp=incoming.timestamp,
            received_at=received_at,
        )
        before = self._chat(chat_id)
        name, name_given = self._chat_name(before, incoming, message)
        unread = (before.unread_count if before else 0) + (not message.from_me)
        chat = Chat(
            session_id=self._session_id,
            chat_id=chat_id,
            name=name,
            name_given=name_given,
            unread_count=unread,
            last_message=_preview(message),
            last_seq=seq,
            read_seq=before.read_seq if before else 0,
            updated_seq=seq,
            updated_at=self._now,
        )
        if not message.from_me:
            self._unread.setdefault(chat_id, []).append(seq)
        self._out.new_messages[chat_id, message.message_id] = message
        self._write(chat, message_event(NEW_MESSAGE, seq, message, chat, self._now))
        return MessageResult(message.message_id, seq, duplicate=False)

    def _complete(self, stored: Message, incoming: IncomingMessage) -> MessageResult:
        seq = self._next_seq()
        message = replace(
            stored,
            updated_seq=seq,
            sender=self._sender(incoming),
            type=incoming.type,
            text=incoming.text,
            media=incoming.media,
            reply_to=self._reply_to(incoming),
        )
        before = self._chat(stored.chat_id)
        assert before is not None, "a stored message has a chat"
        name, name_given = self._chat_name(before, incoming, message)
        chat = replace(before, name=name, name_given=name_given, updated_seq=seq, updated_at=self._now)
        if before.last_seq == message.seq:
            chat = replace(chat, last_message=_preview(message))
        key = (message.chat_id, message.message_id)
        if key in self._out.new_messages:
            self._out.new_messages[key] = message
        else:
            self._out.changed_messages[key] = message
        self._write(chat, message_event(MESSAGE_UPDATED, seq, message, chat, self._now))
        return MessageResult(message.message_id, seq, duplicate=False)

    def _mark_read(self, command: MarkRead) -> Chat | None:
        chat = self._chat(command.chat_id)
        if chat is None:
            return None
        read_seq = min(command.seq, chat.last_seq)
        if read_seq <= chat.read_seq:
            return chat
        unread = sum(seq > read_seq for seq in self._unread.get(chat.chat_id, ()))
        seq = self._next_seq()
        chat = replace(chat, read_seq=read_seq, unread_count=unread, updated_seq=seq, updated_at=self._now)
        self._write(chat, chat_event(seq, chat, self._now))
        return chat

    def _next_seq(self) -> int:
        self._out.seq += 1
        return self._out.seq

    def _write(self, chat: Chat, event: Event) -> None:
        self._out.chats[chat.chat_id] = chat
        self._out.events.append(event)

    def _message(self, key: Key) -> Message | None:
        return self._out.new_messages.get(key) or self._out.changed_messages.get(key) or self._known.messages.get(key)

    def _chat(self, chat_id: str) -> Chat | None:
        return self._out.chats.get(chat_id) or self._known.chats.get(chat_id)

    def _sender(self, incoming: IncomingMessage) -> Sender:
        return replace(incoming.sender, id=self._known.aliases.name(incoming.sender.id))

    def _reply_to(self, incoming: IncomingMessage) -> ReplyTo | None:
        quoted = incoming.reply_to
        if quoted is None or quoted.sender_id is None:
            return quoted
        return replace(quoted, sender_id=self._known.aliases.name(quoted.sender_id))

    @staticmethod
    def _chat_name(before: Chat | None, incoming: IncomingMessage, message: Message) -> tuple[str | None, bool]:
        if incoming.chat_name is not None:
            return incoming.chat_name, True
        if before and before.name_given:
            return before.name, True
        if not message.from_me and message.sender.id == message.chat_id and message.sender.name:
            return message.sender.name, False
        return (before.name if before else None), False


def _preview(message: Message) -> LastMessage:
    text = message.text
    return LastMessage(
        message_id=message.message_id,
        type=message.type,
        text=text if text is None else text[:PREVIEW_LENGTH],
        from_me=message.from_me,
        sender_name=message.sender.name,
        timestamp=message.timestamp,
    )
