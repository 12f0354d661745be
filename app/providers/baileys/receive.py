"""What a Baileys bot posts: its events, as `{"event": NAME, "data": PAYLOAD}` or a list of such.

The policy:

- Nothing raises, whatever is in a body. What has an address and an id is a message: with its content where we can read
  it, else of type `unknown` without any, to be completed by a repeat. Everything else is counted.
- `messages.upsert` are messages, `notify` (live) and `append` (came meanwhile, or sent from the phone) alike.
- A chat is named by the person's `…@s.whatsapp.net` address where the message tells it. Where it tells only the hidden
  `…@lid`, that is the chatId; `aliases` has what the body tells of both, in whatever order, for the ledger to apply.
- Own messages tell nothing of the other person: their alternative address and their pushName may be our own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from app.domain.incoming import IncomingUpdate, ReactionChange
from app.domain.models import MAX_NAME, Alias, IncomingMessage, MessageStatus, Sender
from app.providers.baileys.addresses import (
    GROUP,
    STATUS,
    alias_of,
    as_address,
    best_of,
    chat_alternatives,
    contact_aliases,
    participant_alternatives,
)
from app.providers.baileys.content import Content, NoMessage, Reacted, read
from app.providers.baileys.stubs import group_name, read_stub
from app.providers.parsed import Parsed
from app.providers.values import as_dict, as_id, as_list, as_number, as_text, as_time

_MESSAGES: Final = "messages.upsert"
_CONTACTS: Final = frozenset({"contacts.upsert", "contacts.update", "lid-mapping.update", "chats.phoneNumberShare"})

_STATUSES: Final[dict[object, MessageStatus]] = {
    0: "failed",
    1: "pending",
    2: "sent",
    3: "delivered",
    4: "read",
    5: "played",
    "ERROR": "failed",
    "PENDING": "pending",
    "SERVER_ACK": "sent",
    "DELIVERY_ACK": "delivered",
    "READ": "read",
    "PLAYED": "played",
}


def parse(payload: object, session_id: str, now: datetime, numbers: Mapping[str, str] | None = None) -> Parsed:
    """The messages of a decoded body. `now` (aware) is the time of those that do not tell theirs. Never raises.

    Reasons in `skipped`: `event` (of a kind that is not handled), `contacts` (an event that only tells addresses),
    `no_event`, `no_message` (something else in such a place), `no_id`, `bad_id`, `status` (the status broadcast),
    `newsletter`, `revoke`, `edit`, and `protocol` (what nobody sees).
    """
    return _Reader(session_id, now).read(payload)


class _Reader:
    def __init__(self, session_id: str, now: datetime) -> None:
        self._session_id, self._now = session_id, now
        self._messages: list[IncomingMessage] = []
        self._updates: list[IncomingUpdate] = []
        self._aliases: dict[Alias, None] = {}
        self._skipped: Counter[str] = Counter()

    def read(self, payload: object) -> Parsed:
        for event in payload if isinstance(payload, list) else [payload]:
            self._event(as_dict(event))
        return Parsed(self._messages, list(self._aliases), self._skipped, self._updates)

    def _event(self, event: dict[str, Any]) -> None:
        name, data = event.get("event"), event.get("data")
        if not isinstance(name, str):
            self._skipped["no_event"] += 1
        elif name == _MESSAGES:
            for entry in _entries(data):
                self._message(as_dict(entry))
        elif name in _CONTACTS:
            self._skipped["contacts"] += 1
            for alias in contact_aliases(data):
                self._learn(alias)
        else:
            self._skipped["event"] += 1

    def _learn(self, alias: Alias | None) -> None:
        if alias is not None:
            # Learned again, it is the latest: of two that contradict each other the last one counts.
            self._aliases.pop(alias, None)
            self._aliases[alias] = None

    def _message(self, entry: dict[str, Any]) -> None:
        key = as_dict(entry.get("key"))
        remote, message_id = key.get("remoteJid"), key.get("id")
        if not key:
            self._skipped["no_message"] += 1
        elif not isinstance(remote, str) or not isinstance(message_id, str) or not remote or not message_id:
            self._skipped["no_id"] += 1
        elif remote == STATUS:
            self._skipped["status"] += 1
        elif remote.endswith("@newsletter"):
            self._skipped["newsletter"] += 1
        else:
            address, stored_id = as_address(remote), as_id(message_id)
            if address is None or stored_id is None:
                self._skipped["bad_id"] += 1
            else:
                self._addressed(entry, key, address, stored_id)

    def _addressed(self, entry: dict[str, Any], key: dict[str, Any], address: str, message_id: str) -> None:
        from_me = key.get("fromMe") is True
        chat_id, sender = address, Sender(self._session_id)
        participants = (key.get("participant") or entry.get("participant"), *participant_alternatives(key))
        if address.endswith(GROUP):
            if not from_me:
                self._learn(alias_of(*participants))
                sender = Sender(best_of(*participants) or address, _name(entry))
        else:
            alternatives = chat_alternatives(key)
            self._learn(alias_of(address, *alternatives))
            chat_id = best_of(address, *alternatives) or address
            if not from_me:
                if address.endswith("@broadcast"):  # A list's message comes to us from a person, into their chat.
                    self._learn(alias_of(*participants))
                    chat_id = best_of(*participants) or address
                sender = Sender(chat_id, _name(entry))

        kind, parameters = entry.get("messageStubType"), entry.get("messageStubParameters")
        content = read(entry.get("message")) or read_stub(kind, parameters)
        if isinstance(content, NoMessage):
            self._skipped[content.reason] += 1
            return
        timestamp = as_time(entry.get("messageTimestamp"), self._now)
        if isinstance(content, Reacted):
            change = ReactionChange(sender, from_me, content.emoji)
            self._updates.append(IncomingUpdate(content.message_id, chat_id, timestamp, reaction=change))
            return
        content = content or Content("unknown")
        self._messages.append(
            IncomingMessage(
                message_id=message_id,
                chat_id=chat_id,
                from_me=from_me,
                sender=sender,
                type=content.type,
                text=content.text,
                media=content.media,
                reply_to=content.reply_to,
                status=_status(entry.get("status")) if from_me else "received",
                timestamp=timestamp,
                chat_name=group_name(kind, parameters) if address.endswith(GROUP) else None,
            )
        )


def _entries(data: object) -> list[Any]:
    """The messages of a payload: `{"messages": […]}`, a plain list, or one message."""
    if isinstance(data, dict) and "key" not in data:
        return as_list(data["messages"]) if isinstance(data.get("messages"), list) else [data]
    return data if isinstance(data, list) else [data]


def _name(entry: dict[str, Any]) -> str | None:
    return as_text(entry.get("pushName"), MAX_NAME) or as_text(entry.get("verifiedBizName"), MAX_NAME)


def _status(value: object) -> MessageStatus:
    known = _STATUSES.get(value) if isinstance(value, str) else None
    return known or _STATUSES.get(as_number(value), "sent")
