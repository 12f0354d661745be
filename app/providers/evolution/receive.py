"""Payloads of Evolution API v2: `{"event", "instance", "data", …}`, one event per body.

- Its events are Baileys' in another form: `data` is one message, an update names its message as `keyId`, an edit or a
  revoke is the bare protocolMessage, and media may have Evolution's own address (`mediaUrl`), which is used instead of
  the encrypted one.
- Bodies are not signed. Evolution sends configured headers, so a token of ours comes as `Authorization: Bearer …`.
- `apikey` and QR codes are secrets, and never stored.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from app.domain.incoming import Receipt
from app.providers.addresses import GROUP, as_address, best_of, is_from_me
from app.providers.baileys import people, receive, signals
from app.providers.baileys.changes import error_of
from app.providers.baileys.content import read_edited
from app.providers.baileys.messages import Place, addressed
from app.providers.baileys.people import entries_of
from app.providers.baileys.statuses import as_status
from app.providers.collector import Collector, receipt_status
from app.providers.parsed import Parsed
from app.providers.provider import Numbers
from app.providers.values import as_dict, as_flag, as_id, as_known_time, as_list
from app.providers.words import Node

_MESSAGES: Final = ("messages.upsert", "send.message", "messages.set", "send.message.update")
_MEDIA: Final = (
    "imageMessage",
    "videoMessage",
    "ptvMessage",
    "audioMessage",
    "documentMessage",
    "stickerMessage",
)


def parse(payload: object, session_id: str, now: datetime, numbers: Numbers | None = None) -> Parsed:
    """The reasons in `skipped` are explained in `app.providers.reasons`."""
    out = Collector(session_id, now)
    for event in map(as_dict, payload if isinstance(payload, list) else [payload]):
        name = event.get("event")
        if not isinstance(name, str):
            out.skip("no_event")
            continue
        name, data = receive.canonical(name), event.get("data")
        own = as_address(event.get("sender"))
        if name in _MESSAGES:
            entries = entries_of(data, "messages") if "key" not in as_dict(data) else [data]
            receive.read_messages(out, [_as_baileys(as_dict(entry)) for entry in entries])
        elif name == "messages.update":
            for entry in map(as_dict, entries_of(data)):
                _update(out, entry, own)
        elif (handler := _HANDLERS.get(name)) is not None:
            for entry in map(as_dict, entries_of(data)):
                handler(out, entry)
        else:
            receive.handle(out, name, data)
    return out.parsed()


def _as_baileys(entry: Node) -> Node:
    """The message in Baileys' form, with the quote and the media's address in their places."""
    message = dict(as_dict(entry.get("message")))
    context = as_dict(entry.get("contextInfo"))
    url = message.pop("mediaUrl", None)
    message.pop("base64", None)
    for name, value in message.items():
        if not isinstance(value, dict) or name == "messageContextInfo":
            continue
        node = dict(value)
        if context and not as_dict(node.get("contextInfo")).get("stanzaId"):
            node["contextInfo"] = {**as_dict(node.get("contextInfo")), **context}
        if url and name in _MEDIA:
            node["url"] = url
        elif url and isinstance(node.get("message"), dict):
            node["message"] = _as_baileys({"message": {**node["message"], "mediaUrl": url}})["message"]
        message[name] = node
    text = message.get("conversation")
    if isinstance(text, str) and text and context.get("stanzaId"):
        message = {"extendedTextMessage": {"text": text, "contextInfo": context}}
    return {**entry, "message": message or entry.get("message")}


def _update(out: Collector, entry: Node, own: str | None) -> None:
    """A status. `messageId` is the id in Evolution's database; `keyId` is the message's id."""
    if "update" in entry:  # older versions pass on Baileys' form
        receive.handle(out, "messages.update", [entry])
        return
    nested = as_dict(entry.get("key"))
    key = {
        "id": entry.get("keyId") or nested.get("id"),
        "remoteJid": entry.get("remoteJid") or nested.get("remoteJid"),
        "fromMe": entry.get("fromMe", nested.get("fromMe")),
        "participant": entry.get("participant") or nested.get("participant"),
    }
    found = addressed(out, key)
    if found is None:
        return
    address, message_id = found
    word = entry.get("status")
    if word in ("DELETED", "EDITED"):
        out.update(message_id, Place(out, key, entry, address).chat_id, deleted=True) if word == "DELETED" else _change(
            out, {**entry, "key": key}
        )
        return
    status = as_status(word)
    at = as_known_time(entry.get("messageTimestamp"))
    if status is None:
        out.skip("no_change")
    elif as_flag(key["fromMe"]) is False:
        if status in ("read", "played"):
            out.read(Place(out, key, entry, address).chat_id)
        else:
            out.skip("not_ours")
    else:
        person, reached = best_of(key["participant"]), receipt_status(status)
        if address.endswith(GROUP) and person and person != own and reached:
            out.update(message_id, address, at, receipt=Receipt(person, reached))
        else:
            error = error_of(entry.get("messageStubParameters")) if status == "failed" else None
            out.status(message_id, address, at, status=status, error=error)


def _change(out: Collector, entry: Node) -> None:
    """`messages.edited`: the bare protocolMessage of an edit or a revoke."""
    key = as_dict(entry.get("key"))
    found = addressed(out, key)
    if found is None:
        return
    address, message_id = found
    chat_id = address if is_from_me(key) else Place(out, key, entry, address).chat_id
    at = as_known_time(entry.get("timestampMs")) or as_known_time(entry.get("messageTimestamp"))
    if entry.get("type") in ("REVOKE", 0):
        out.update(message_id, chat_id, deleted=True)
        return
    edited = as_dict(entry.get("editedMessage") or as_dict(entry.get("message")).get("editedMessage"))
    content = read_edited(as_dict(edited.get("message")) or edited, out.names)
    if content is None:
        out.skip("edit")
    else:
        out.update(message_id, chat_id, at, text=content.text or "", mentions=content.mentions)


def _delete(out: Collector, entry: Node) -> None:
    """`messages.delete`: a key, or an object with one. Older versions also report edits this way."""
    for one in as_list(entry.get("keys")) or [entry]:
        node = as_dict(one)
        key = as_dict(node.get("key")) or node
        if "editedMessage" in node or "editedMessage" in as_dict(node.get("message")):
            _change(out, {**node, "key": key})
            continue
        if not as_id(key.get("id")):
            key = {**key, "id": node.get("keyId")}
        found = addressed(out, key)
        if found is not None:
            out.update(found[1], found[0], deleted=True)


_HANDLERS: Final[dict[str, Callable[[Collector, Node], None]]] = {
    "messages.edited": _change,
    "messages.delete": _delete,
    "presence.update": signals.read_presence,
    "connection.update": signals.read_connection,
    "qrcode.updated": lambda out, node: signals.read_connection(out, {"qr": True}),
    "contacts.upsert": people.read_contact,
    "contacts.update": people.read_contact,
    "groups.upsert": people.read_group,
    "group.update": people.read_group,
    "groups.update": people.read_group,
    "chats.upsert": people.read_chat,
    "chats.update": people.read_chat,
}
