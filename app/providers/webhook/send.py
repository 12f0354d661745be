"""Sends messages by a webhook, signed according to Standard Webhooks.

The receiver recognizes a delivery by `webhook-id`, which is the same for all attempts, so it may be sent again. The
signature is the HMAC-SHA256 of `id.timestamp.body` with the key, in base64, after `v1,`. A key is base64 after
`whsec_`. There may be several keys, separated by spaces, while one is being replaced: each one signs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from datetime import datetime

from app.domain.deliveries import Report
from app.domain.events import format_time
from app.domain.models import MessageError
from app.providers.outgoing import Answer, Order, Request, SendSettings
from app.providers.payload import deliver_payload
from app.providers.refusals import AWAY, SLOW_DOWN, rejected
from app.providers.values import as_dict, as_id


def request(order: Order, send: SendSettings, now: datetime) -> Request | MessageError:
    body = json.dumps(
        {"type": "message.deliver", "timestamp": format_time(now), "data": deliver_payload(order)},
        ensure_ascii=False,
    ).encode(errors="replace")
    headers = {
        "Content-Type": "application/json",
        **sign(order.delivery_id, int(now.timestamp()), body, send.key or ""),
    }
    return Request(send.url or "", headers, body)


def sign(webhook_id: str, timestamp: int, body: bytes, keys: str) -> dict[str, str]:
    """The three headers of Standard Webhooks."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(key_of(key), signed, hashlib.sha256)).decode() for key in keys.split()]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }


def key_of(key: str) -> bytes:
    """The bytes of a `whsec_…` key. Raises ValueError if it is invalid."""
    try:
        return base64.b64decode(key.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError("A key must be base64 after whsec_.") from error


def read(answer: Answer) -> Report:
    """2xx: delivered. 4xx, except 408, 409, 425 and 429, and redirects: failed permanently."""
    if 200 <= answer.status < 300:
        return Report("sent", as_id(as_dict(answer.body).get("messageId")))
    if answer.status in (408, 409, 425, 429) or answer.status >= 500:
        error = SLOW_DOWN if answer.status == 429 else AWAY
        return Report("retry", error=error, retry_seconds=answer.retry_after)
    told = as_dict(as_dict(answer.body).get("error"))
    code, title = told.get("code"), told.get("title")
    if isinstance(code, str) and code and isinstance(title, str):
        return Report("failed", error=MessageError(code[:256], title[:256]))
    return Report("failed", error=rejected(f"HTTP status {answer.status}"))
