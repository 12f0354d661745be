"""Pictures, videos, audio, files, locations and contacts."""

from __future__ import annotations

import quopri
import re
from typing import Final

from app.domain.models import MAX_NAME, MAX_TEXT, Media, MessageType
from app.providers.baileys.kinds import Content, Reader
from app.providers.values import as_count, as_dict, as_list, as_name, as_number, as_text, as_url
from app.providers.words import MAX_ITEMS, Node, lines, preview_of

VCARD_LENGTH: Final = 16_384


def read_media(kind: MessageType) -> Reader:
    def reader(node: Node) -> Content:
        return Content(kind, as_text(node.get("caption"), MAX_TEXT), media_of(node))

    return reader


def media_of(node: Node, url: object = None) -> Media | None:
    """The media of a file, or None without an address. `url`: an address to use instead of its own."""
    address = as_url(url) or as_url(node.get("url"))
    if address is None:
        return None
    seconds = as_number(node.get("seconds"))
    return Media(
        address,
        mime_type=as_text(node.get("mimetype"), MAX_NAME),
        file_name=as_name(node.get("fileName")),
        size=as_count(node.get("fileLength")),
        width=as_count(node.get("width")) or None,
        height=as_count(node.get("height")) or None,
        duration_seconds=float(seconds) if seconds is not None and 0 <= seconds <= 1_000_000_000 else None,
        preview=preview_of(node.get("jpegThumbnail") or node.get("pngThumbnail")),
    )


def _location(node: Node) -> Content | None:
    text = lines(node.get("name"), node.get("address"), coordinates(node), node.get("comment"), node.get("caption"))
    return Content("location", text) if text else None


def coordinates(node: Node, latitude: str = "degreesLatitude", longitude: str = "degreesLongitude") -> str | None:
    north, east = as_number(node.get(latitude)), as_number(node.get(longitude))
    if north is None or east is None or not -90 <= north <= 90 or not -180 <= east <= 180:
        return None
    return f"{north:.6f}, {east:.6f}"


_FOLD: Final = re.compile(r"\r?\n[ \t]")
_PHONE_LINE: Final = re.compile(r"^(?:[\w-]{1,20}\.)?TEL[^:\r\n]{0,200}:(?:tel:)?([^\r\n]{1,64})", re.I | re.M)
_NAME_LINE: Final = re.compile(r"^FN([^:\r\n]{0,200}):((?:[^\r\n]|(?<==)\r?\n){1,1024})", re.I | re.M)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def _unescape(text: str) -> str:
    """Remove the escapes of a vCard (RFC 6350, 3.4)."""
    return _ESCAPE.sub(lambda found: " " if found[1] in "nN" else found[1], text).strip()


def _decoded(text: str) -> str:
    """Quoted-printable, in which vCards of version 2.1 have what is not ASCII."""
    return quopri.decodestring(text.encode()).decode(errors="replace")


def read_person(node: Node) -> str | None:
    card = _FOLD.sub("", as_text(node.get("vcard"), VCARD_LENGTH) or "")
    name = as_text(node.get("displayName"), MAX_NAME)
    if name is None and (line := _NAME_LINE.search(card)):
        name = as_text(_decoded(line[2]) if "QUOTED-PRINTABLE" in line[1].upper() else line[2], MAX_NAME)
    phones = dict.fromkeys(_unescape(phone) for phone in _PHONE_LINE.findall(card)[:10])
    return lines(name and _unescape(name), *phones)


def _contact(node: Node) -> Content | None:
    text = read_person(node)
    return Content("contact", text) if text else None


def _contacts(node: Node) -> Content | None:
    people = [read_person(as_dict(contact)) for contact in as_list(node.get("contacts"))[:MAX_ITEMS]]
    text = lines(*people) or as_text(node.get("displayName"), MAX_NAME)
    return Content("contact", text) if text else None


READERS: Final[dict[str, Reader]] = {
    "imageMessage": read_media("image"),
    "videoMessage": read_media("video"),
    "ptvMessage": read_media("video"),
    "audioMessage": read_media("audio"),
    "documentMessage": read_media("document"),
    "stickerMessage": read_media("sticker"),
    "locationMessage": _location,
    "liveLocationMessage": _location,
    "contactMessage": _contact,
    "contactsArrayMessage": _contacts,
}
