"""Reads the content of a WAHA message.

The engine's own message is read if WAHA's fields have less (`app.providers.waha.engines`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from app.domain.models import MAX_NAME, MAX_TEXT, Media, MessageType, ReplyTo
from app.providers.addresses import as_address
from app.providers.baileys.content import QUOTE_LENGTH, read
from app.providers.baileys.kinds import Change, Content, Edited, NoMessage, Reacted, Revoked
from app.providers.baileys.stubs import is_placeholder, read_stub
from app.providers.values import as_dict, as_flag, as_list, as_name, as_text, as_url
from app.providers.waha.engines import message_of
from app.providers.waha.ids import read_id
from app.providers.words import Node, lines

_NOTHING: Final = ("protocol", "revoked", "e2e_notification", "gp2", "notification", "notification_template", "debug")
"""Types of WEBJS that are not messages for people."""


def read_content(node: Node, names: Mapping[str, str]) -> Content | NoMessage | Change:
    """`names`: known names of people, by address."""
    data = as_dict(node.get("_data"))
    raw = read(message_of(node), names)
    if isinstance(raw, Edited | Revoked | Reacted):
        return raw
    media, text = _media(node), as_text(node.get("body"), MAX_TEXT)
    if media is not None or as_flag(node.get("hasMedia")):
        if isinstance(raw, Content) and raw.type != "text":
            return replace(raw, text=raw.text or text, media=_joined(media, raw.media))
        return Content(_kind_of(node, media), text, media)
    if isinstance(raw, Content):
        return raw
    location = as_dict(node.get("location"))
    if location:
        found = read({"locationMessage": {**location, **_degrees(location)}})
        return found if isinstance(found, Content) else Content("location")
    cards: list[Node] = [{"vcard": card} for card in as_list(node.get("vCards")) if isinstance(card, str)]
    if not cards and data.get("type") == "vcard":
        cards = [{"vcard": node.get("body")}]
    if cards:
        found = read({"contactsArrayMessage": {"contacts": cards}})
        return found if isinstance(found, Content) else Content("contact")
    if text is not None:
        return Content("text", text)
    if isinstance(raw, NoMessage) and not is_placeholder(data.get("messageStubType")):
        return raw
    stub = read_stub(data.get("messageStubType"), data.get("messageStubParameters"))
    if stub is not None:
        return stub
    if data.get("type") in _NOTHING:
        return NoMessage("protocol")
    text = lines(data.get("title"), data.get("description"), data.get("caption"))
    return Content("text", text) if text else Content("unknown")


def _joined(own: Media | None, raw: Media | None) -> Media | None:
    """Media with WAHA's address, because the engine's is encrypted, and the other fields of both."""
    if own is None or raw is None:
        return own or raw
    return replace(raw, url=own.url, mime_type=own.mime_type or raw.mime_type, file_name=own.file_name or raw.file_name)


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
