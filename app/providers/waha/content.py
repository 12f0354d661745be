"""What a message of WAHA says.

The engine's own message (`_data`) is Baileys' with NOWEB and GOWS: it is read where WAHA's own fields say less.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from app.domain.models import MAX_NAME, MAX_TEXT, Media, MessageType, ReplyTo
from app.providers.addresses import as_address
from app.providers.baileys.content import QUOTE_LENGTH, read
from app.providers.baileys.kinds import Content, NoMessage
from app.providers.baileys.stubs import is_placeholder, read_stub
from app.providers.values import as_dict, as_flag, as_list, as_name, as_text, as_url
from app.providers.waha.ids import read_id
from app.providers.words import Node

_KINDS: Final[dict[str, MessageType]] = {
    "chat": "text",
    "image": "image",
    "video": "video",
    "gif": "video",
    "ptv": "video",
    "audio": "audio",
    "ptt": "audio",
    "document": "document",
    "sticker": "sticker",
    "location": "location",
    "vcard": "contact",
    "multi_vcard": "contact",
}


def read_content(node: Node) -> Content | NoMessage:
    data = as_dict(node.get("_data"))
    raw = read(data.get("message") or data.get("Message"))
    kind = _KINDS.get(str(data.get("type")))
    media, text = _media(node), as_text(node.get("body"), MAX_TEXT)
    if media is not None or as_flag(node.get("hasMedia")):
        if isinstance(raw, Content) and raw.type != "text":
            old = raw.media
            if media and old:
                own = media
                media = replace(
                    old,
                    url=own.url,
                    mime_type=own.mime_type or old.mime_type,
                    file_name=own.file_name or old.file_name,
                )
            return Content(raw.type, text or raw.text, media or old, raw.reply_to)
        return Content(kind or _kind_of(node, media), text, media)
    if isinstance(raw, Content):
        return raw
    location = as_dict(node.get("location"))
    if location:
        found = read({"locationMessage": {**location, **_degrees(location)}})
        return found if isinstance(found, Content) else Content("location")
    cards = [{"vcard": card} for card in as_list(node.get("vCards")) if isinstance(card, str)]
    if cards:
        found = read({"contactsArrayMessage": {"contacts": cards}})
        if isinstance(found, Content):
            return found
    if text is not None:
        return Content(kind or "text", text)
    if isinstance(raw, NoMessage) and not is_placeholder(data.get("messageStubType")):
        return raw
    stub = read_stub(data.get("messageStubType"), data.get("messageStubParameters"))
    if stub is not None:
        return stub
    return NoMessage("protocol") if data.get("type") == "protocol" else Content("unknown")


def _degrees(location: Node) -> Node:
    return {
        "degreesLatitude": location.get("latitude"),
        "degreesLongitude": location.get("longitude"),
        "name": location.get("name") or location.get("description"),
    }


def _kind_of(node: Node, media: Media | None) -> MessageType:
    mime = (media.mime_type if media else None) or as_text(as_dict(node.get("media")).get("mimetype"), MAX_NAME) or ""
    family = mime.partition("/")[0]
    if mime == "image/webp":
        return "sticker"
    return family if family in ("image", "video", "audio") else "document"  # type: ignore[return-value]


def _media(node: Node) -> Media | None:
    media = as_dict(node.get("media"))
    url = as_url(media.get("url") or node.get("mediaUrl"))
    if url is None:
        return None
    names = as_text(media.get("mimetype"), MAX_NAME), as_name(media.get("filename"))
    return Media(url, names[0], names[1])


def reply_to(node: Node) -> ReplyTo | None:
    quoted = as_dict(node.get("replyTo"))
    known = read_id(quoted.get("id"))
    if known.message_id is None:
        return None
    sender = as_address(quoted.get("participant")) or as_address(known.participant)
    return ReplyTo(known.message_id, sender, as_text(quoted.get("body"), QUOTE_LENGTH))
