"""What a Baileys message says: its `message` object, turned into type, text, media and what it answers.

The policy:

- The first field that is known and has something in it is the content. Wrappers (disappearing, view once, with
  caption, sent from another device …) all hold `{"message": …}`, so one not yet known is opened like the others.
- What a person would see becomes text: options of a poll, buttons, places, names and numbers of contacts.
- What nobody sees (keys, votes, pins, edits, deletions) is no message; the answer is then why.
- A picture without a URL is still a picture: type and caption stay. Thumbnails and keys are never taken.
- A reaction is a change of the message that it is about; without an emoji, it was taken back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from app.domain.models import MAX_NAME, MAX_TEXT, Media, MessageType, ReplyTo
from app.providers.baileys.addresses import as_address
from app.providers.values import as_count, as_dict, as_id, as_list, as_number, as_text, as_url

MAX_DEPTH: Final = 8
"""Wrappers in wrappers; more is no message."""
MAX_ITEMS: Final = 100
"""Options, buttons, contacts … of one message that are shown."""
QUOTE_LENGTH: Final = 1_024
"""Characters of a quoted text."""
VCARD_LENGTH: Final = 16_384

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    type: MessageType
    text: str | None = None
    media: Media | None = None
    reply_to: ReplyTo | None = None


@dataclass(frozen=True, slots=True)
class NoMessage:
    """Nothing that is shown: `reason` is counted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reacted:
    """The person's reaction to a message of the same chat."""

    message_id: str
    emoji: str | None


def read(message: object, depth: int = 0) -> Content | NoMessage | Reacted | None:
    """None: there is something that cannot be read, or nothing at all (yet)."""
    hidden: NoMessage | None = None
    unread = False
    for name, value in as_dict(message).items():
        if name == "conversation":
            text = as_text(value, MAX_TEXT)
            if text is not None:
                return Content("text", text)
            unread = unread or bool(value)
        elif name in _HIDDEN:
            hidden = hidden or NoMessage(_reason(name, as_dict(value)))
        elif isinstance(value, dict):
            found = _read_field(name, value, depth)
            if isinstance(found, Content | Reacted):
                return found
            hidden = hidden or found
            unread = unread or found is None
        elif value:  # Empty fields are a protobuf's defaults.
            unread = True
    return None if unread else hidden


def _read_field(name: str, node: Node, depth: int) -> Content | NoMessage | Reacted | None:
    if name == "reactionMessage":
        return _reaction(node)
    reader = _READERS.get(name)
    if reader is None:
        inner = node.get("message")
        return read(inner, depth + 1) if isinstance(inner, dict) and depth < MAX_DEPTH else None
    content = reader(node)
    if content is None:
        return None
    return replace(content, reply_to=content.reply_to or _reply_to(node.get("contextInfo"), depth))


def _reason(name: str, node: Node) -> str:
    if name == "protocolMessage":
        kind = node.get("type")
        if kind in ("REVOKE", 0) and not isinstance(kind, bool):
            return "revoke"
        if kind in ("MESSAGE_EDIT", 14):
            return "edit"
    return "protocol"


def _reply_to(context: object, depth: int) -> ReplyTo | None:
    node = as_dict(context)
    message_id = as_id(node.get("stanzaId"))
    if message_id is None:
        return None
    quoted = read(node.get("quotedMessage"), depth + 1) if depth < MAX_DEPTH else None
    text = quoted.text if isinstance(quoted, Content) else None
    return ReplyTo(message_id, as_address(node.get("participant")), as_text(text, QUOTE_LENGTH))


def _lines(*parts: object) -> str | None:
    """The texts among `parts`, each on a line."""
    return as_text("\n".join(text for part in parts if (text := as_text(part, MAX_TEXT))), MAX_TEXT)


def _items(values: object, text_of: Callable[[Node], object]) -> Iterable[str]:
    for value in as_list(values)[:MAX_ITEMS]:
        text = as_text(text_of(as_dict(value)), MAX_NAME)
        if text is not None:
            yield f"• {text}"


# Text


def _extended_text(node: Node) -> Content | None:
    text = as_text(node.get("text"), MAX_TEXT)
    return Content("text", text) if text is not None else None


def _field(*names: str, kind: MessageType = "text") -> Callable[[Node], Content | None]:
    """A reader of the first of these fields that has text."""

    def reader(node: Node) -> Content | None:
        text = next((text for name in names if (text := as_text(node.get(name), MAX_TEXT))), None)
        return Content(kind, text) if text is not None else None

    return reader


def _note(words: str) -> Callable[[Node], Content]:
    """A reader of what we have no better words for."""
    return lambda node: Content("system", words)


