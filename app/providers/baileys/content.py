"""Reads the content of a Baileys message: its `message` object becomes type, text, media and quote.

The policy:

- The first known field that is not empty is the content. Wrappers (disappearing, view once, with caption, sent from
  another device …) all contain `{"message": …}`, so unknown wrappers are opened, too.
- Everything a person would see becomes text: options of a poll, buttons, places, names and numbers of contacts.
- Unknown kinds are read by a general reader, so that they are not empty (`app.providers.baileys.general`).
- Edits, deletions and reactions are changes of another message. Invisible parts (keys, votes, pins) are not messages;
  the result is then the reason.
- A picture without a URL is still a picture, with type and caption. Keys are never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from app.domain.mentions import with_names
from app.domain.models import MAX_NAME, MAX_TEXT, ReplyTo
from app.providers.addresses import as_address, is_person
from app.providers.baileys import business, general, media, rich, talk
from app.providers.baileys.kinds import (
    MAX_DEPTH,
    Change,
    Content,
    Edited,
    Found,
    NoMessage,
    Reacted,
    Reader,
    Revoked,
)
from app.providers.values import as_dict, as_id, as_known_time, as_list, as_number, as_text
from app.providers.words import Node, lines

QUOTE_LENGTH: Final = 1_024
"""Maximum number of characters of a quoted text."""
MAX_MENTIONS: Final = 50

_VIEW_ONCE: Final = ("viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension")
VIEW_ONCE: Final = "View once: open it on the phone"


def read(message: object, names: Mapping[str, str] | None = None) -> Found:
    """Read the content. None: it cannot be read, or is missing (so far). `names`: known names of people."""
    return _read(message, names or {}, 0)


def _read(message: object, names: Mapping[str, str], depth: int) -> Found:
    hidden: NoMessage | Change | None = None
    unread: list[tuple[str, Node]] = []
    junk = False
    for name, value in as_dict(message).items():
        if name == "conversation":
            text = as_text(value, MAX_TEXT)
            if text is not None:
                return Content("text", text)
            junk = junk or bool(value)
        elif name in _HIDDEN:
            hidden = hidden or NoMessage(_HIDDEN[name])
        elif isinstance(value, dict):
            found = _field(name, value, names, depth)
            if isinstance(found, Content | Edited | Revoked | Reacted):
                return found
            hidden = hidden or found
            if found is None:
                unread.append((name, value))
        elif value:  # Empty fields are protobuf defaults.
            junk = True
    for name, node in unread:
        text = general.read(node) if name not in _READERS else None
        if text is not None:
            return _answering(Content("text", text), node.get("contextInfo"), names, depth)
    return None if unread or junk else hidden


def _field(name: str, node: Node, names: Mapping[str, str], depth: int) -> Found:
    if name == "protocolMessage":
        return _protocol(node, names, depth)
    if name == "reactionMessage":
        return _reaction(node)
    reader = _READERS.get(name)
    if reader is None:
        inner = node.get("message")
        found = _read(inner, names, depth + 1) if isinstance(inner, dict) and depth < MAX_DEPTH else None
        return _view_once(found, inner) if name in _VIEW_ONCE else found
    content = reader(node)
    if content is None:
        return None
    context = as_dict(node.get("contextInfo"))
    text, mentions = _with_mentions(content.text, context, names)
    if shown := _advertisement(context):
        text = lines(text, shown)
    return _answering(replace(content, text=text, mentions=mentions), context, names, depth)


def _view_once(found: Found, inner: object) -> Found:
    if found is None and inner == {}:
        return Content("text", VIEW_ONCE)
    if isinstance(found, Content) and found.media is None and found.type != "text":
        return replace(found, text=lines(found.text, VIEW_ONCE))
    return found


def _protocol(node: Node, names: Mapping[str, str], depth: int) -> Found:
    kind = node.get("type", 0)
    target = as_id(as_dict(node.get("key")).get("id"))
    if kind in ("REVOKE", 0) and not isinstance(kind, bool):
        return Revoked(target) if target else NoMessage("revoke")
    if kind in ("MESSAGE_EDIT", 14):
        edited = read_edited(node.get("editedMessage"), names, depth + 1)
        seconds = as_number(node.get("timestampMs"))
        at = as_known_time(int(seconds // 1000)) if seconds is not None and 0 < seconds < 2**53 else None
        return Edited(target, edited.text or "", at, edited.mentions) if target and edited else NoMessage("edit")
    return NoMessage("protocol")


def read_edited(message: object, names: Mapping[str, str] | None = None, depth: int = 0) -> Content | None:
    """The new text of an edited message."""
    found = _read(message, names or {}, depth) if depth <= MAX_DEPTH else None
    return found if isinstance(found, Content) else None


def _reaction(node: Node) -> Reacted | NoMessage:
    target = as_id(as_dict(node.get("key")).get("id"))
    if target is None:
        return NoMessage("no_id")
    return Reacted(target, as_text(node.get("text"), MAX_NAME), as_known_time(node.get("senderTimestampMs")))


def _answering(content: Content, context: object, names: Mapping[str, str], depth: int) -> Content:
    """The content with its quote, from its `contextInfo`."""
    node = as_dict(context)
    message_id = as_id(node.get("stanzaId"))
    if message_id is None or content.reply_to is not None:
        return content
    found = _read(node.get("quotedMessage"), names, depth + 1) if depth < MAX_DEPTH else None
    quoted = found if isinstance(found, Content) else Content("unknown")
    reply_to = ReplyTo(message_id, as_address(node.get("participant")), as_text(quoted.text, QUOTE_LENGTH))
    return replace(content, reply_to=reply_to, mentions=(*content.mentions, *quoted.mentions))


def _with_mentions(text: str | None, context: Node, names: Mapping[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """The text with the names of mentioned people and groups instead of their numbers, and the addresses whose names
    are not in this body."""
    if not text or "@" not in text:
        return text, ()
    mentioned = [as_address(one) for one in as_list(context.get("mentionedJid"))[:MAX_MENTIONS]]
    people = [address for address in mentioned if address and is_person(address)]
    text = with_names(text, {address: names[address] for address in people if address in names})
    for mention in as_list(context.get("groupMentions"))[:MAX_MENTIONS]:
        node = as_dict(mention)
        group, subject = as_id(node.get("groupJid")), as_text(node.get("groupSubject"), MAX_NAME)
        if group and subject:
            text = text.replace(f"@{group}", f"@{subject}")
    return as_text(text, MAX_TEXT), tuple(dict.fromkeys(address for address in people if address not in names))


def _advertisement(context: Node) -> str | None:
    """The advertisement that a person came from, as it was shown."""
    shown = as_dict(context.get("externalAdReply"))
    told = (shown.get("sourceType") == "ad", shown.get("showAdAttribution") is True, shown.get("ctwaClid"))
    if not shown or not (any(told) or context.get("conversionSource")):
        return None
    title = as_text(shown.get("title"), MAX_NAME)
    return lines(f"From the ad: {title}" if title else "From an ad", shown.get("body"), shown.get("sourceUrl"))


_READERS: Final[dict[str, Reader]] = {**media.READERS, **rich.READERS, **business.READERS, **talk.READERS}

_HIDDEN: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            "albumMessage",  # announces pictures, which come as separate messages
            "botFeedbackMessage",
            "chat",
            "deviceListMetadata",
            "encEventResponseMessage",
            "encEventUpdateMessage",
            "fastRatchetKeySenderKeyDistributionMessage",
            "initialSecurityNotificationSettingSync",
            "keepInChatMessage",
            "messageContextInfo",
            "messageHistoryBundle",
            "messageHistoryNotice",
            "pinInChatMessage",
            "pollAddOptionMessage",
            "pollUpdateMessage",
            "senderKeyDistributionMessage",
            "stickerSyncRmrMessage",
        ),
        "protocol",
    ),
    "secretEncryptedMessage": "encrypted_edit",
    "encReactionMessage": "encrypted_reaction",
    "encCommentMessage": "encrypted_comment",
}


def is_placeholder_of_view_once(key: dict[str, Any]) -> bool:
    """Whether Baileys marked the message as one that only the phone can open."""
    return key.get("isViewOnce") is True
