"""Payloads of Baileys bots: events as `{"event": NAME, "data": PAYLOAD}`, a list of these, or the map of `ev.process`.

The policy:

- Nothing raises, whatever is in a body. Skipped parts are counted by reason.
- `messages.upsert` with `notify` (live) and `append` (received meanwhile, or sent from the phone) and
  `messaging-history.set` are messages.
- A chat is named by the person's `…@s.whatsapp.net` address if the message has it. Otherwise the hidden `…@lid`
  address is the chatId. `aliases` has all pairs in the body, in any order, for the ledger to apply.
- Edits, deletions and reactions come twice, as a message and as an update. Both are returned, with the same target and
  time, and the ledger treats the second as a repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from app.providers.baileys import changes, people, signals
from app.providers.baileys.messages import learn_names, read_message
from app.providers.baileys.people import entries_of
from app.providers.collector import Collector
from app.providers.parsed import Parsed
from app.providers.provider import Numbers
from app.providers.values import as_dict, as_list

Handler = Callable[[Collector, object], None]


def parse(payload: object, session_id: str, now: datetime, numbers: Numbers | None = None) -> Parsed:
    """The reasons in `skipped` are explained in `app.providers.reasons`."""
    out = Collector(session_id, now)
    for event in payload if isinstance(payload, list) else [payload]:
        read_event(out, event)
    return out.parsed()


def read_event(out: Collector, value: object) -> None:
    event = as_dict(value)
    name = event.get("event")
    if isinstance(name, str):
        handle(out, name, event.get("data"))
        return
    named = [key for key in event if canonical(key) in _HANDLERS]
    if not named:
        out.skip("no_event")
    for key, data in event.items() if named else ():
        handle(out, key, data)


def canonical(name: str) -> str:
    """`messages.upsert`, `MESSAGES_UPSERT` and `messages-upsert` as one."""
    return name[:64].lower().replace("_", ".").replace("-", ".").strip(". ")


def handle(out: Collector, name: str, data: object) -> None:
    handler = _HANDLERS.get(canonical(name))
    if handler is None:
        out.skip("event")
    else:
        handler(out, data)


def _each(read: Callable[[Collector, dict[str, Any]], None], *names: str) -> Handler:
    def handler(out: Collector, data: object) -> None:
        for entry in entries_of(data, *names):
            read(out, as_dict(entry))

    return handler


def read_messages(out: Collector, data: object) -> None:
    """`{"messages": […]}`, a list, or one message."""
    entries = entries_of(data, "messages") if "key" not in as_dict(data) else [data]
    learn_names(out, entries)
    for entry in entries:
        read_message(out, as_dict(entry))


def _history(out: Collector, data: object) -> None:
    node = as_dict(data)
    people.read_mappings(out, node.get("lidPnMappings") or [])
    for contact in as_list(node.get("contacts")):
        people.read_contact(out, as_dict(contact))
    for chat in map(as_dict, as_list(node.get("chats"))):
        people.read_chat(out, chat)
        for wrapped in as_list(chat.get("messages")):
            entry = as_dict(wrapped)
            read_message(out, as_dict(entry.get("message")) if "key" not in entry else entry)
    read_messages(out, as_list(node.get("messages")))


def _members(out: Collector, data: object) -> None:
    for node in map(as_dict, entries_of(data)):
        people.read_members(out, node)
    out.skip("event")


_HANDLERS: Final[dict[str, Handler]] = {
    "messages.upsert": read_messages,
    "messages.update": _each(changes.read_update, "messages", "updates"),
    "message.receipt.update": _each(changes.read_receipt, "receipts"),
    "messages.reaction": _each(changes.read_reaction, "reactions"),
    "messages.delete": changes.read_delete,
    "messaging.history.set": _history,
    "contacts.upsert": _each(people.read_contact, "contacts"),
    "contacts.update": _each(people.read_contact, "contacts"),
    "contacts.set": _each(people.read_contact, "contacts"),
    "chats.phonenumbershare": _each(people.read_contact),
    "lid.mapping.update": people.read_mappings,
    "groups.upsert": _each(people.read_group, "groups"),
    "groups.update": _each(people.read_group, "groups"),
    "group.participants.update": _members,
    "chats.upsert": _each(people.read_chat, "chats"),
    "chats.update": _each(people.read_chat, "chats"),
    "chats.set": _each(people.read_chat, "chats"),
    "presence.update": signals.read_presence,
    "connection.update": signals.read_connection,
}