def _poll(node: Node) -> Content | None:
    text = _lines(node.get("name"), *_items(node.get("options"), lambda option: option.get("optionName")))
    return Content("text", text) if text else None


def _list(node: Node) -> Content | None:
    rows = (
        row for section in as_list(node.get("sections"))[:MAX_ITEMS] for row in as_list(as_dict(section).get("rows"))
    )
    shown = [row for row, _ in zip(rows, range(MAX_ITEMS), strict=False)]
    text = _lines(
        node.get("title"), node.get("description"), *_items(shown, lambda row: row.get("title")), node.get("footerText")
    )
    return Content("text", text) if text else None


def _headed(header: Node, text: str | None) -> Content | None:
    """Buttons and templates: a text, perhaps under a picture, a film or a file."""
    for name in ("imageMessage", "videoMessage", "documentMessage", "locationMessage"):
        node = header.get(name)
        if isinstance(node, dict):
            content = _READERS[name](node)
            if content is not None:
                return replace(content, text=_lines(content.text, text))
    return Content("text", text) if text else None


def _buttons(node: Node) -> Content | None:
    labels = _items(node.get("buttons"), lambda button: as_dict(button.get("buttonText")).get("displayText"))
    return _headed(node, _lines(node.get("text"), node.get("contentText"), node.get("footerText"), *labels))


def _template(node: Node) -> Content | None:
    interactive = node.get("interactiveMessageTemplate")
    if isinstance(interactive, dict):
        return _interactive(interactive)
    filled = as_dict(node.get("hydratedTemplate") or node.get("hydratedFourRowTemplate"))
    kinds = ("quickReplyButton", "urlButton", "callButton")
    labels = _items(
        filled.get("hydratedButtons"),
        lambda button: next((text for kind in kinds if (text := as_dict(button.get(kind)).get("displayText"))), None),
    )
    words = ("hydratedTitleText", "hydratedContentText", "hydratedFooterText")
    return _headed(filled, _lines(*(filled.get(name) for name in words), *labels))


def _structured(node: Node) -> Content | None:
    return _template(as_dict(node.get("hydratedHsm")))


def _interactive(node: Node) -> Content | None:
    header, body, footer = (as_dict(node.get(name)) for name in ("header", "body", "footer"))
    return _headed(header, _lines(header.get("title"), header.get("subtitle"), body.get("text"), footer.get("text")))


def _interactive_response(node: Node) -> Content | None:
    text = as_text(as_dict(node.get("body")).get("text"), MAX_TEXT)
    text = text or as_text(as_dict(node.get("nativeFlowResponseMessage")).get("name"), MAX_TEXT)
    return Content("text", text) if text else None


def _product(node: Node) -> Content | None:
    product = as_dict(node.get("product"))
    text = _lines(product.get("title"), product.get("description"), node.get("body"), node.get("footer"))
    return _headed({"imageMessage": product.get("productImage")}, text)


def _event(node: Node) -> Content | None:
    place = as_dict(node.get("location"))
    text = _lines(node.get("name"), node.get("description"), place.get("name"), place.get("address"))
    return Content("text", text) if text else None


def _invitation(node: Node) -> Content | None:
    group = as_text(node.get("groupName"), MAX_NAME)
    return Content("text", _lines(f"Invitation to the group {group}" if group else "Invitation", node.get("caption")))


def _payment(words: str) -> Callable[[Node], Content]:
    def reader(node: Node) -> Content:
        note = read(node.get("noteMessage"), MAX_DEPTH)
        return Content("system", _lines(words, note.text if isinstance(note, Content) else None))

    return reader


def _call_log(node: Node) -> Content:
    missed = node.get("callOutcome") in ("MISSED", "SILENCED_BY_DND", "SILENCED_UNKNOWN_CALLER", 1, 6, 7)
    kind = "video call" if node.get("isVideo") is True else "voice call"
    return Content("system", f"Missed {kind}" if missed else kind.capitalize())


# Media


def _media(kind: MessageType) -> Callable[[Node], Content]:
    def reader(node: Node) -> Content:
        return Content(kind, as_text(node.get("caption"), MAX_TEXT), _media_of(node))

    return reader


def _media_of(node: Node) -> Media | None:
    url = as_url(node.get("url"))
    if url is None:
        return None
    seconds = as_number(node.get("seconds"))
    return Media(
        url,
        mime_type=as_text(node.get("mimetype"), MAX_NAME),
        file_name=as_text(node.get("fileName"), MAX_NAME),
        size=as_count(node.get("fileLength")),
        width=as_count(node.get("width")) or None,
        height=as_count(node.get("height")) or None,
        duration_seconds=float(seconds) if seconds is not None and 0 <= seconds <= 1_000_000_000 else None,
    )


