"""The payload that a bot or a webhook gets to deliver."""

from __future__ import annotations

from typing import Any

from app.domain.events import render_message
from app.providers.outgoing import Order


def deliver_payload(order: Order) -> dict[str, Any]:
    """`deliver` of the contract. The quoted message has the provider's id."""
    message = render_message(order.message)
    if message["replyTo"] is not None and order.quoted is not None:
        message["replyTo"]["messageId"] = order.quoted.id
    return {
        "deliveryId": order.delivery_id,
        "sessionId": order.message.session_id,
        "chatId": order.message.chat_id,
        "message": message,
    }
