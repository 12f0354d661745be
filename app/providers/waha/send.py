"""Sends messages through WAHA, which accepts no id of ours, so a message may be sent twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from app.domain.deliveries import Report
from app.domain.incoming import TypingAction
from app.domain.models import MessageError
from app.providers.outgoing import Answer, Order, Quoted, Request, Seen, SendSettings
from app.providers.refusals import AWAY, LOGGED_OUT, refused
from app.providers.values import as_dict, as_id
from app.providers.waha.ids import read_id


def request(order: Order, send: SendSettings, now: datetime) -> Request | MessageError:
    message, media = order.message, order.message.media
    body: dict[str, Any] = {"chatId": address_of(message.chat_id)}
    if media is None:
        path = "sendText"
        body["text"] = message.text
    else:
        path = {"image": "sendImage", "video": "sendVideo"}.get(message.type, "sendFile")
        file = {"url": media.url, "mimetype": media.mime_type, "filename": media.file_name}
        body["file"] = {name: value for name, value in file.items() if value is not None}
        body |= {"caption": message.text} if message.text else {}
    if order.quoted is not None:
        body["reply_to"] = _id_of(order.quoted, message.chat_id)
    return _post(path, body, send)


def read(answer: Answer) -> Report:
    body = as_dict(answer.body)
    if 200 <= answer.status < 300:
        return Report("sent", read_id(body.get("id")).message_id or as_id(as_dict(body.get("key")).get("id")))
    status = body.get("status")
    if status == "SCAN_QR_CODE":
        return Report("failed", error=LOGGED_OUT)
    if status in ("STARTING", "STOPPED", "FAILED"):
        return Report("retry", error=AWAY)
    return refused(answer)


def typing(chat_id: str, action: TypingAction, send: SendSettings) -> Request | None:
    return _post("stopTyping" if action == "stopped" else "startTyping", {"chatId": address_of(chat_id)}, send)


def presence(chat_id: str, send: SendSettings) -> Request | None:
    session = quote(send.instance or "default", safe="")
    return _post(f"{session}/presence/{quote(address_of(chat_id), safe='@')}/subscribe", {}, send)


def seen(seen: Seen, send: SendSettings, account: str | None) -> Request | None:
    chat_id = address_of(seen.chat_id)
    ids = [f"false_{chat_id}_{one}" for one in seen.message_ids] if not chat_id.endswith("@g.us") else None
    return _post("sendSeen", {"chatId": chat_id} | ({"messageIds": ids} if ids else {}), send)


def address_of(chat_id: str) -> str:
    """A person's address in WAHA's form."""
    number = chat_id.removesuffix("@s.whatsapp.net")
    return chat_id if number == chat_id else f"{number}@c.us"


def _id_of(quoted: Quoted, chat_id: str) -> str:
    """An id in WAHA's form, with direction, chat and, in groups, sender."""
    chat_id = address_of(chat_id)
    sender = f"_{address_of(quoted.sender_id)}" if chat_id.endswith("@g.us") and not quoted.from_me else ""
    return f"{'true' if quoted.from_me else 'false'}_{chat_id}_{quoted.id}{sender}"


def _post(path: str, body: Mapping[str, Any], send: SendSettings) -> Request:
    url = f"{(send.url or '').rstrip('/')}/api/{path}"
    headers = {"Content-Type": "application/json"} | ({"X-Api-Key": send.key} if send.key else {})
    full = {"session": send.instance or "default", **body}
    return Request(url, headers, json.dumps(full, ensure_ascii=False).encode(errors="replace"))