# Places and people


def _location(node: Node) -> Content | None:
    text = _lines(node.get("name"), node.get("address"), _coordinates(node), node.get("comment"), node.get("caption"))
    return Content("location", text) if text else None


def _coordinates(node: Node) -> str | None:
    latitude, longitude = as_number(node.get("degreesLatitude")), as_number(node.get("degreesLongitude"))
    if latitude is None or longitude is None or not -90 <= latitude <= 90 or not -180 <= longitude <= 180:
        return None
    return f"{latitude:.6f}, {longitude:.6f}"


_PHONE_LINE: Final = re.compile(r"^(?:[\w-]{1,20}\.)?TEL[^:\r\n]{0,200}:(?:tel:)?([^\r\n]{1,64})", re.I | re.M)
_NAME_LINE: Final = re.compile(r"^FN[^:\r\n]{0,200}:([^\r\n]{1,256})", re.I | re.M)


def _person(node: Node) -> str | None:
    card = as_text(node.get("vcard"), VCARD_LENGTH) or ""
    name = as_text(node.get("displayName"), MAX_NAME)
    if name is None and (line := _NAME_LINE.search(card)):
        name = line[1].strip()
    phones = dict.fromkeys(phone.strip() for phone in _PHONE_LINE.findall(card)[:10])
    return _lines(name, *phones)


def _contact(node: Node) -> Content | None:
    text = _person(node)
    return Content("contact", text) if text else None


def _contacts(node: Node) -> Content | None:
    people = [_person(as_dict(contact)) for contact in as_list(node.get("contacts"))[:MAX_ITEMS]]
    text = _lines(*people) or as_text(node.get("displayName"), MAX_NAME)
    return Content("contact", text) if text else None


def _reaction(node: Node) -> Reacted | NoMessage:
    message_id = as_id(as_dict(node.get("key")).get("id"))
    if message_id is None:
        return NoMessage("no_id")
    return Reacted(message_id, as_text(node.get("text"), MAX_NAME))


_POLL_NAMES: Final = ("pollCreationMessage", *(f"pollCreationMessageV{version}" for version in (2, 3, 5)))

_READERS: Final[dict[str, Callable[[Node], Content | None]]] = {
    "extendedTextMessage": _extended_text,
    "imageMessage": _media("image"),
    "videoMessage": _media("video"),
    "ptvMessage": _media("video"),
    "audioMessage": _media("audio"),
    "documentMessage": _media("document"),
    "stickerMessage": _media("sticker"),
    "locationMessage": _location,
    "liveLocationMessage": _location,
    "contactMessage": _contact,
    "contactsArrayMessage": _contacts,
    **dict.fromkeys(_POLL_NAMES, _poll),
    "buttonsMessage": _buttons,
    "buttonsResponseMessage": _field("selectedDisplayText", "selectedButtonId"),
    "templateMessage": _template,
    "templateButtonReplyMessage": _field("selectedDisplayText", "selectedId"),
    "highlyStructuredMessage": _structured,
    "listMessage": _list,
    "listResponseMessage": _field("title", "description"),
    "interactiveMessage": _interactive,
    "interactiveResponseMessage": _interactive_response,
    "productMessage": _product,
    "orderMessage": _field("orderTitle", "message"),
    "invoiceMessage": _field("note"),
    "eventMessage": _event,
    "groupInviteMessage": _invitation,
    "newsletterAdminInviteMessage": _field("caption", "newsletterName"),
    "scheduledCallCreationMessage": _field("title", kind="system"),
    "sendPaymentMessage": _payment("Payment"),
    "requestPaymentMessage": _payment("Request for payment"),
    "requestPhoneNumberMessage": _note("Asked for the phone number"),
    "callLogMesssage": _call_log,  # spelled so in the protocol
    "call": _note("Call"),
}

_HIDDEN: Final = frozenset(
    {
        "albumMessage",  # announces pictures, which come as messages of their own
        "cancelPaymentRequestMessage",
        "chat",
        "declinePaymentRequestMessage",
        "deviceListMetadata",
        "encCommentMessage",
        "encEventResponseMessage",
        "encReactionMessage",
        "fastRatchetKeySenderKeyDistributionMessage",
        "keepInChatMessage",
        "messageContextInfo",
        "messageHistoryBundle",
        "messageHistoryNotice",
        "pinInChatMessage",
        "pollUpdateMessage",
        "protocolMessage",
        "scheduledCallEditMessage",
        "secretEncryptedMessage",
        "senderKeyDistributionMessage",
        "stickerSyncRmrMessage",
    }
)
