"""Converts the engines' own messages (`_data`) to Baileys `message` objects, so that one reader serves all engines.

NOWEB passes on Baileys' object. GOWS (whatsmeow) has the same fields with Go names: `mentionedJID`, `URL`, and a
capitalized wrapper around each "one of". WEBJS has WhatsApp Web's flat objects with a `type`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from app.providers.values import as_dict, as_flag, as_list
from app.providers.words import Node

_INITIALISM: Final = re.compile(r"(?:SHA256|HTTP|JPEG|JSON|JID|PNG|URL|ID|IV|MS|TS)(?=[A-Z]|$)")

_MEDIA: Final[dict[str, str]] = {
    "image": "imageMessage",
    "video": "videoMessage",
    "gif": "videoMessage",
    "ptv": "ptvMessage",
    "audio": "audioMessage",
    "ptt": "audioMessage",
    "document": "documentMessage",
    "sticker": "stickerMessage",
}


def message_of(node: Node) -> Node | None:
    """The message of a WAHA payload. None if the engine's message is missing or has no such form."""
    data = as_dict(node.get("_data"))
    if "Info" in data or "Message" in data:
        return as_dict(_from_go(data.get("Message")))
    if isinstance(data.get("message"), dict):
        return as_dict(data["message"])
    kind = data.get("type")
    return _of_web(node, data, kind) if isinstance(kind, str) else None


def _from_go(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_go(one) for one in value]
    if not isinstance(value, dict):
        return value
    found: Node = {}
    for name, inner in value.items():
        if name[:1].isupper() and isinstance(inner, dict) and len(inner) == 1 and next(iter(inner))[:1].isupper():
            found |= _from_go(inner)
        else:
            found[_from_go_name(name)] = _from_go(inner)
    return found


def _from_go_name(name: str) -> str:
    name = _INITIALISM.sub(lambda word: word[0].capitalize(), name)
    return name[:1].lower() + name[1:]


def _of_web(node: Node, data: Node, kind: str) -> Node | None:
    context = {
        "mentionedJid": [as_dict(one).get("_serialized", one) for one in as_list(data.get("mentionedJidList"))],
        "groupMentions": data.get("groupMentions"),
    }
    if kind in _MEDIA:
        media = {
            "url": as_dict(node.get("media")).get("url") or node.get("mediaUrl"),
            "caption": data.get("caption") or (node.get("body") if as_flag(node.get("hasMedia")) else None),
            "jpegThumbnail": data.get("body"),
            "mimetype": data.get("mimetype"),
            "fileName": data.get("filename"),
            "fileLength": data.get("size"),
            "width": data.get("width"),
            "height": data.get("height"),
            "seconds": data.get("duration"),
            "contextInfo": context,
        }
        message: Node = {_MEDIA[kind]: media}
        return {"viewOnceMessage": {"message": message}} if as_flag(data.get("isViewOnce")) else message
    if kind == "chat" and not as_list(data.get("dynamicReplyButtons")):
        return {"extendedTextMessage": {"text": node.get("body"), "contextInfo": context}}
    make = _WEB.get(kind)
    return make(data) if make else None


def _buttons(data: Node) -> Node:
    words = {"text": data.get("title"), "contentText": data.get("body"), "footerText": data.get("footer")}
    return {"buttonsMessage": {**words, "buttons": data.get("dynamicReplyButtons")}}


def _button_answer(data: Node) -> Node:
    chosen = data.get("selectedButtonId") or data.get("selectedId")
    return {"buttonsResponseMessage": {"selectedDisplayText": data.get("body"), "selectedButtonId": chosen}}


def _poll(data: Node) -> Node:
    options = [{"optionName": as_dict(option).get("name")} for option in as_list(data.get("pollOptions"))]
    return {"pollCreationMessage": {"name": data.get("pollName"), "options": options}}


def _event(data: Node) -> Node:
    event = {
        "name": data.get("eventName"),
        "description": data.get("eventDescription"),
        "isCanceled": data.get("isEventCanceled"),
        "startTime": data.get("eventStartTime"),
        "endTime": data.get("eventEndTime"),
        "location": data.get("eventLocation"),
        "joinLink": data.get("eventJoinLink"),
    }
    return {"eventMessage": event}


def _invitation(data: Node) -> Node:
    words = {"groupName": data.get("inviteGrpName"), "caption": data.get("comment") or data.get("body")}
    return {"groupInviteMessage": {**words, "inviteExpiration": data.get("inviteCodeExp")}}


def _call(data: Node) -> Node:
    return {
        "callLogMessage": {
            "isVideo": data.get("isVideoCall"),
            "callOutcome": data.get("callOutcome"),
            "durationSecs": data.get("callDuration"),
        }
    }


_WEB: Final[dict[str, Callable[[Node], Node]]] = {
    "chat": _buttons,
    "buttons": _buttons,
    "buttons_response": _button_answer,
    "template_button_reply": _button_answer,
    "list": lambda data: {"listMessage": as_dict(data.get("list"))},
    "list_response": lambda data: {"listResponseMessage": as_dict(data.get("listResponse"))},
    "order": lambda data: {"orderMessage": data},
    "product": lambda data: {"productMessage": {"product": data}},
    "poll_creation": _poll,
    "event_creation": _event,
    "groups_v4_invite": _invitation,
    "call_log": _call,
}
