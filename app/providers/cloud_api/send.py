"""Sends messages through Meta's Cloud API, which accepts no id of ours, so a message may be sent twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from app.domain.deliveries import Report
from app.domain.models import MessageError
from app.providers.outgoing import Answer, Order, Request, Seen, SendSettings
from app.providers.refusals import (
    AWAY,
    BAD_FILE,
    BLOCKED,
    LOGGED_OUT,
    NO_MEDIA,
    NOT_ON_WHATSAPP,
    SLOW_DOWN,
    TOO_LARGE,
    WINDOW_CLOSED,
    refused,
    rejected,
)
from app.providers.values import as_count, as_dict, as_id, as_list, as_text

URL: Final = "https://graph.facebook.com/v23.0"
"""The default, unless the settings name another."""

_CODES: Final[Mapping[int, MessageError]] = {
    190: LOGGED_OUT,
    368: BLOCKED,
    131026: NOT_ON_WHATSAPP,
    131031: BLOCKED,
    131047: WINDOW_CLOSED,
    131052: BAD_FILE,
    131053: BAD_FILE,
    131051: NO_MEDIA,
    100: rejected("a part of the message is not valid"),
}
_PASSING: Final[Mapping[int, MessageError]] = {
    1: AWAY,
    2: AWAY,
    4: SLOW_DOWN,
    80007: SLOW_DOWN,
    130429: SLOW_DOWN,
    131000: AWAY,
    131016: AWAY,
    131048: SLOW_DOWN,
    131056: SLOW_DOWN,
    131057: AWAY,
    133004: AWAY,
}
"""Meta's codes for permanent and for temporary errors."""


def request(order: Order, send: SendSettings, now: datetime) -> Request | MessageError:
    message, media = order.message, order.message.media
    if message.chat_id.endswith(("@g.us", "@lid")):
        return NO_MEDIA
    body: dict[str, Any] = {"to": message.chat_id.removesuffix("@s.whatsapp.net")}
    if media is None:
        body |= {"type": "text", "text": {"body": message.text}}
    else:
        kind = message.type if message.type in ("image", "video", "audio", "sticker") else "document"
        content = {"link": media.url}
        if message.text and kind not in ("audio", "sticker"):
            content["caption"] = message.text
        if media.file_name and kind == "document":
            content["filename"] = media.file_name
        body |= {"type": kind, kind: content}
    if order.quoted is not None:
        body["context"] = {"message_id": order.quoted.id}
    return _post(body, send, order.phone_number_id)


def read(answer: Answer) -> Report:
    if 200 <= answer.status < 300:
        sent = as_list(as_dict(answer.body).get("messages"))
        return Report("sent", as_id(as_dict(sent[0]).get("id")) if sent else None)
    error = as_dict(as_dict(answer.body).get("error"))
    code = as_count(error.get("code")) or 0
    if code in _PASSING:
        return Report("retry", error=_PASSING[code], retry_seconds=answer.retry_after)
    if code in _CODES:
        details = as_text(as_dict(error.get("error_data")).get("details"), 500) or ""
        too_large = code in (100, 131052, 131053) and "large" in details.lower()
        return Report("failed", error=TOO_LARGE if too_large else _CODES[code])
    return refused(answer)


def seen(seen: Seen, send: SendSettings, account: str | None) -> Request | None:
    return _post({"status": "read", "message_id": seen.message_ids[-1]}, send, account)


def _post(body: Mapping[str, Any], send: SendSettings, account: str | None) -> Request:
    url = f"{(send.url or URL).rstrip('/')}/{account or send.instance or ''}/messages"
    headers = {"Authorization": f"Bearer {send.key}", "Content-Type": "application/json"}
    full = {"messaging_product": "whatsapp", **body}
    return Request(url, headers, json.dumps(full, ensure_ascii=False).encode(errors="replace"))
