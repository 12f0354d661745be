"""One entry of `messages.upsert`: a message, or a change of another one in the form of a message.

- An entry with an address and an id is a message: with its content if that can be read, or else of type `unknown`, to
  be completed by a repeat.
- An entry without anything to read (an edit, a vote, keys) may have come before as one that could not be decrypted.
  That placeholder is then removed.
- Our own messages say nothing about the other person: their alternative address and pushName may be our own.
"""

from __future__ import annotations

from typing import Any

from app.domain.incoming import ReactionChange
from app.domain.models import IncomingMessage, Sender
from app.providers.addresses import (
    GROUP,
    NEWSLETTER,
    STATUS,
    as_address,
    best_of,
    chat_alternatives,
    is_from_me,
    participant_alternatives,
)
from app.providers.baileys.content import VIEW_ONCE, is_placeholder_of_view_once, read
from app.providers.baileys.kinds import Content, Edited, NoMessage, Reacted, Revoked
from app.providers.baileys.statuses import as_status
from app.providers.baileys.stubs import group_name, is_placeholder, is_revoke, read_stub
from app.providers.collector import Collector
from app.providers.values import as_dict, as_id, as_name, as_time
from app.providers.words import Node


class Place:
    """The chat and sender of a key's message, both by the known address if the key has it."""

    def __init__(self, out: Collector, key: Node, entry: Node, address: str) -> None:
        self.from_me = is_from_me(key)
        self.chat_id, self.sender = address, Sender(out.session_id)
        participants = (key.get("participant") or entry.get("participant"), *participant_alternatives(key))
        if address.endswith(GROUP):
            if not self.from_me:
                out.learn(*participants)
                self.sender = Sender(best_of(*participants) or address, name_of(entry))
            return
        alternatives = chat_alternatives(key)
        out.learn(address, *alternatives)
        self.chat_id = best_of(address, *alternatives) or address
        if not self.from_me:
            if address.endswith("@broadcast"):  # A list's message comes to us from a person, into their chat.
                out.learn(*participants)
                self.chat_id = best_of(*participants) or address
            self.sender = Sender(self.chat_id, name_of(entry))


def name_of(entry: Node) -> str | None:
    return as_name(entry.get("pushName")) or as_name(entry.get("verifiedBizName"))


def addressed(out: Collector, key: Node) -> tuple[str, str] | None:
    """The address and the id of a key. Keys without valid ones are counted."""
    remote, message_id = key.get("remoteJid"), key.get("id")
    if not isinstance(remote, str) or not isinstance(message_id, str) or not remote or not message_id:
        out.skip("no_id")
        return None
    address, stored_id = as_address(remote), as_id(message_id)
    if address == STATUS:
        out.skip("status")
        return None
    if address is not None and address.endswith(NEWSLETTER):
        out.skip("newsletter")
        return None
    if address is None or stored_id is None:
        out.skip("bad_id")
        return None
    return address, stored_id


def keyed(out: Collector, entry: Node, part: str = "key") -> tuple[Node, str, str] | None:
    """The key, the address and the id of an entry with this part. Unusable entries are counted."""
    key = as_dict(entry.get("key"))
    if not key or not as_dict(entry.get(part)):
        out.skip("no_message")
        return None
    found = addressed(out, key)
    return found and (key, *found)


def learn_names(out: Collector, entries: list[Any]) -> None:
    """Collect the names of people in these entries, before reading texts that may mention them."""
    for entry in map(as_dict, entries):
        key = as_dict(entry.get("key"))
        name = name_of(entry) if key and not is_from_me(key) else None
        if name is None:
            continue
        for who in (
            (key.get("participant"), *participant_alternatives(key))
            if key.get("participant")
            else (
                key.get("remoteJid"),
                *chat_alternatives(key),
            )
        ):
            if address := as_address(who):
                out.names[address] = name


def read_message(out: Collector, entry: Node) -> None:
    found = keyed(out, entry)
    if found is None:
        return
    key, address, message_id = found
    place = Place(out, key, entry, address)
    kind, parameters = entry.get("messageStubType"), entry.get("messageStubParameters")
    content = read(entry.get("message"), out.names)
    if is_placeholder(kind) and (content is None or isinstance(content, NoMessage)):
        # A part was decrypted, but not the visible content.
        content = Content("text", VIEW_ONCE) if is_placeholder_of_view_once(key) else None
    elif is_revoke(kind):
        out.update(message_id, place.chat_id, deleted=True)
        return
    else:
        content = content or read_stub(kind, parameters)
    at = as_time(entry.get("messageTimestamp"), out.now)
    if content is None or isinstance(content, Content):
        content = content or Content("unknown")
        out.messages.append(
            IncomingMessage(
                message_id=message_id,
                chat_id=place.chat_id,
                from_me=place.from_me,
                sender=place.sender,
                type=content.type,
                text=content.text,
                media=content.media,
                reply_to=content.reply_to,
                status=(as_status(entry.get("status")) or "sent") if place.from_me else "received",
                timestamp=at,
                chat_name=group_name(kind, parameters) if address.endswith(GROUP) else None,
                mentions=content.mentions,
            )
        )
        return
    if isinstance(content, Edited):
        out.update(content.message_id, place.chat_id, content.at or at, text=content.text, mentions=content.mentions)
    elif isinstance(content, Revoked):
        # Without a time, as in messages.update, so that both give the same result in any order.
        out.update(content.message_id, place.chat_id, deleted=True)
    elif isinstance(content, Reacted):
        change = ReactionChange(place.sender, place.from_me, content.emoji)
        out.update(content.message_id, place.chat_id, content.at or at, reaction=change)
    else:
        out.skip(content.reason)
    out.update(message_id, place.chat_id, at, nothing_to_read=True)
