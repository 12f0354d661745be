"""Commands of agents who answer: send a message, retry or cancel it.

A refused command changes nothing and has the error as its result, so that the others in its batch continue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Final

from app.domain.aliases import People
from app.domain.commands import NOTHING, StoreMessages
from app.domain.copies import join, mark_sent
from app.domain.deliveries import (
    CANCELLED,
    MAX_OPEN,
    Delivery,
    delivery_id,
    digest,
)
from app.domain.events import render_message
from app.domain.known import OfChat, Refusal, Touched
from app.domain.ledger import Ledger
from app.domain.merges import unite
from app.domain.models import (
    Agent,
    Alias,
    Chat,
    IncomingMessage,
    Media,
    Message,
    MessageType,
    ReplyTo,
    Sender,
)

_KINDS: Final[dict[str, MessageType]] = {"image": "image", "video": "video", "audio": "audio"}


def message_id_of(sub: str, client_id: str) -> str:
    """The messageId for a `sub` and clientId, in the form of WhatsApp's ids, so that providers can use it."""
    return "3EB0" + hashlib.sha256(f"{sub}\0{client_id}".encode()).hexdigest()[:18].upper()


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Store an agent's message and its delivery. The result is the stored message.

    Repeating a `client_id` of the same author changes nothing. `after`: the author has seen the chat up to this seq; a
    newer message of ours by somebody else is a conflict. `holder`: the server that delivers at once if nothing is
    waiting.
    """

    alone: ClassVar[bool] = False
    at: datetime
    chat_id: str
    author: Agent
    client_id: str
    text: str | None
    media: Media | None = None
    reply_to: str | None = None
    after: int | None = None
    holder: str | None = None
    size: int = 1024
    aliases: Sequence[Alias] = NOTHING

    @property
    def message_id(self) -> str:
        return message_id_of(self.author.id, self.client_id)

    def addresses(self) -> Iterable[str]:
        return (self.chat_id,)

    def touch(self, people: People, touched: Touched) -> None:
        names = people.all_names(self.chat_id)
        touched.chats.update(names)
        touched.deliveries.update(names)
        touched.ids.add(self.message_id)
        touched.new_messages.update((name, self.message_id) for name in names)
        if self.reply_to is not None:
            touched.named.add(self.reply_to)
            touched.messages.update((name, self.reply_to) for name in names)

    def apply(self, ledger: Ledger) -> Message | Refusal:
        stored = next((one for one in ledger.find_by_id(self.message_id) if one.client_id == self.client_id), None)
        if stored is not None:
            return stored
        unite(ledger, self.chat_id)
        names = ledger.names_of(self.chat_id)
        chat = ledger.chat(names[0])
        if chat is not None and self.after is not None and (other := self._other(ledger, chat)) is not None:
            return Refusal(
                "conflict", "Somebody else has answered meanwhile.", details={"message": render_message(other)}
            )
        quoted = None if self.reply_to is None else ledger.find(self.chat_id, self.reply_to)
        if self.reply_to is not None and quoted is None:
            return Refusal("invalid", "replyTo: The chat has no such message.")
        if len(ledger.deliveries.of(names, "waiting", "sending")) >= MAX_OPEN:
            return Refusal(
                "rate_limited", f"{MAX_OPEN} messages of this chat are waiting to be delivered. Try again later."
            )
        self._store(ledger, chat, quoted)
        message = ledger.find(self.chat_id, self.message_id)
        assert message is not None, "it was stored"
        delivery = Delivery(
            delivery_id(ledger.session_id, message.message_id),
            ledger.session_id,
            message.chat_id,
            message.message_id,
            message.seq,
            "waiting",
            ledger.now,
            digest(message.text, message.media),
        )
        ledger.deliveries.order(delivery, names, ledger.now, self.holder)
        return message

    def _other(self, ledger: Ledger, chat: Chat) -> Message | None:
        """Our last message above `after` that is by somebody else."""
        assert self.after is not None
        if chat.last_seq <= self.after:
            return None
        names = [chat.chat_id, *chat.also]
        found = [m for m in ledger.written_in(chat.chat_id) if m.seq > self.after and self._by_another(m)]
        stored = ledger.source.answered(names, self.after, but=self.author.id)
        if stored is not None and ledger.is_untouched(stored.key):
            found.append(stored)
        return max(found, key=lambda message: message.seq, default=None)

    def _by_another(self, message: Message) -> bool:
        mine = message.author is not None and message.author.id == self.author.id
        return message.from_me and not mine and message.type != "system" and not message.is_cancelled

    def _store(self, ledger: Ledger, chat: Chat | None, quoted: Message | None) -> None:
        reply_to = ReplyTo(quoted.message_id, quoted.sender.id, quoted.text) if quoted else None
        incoming = IncomingMessage(
            message_id=self.message_id,
            chat_id=self.chat_id,
            from_me=True,
            sender=Sender(ledger.session_id),
            type=_type(self.media),
            text=self.text,
            media=self.media,
            reply_to=reply_to,
            status="pending",
            timestamp=self.at,
            author=self.author,
            client_id=self.client_id,
        )
        # Whoever answers has read the chat, unless there are messages they had not seen.
        seen = chat is None or self.after is None or self.after >= chat.last_seq
        StoreMessages(self.at, (incoming,), answers_read=seen).apply(ledger)


class OfSent(OfChat):
    """The base of commands about a message sent by an agent."""

    __slots__ = ()
    message_id: str

    def touch(self, people: People, touched: Touched) -> None:
        touch_sent(self.chat_id, self.message_id, people, touched)

    def sent(self, ledger: Ledger) -> Message | None:
        message = ledger.find(self.chat_id, self.message_id)
        return message if message is not None and message.client_id is not None else None


@dataclass(frozen=True, slots=True)
class RetryMessage(OfSent):
    """Deliver a failed message again. The result is the message, or None if it does not exist."""

    chat_id: str
    message_id: str
    holder: str | None = None

    def apply(self, ledger: Ledger) -> Message | Refusal | None:
        message = self.sent(ledger)
        if message is None:
            return None
        if message.status != "failed" or message.deleted_at is not None:
            return _not_possible(message)
        names = ledger.names_of(self.chat_id)
        after = replace(message, status="pending", error=None)
        ledger.change(message, after)
        delivery = Delivery(
            delivery_id(ledger.session_id, message.message_id),
            ledger.session_id,
            message.chat_id,
            message.message_id,
            ledger.out.seq,
            "waiting",
            ledger.now,
            digest(message.text, message.media),
        )
        ledger.deliveries.order(delivery, names, ledger.now, self.holder)
        return ledger.message(message.key)


@dataclass(frozen=True, slots=True)
class CancelMessage(OfSent):
    """Cancel a message that is not being delivered. The result is the message, or None if it does not exist.

    The message stays as deleted, with the error `cancelled`, and the chat is as if it had never been written.
    """

    chat_id: str
    message_id: str

    def apply(self, ledger: Ledger) -> Message | Refusal | None:
        message = self.sent(ledger)
        if message is None:
            return None
        if message.is_cancelled:
            return message
        delivery = ledger.deliveries.get(delivery_id(ledger.session_id, message.message_id))
        if message.status not in ("pending", "failed") or (delivery is not None and delivery.state == "sending"):
            return _not_possible(message)
        after = replace(message, status="failed", error=CANCELLED, deleted_at=ledger.now, text=None, media=None)
        ledger.change(message, replace(after, reply_to=None, reactions=()))
        if delivery is not None:
            names = ledger.names_of(self.chat_id)
            ledger.deliveries.end(replace(delivery, state="cancelled", held=()), names, ledger.now, None)
            release(ledger, delivery.held)
        return ledger.message(message.key)


def release(ledger: Ledger, held: Sequence[IncomingMessage], guess: Delivery | None = None) -> None:
    """Release the waiting copies. One with the same content as `guess` counts as its message."""
    for copy in held:
        known = ledger.find(copy.chat_id, copy.message_id)
        if known is not None:
            mark_sent(ledger, known, None, copy)
        elif guess is not None and join(ledger, copy, guess):
            guess = None
        else:
            StoreMessages(ledger.now, (copy,), holds=False).apply(ledger)


def touch_sent(chat_id: str, message_id: str, people: People, touched: Touched) -> None:
    """The documents needed to change an agent's message and its delivery."""
    names = people.all_names(chat_id)
    touched.chats.update(names)
    touched.deliveries.update(names)
    touched.messages.update((name, message_id) for name in names)


def _not_possible(message: Message) -> Refusal:
    return Refusal(
        "conflict", f"Not possible with the status {message.status}.", details={"message": render_message(message)}
    )


def _type(media: Media | None) -> MessageType:
    if media is None:
        return "text"
    return _KINDS.get((media.mime_type or "").partition("/")[0], "document")
