"""Sends messages through Evolution API v2, which accepts no id of ours, so a message may be sent twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from app.domain.deliveries import Report
from app.domain.incoming import TypingAction
from app.domain.models import MessageError, kind_of
from app.providers.outgoing import Answer, Order, Request, Seen, SendSettings
from app.providers.refusals import refused
from app.providers.values import as_dict, as_id

TYPING_MS: Final = 6_000
"""How long Evolution shows typing without a repeat."""
_PRESENCES: Final[Mapping[TypingAction, str]] = {"typing": "composing", "recording": "recording", "stopped": "paused"}


def request(order: Order, send: SendSettings, now: datetime) -> Request | MessageError:
    message = order.message
    body: dict[str, Any] = {"number": number_of(message.chat_id)}
    if message.media is not None:
        kind = message.type if message.type in ("image", "video", "audio") else "document"
        body |= {"mediatype": kind, "media": message.media.url}
        body |= {"caption": message.text} if message.text else {}
        body |= {"fileName": message.media.file_name} if message.media.file_name else {}
        body |= {"mimetype": message.media.mime_type} if message.media.mime_type else {}
    else:
        body["text"] = message.text
    if order.quoted is not None:
        body["quoted"] = {"key": {"id": order.quoted.id}}
    return _post("message/sendMedia" if message.media else "message/sendText", body, send)


def read(answer: Answer) -> Report:
    if 200 <= answer.status < 300:
        return Report("sent", as_id(as_dict(as_dict(answer.body).get("key")).get("id")))
    return refused(answer)


def typing(chat_id: str, action: TypingAction, send: SendSettings) -> Request | None:
    body = {"number": number_of(chat_id), "presence": _PRESENCES[action], "delay": TYPING_MS}
    return _post("chat/sendPresence", body, send)


def presence(chat_id: str, send: SendSettings) -> Request | None:
    """Evolution subscribes to a contact's presence whenever it sends one. A pause is not visible to the contact."""
    if kind_of(chat_id) != "person":
        return None
    body = {"number": number_of(chat_id), "presence": "paused", "delay": 0}
    return _post("chat/sendPresence", body, send)


def seen(seen: Seen, send: SendSettings, account: str | None) -> Request | None:
    return _post("chat/markMessageAsRead", {"readMessages": seen.keys()}, send)


def number_of(chat_id: str) -> str:
    """A person's bare number, or otherwise the address unchanged."""
    return chat_id.removesuffix("@s.whatsapp.net")


def _post(path: str, body: Mapping[str, Any], send: SendSettings) -> Request:
    url = f"{(send.url or '').rstrip('/')}/{path}/{quote(send.instance or '', safe='')}"
    headers = {"apikey": send.key or "", "Content-Type": "application/json"}
    return Request(url, headers, json.dumps(body, ensure_ascii=False).encode(errors="replace"))
