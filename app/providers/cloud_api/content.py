"""Reads the content of a Cloud API message by its `type`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from app.domain.models import MAX_NAME, MAX_TEXT, Media, MessageType
from app.providers.baileys import general
from app.providers.baileys.kinds import Content
from app.providers.baileys.media import coordinates
from app.providers.baileys.rich import answers
from app.providers.values import as_count, as_dict, as_flag, as_list, as_name, as_number, as_text, as_url
from app.providers.words import MAX_ITEMS, Node, counted, first, items, lines, row

_MEDIA: Final[dict[str, MessageType]] = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "voice": "audio",
    "document": "document",
    "sticker": "sticker",
}


def read_content(message: Node) -> Content:
    """Always returns content: unknown kinds are read by the general reader, or are `unknown`."""
    kind = message.get("type")
    if not isinstance(kind, str):
        return Content("unknown")
    node = as_dict(message.get(kind))
    if kind in _MEDIA:
        return Content(_MEDIA[kind], as_text(node.get("caption"), MAX_TEXT), _media(node))
    reader = _READERS.get(kind)
    content = reader(node, message) if reader else None
    if content is not None:
        return _with_origin(content, message)
    text = general.read(node)
    return Content("text", text) if text else Content("unknown")


def _with_origin(content: Content, message: Node) -> Content:
    """Add the advertisement that the person came from below the text."""
    origin = as_dict(message.get("referral"))
    if not origin:
        return content
    title = as_text(origin.get("headline"), MAX_NAME)
    shown = lines(f"From the ad: {title}" if title else "From an ad", origin.get("body"), origin.get("source_url"))
    return Content(content.type, lines(content.text, shown), content.media)


def _media(node: Node) -> Media | None:
    url = as_url(node.get("url") or node.get("link"))
    if url is None:
        return None
    return Media(
        url,
        mime_type=as_text(node.get("mime_type"), MAX_NAME),
        file_name=as_name(node.get("filename")),
        size=as_count(node.get("file_size")),
    )


def _text(node: Node, message: Node) -> Content | None:
    text = as_text(node.get("body"), MAX_TEXT)
    return Content("text", text) if text else None


def _location(node: Node, message: Node) -> Content | None:
    where = coordinates(node, "latitude", "longitude")
    text = lines(node.get("name"), node.get("address"), where, node.get("url"))
    return Content("location", text) if text else None


def _contacts(node: Node, message: Node) -> Content | None:
    people = []
    for contact in map(as_dict, as_list(message.get("contacts"))[:MAX_ITEMS]):
        names = as_dict(contact.get("name"))
        phones = [first(as_dict(phone), "phone", "wa_id", longest=64) for phone in as_list(contact.get("phones"))[:10]]
        mails = [first(as_dict(mail), "email", longest=MAX_NAME) for mail in as_list(contact.get("emails"))[:10]]
        people.append(lines(first(names, "formatted_name", "first_name", longest=MAX_NAME), *phones, *mails))
    text = lines(*people)
    return Content("contact", text) if text else None


def _interactive(node: Node, message: Node) -> Content | None:
    answer = as_dict(node.get("button_reply") or node.get("list_reply"))
    if answer:
        text = lines(answer.get("title"), answer.get("description")) or as_text(answer.get("id"), MAX_NAME)
        return Content("text", text) if text else None
    flow = as_dict(node.get("nfm_reply"))
    if flow:
        filled = general.parameters(flow.get("response_json"))
        text = lines(flow.get("body"), *answers(filled)) or as_text(flow.get("name"), MAX_NAME)
        return Content("text", text) if text else None
    call = as_dict(node.get("call_permission_reply"))
    if call:
        return Content("system", "Calls are allowed" if call.get("response") == "accept" else "Calls are not allowed")
    return None


def _button(node: Node, message: Node) -> Content | None:
    text = first(node, "text", "payload")
    return Content("text", text) if text else None


def _order(node: Node, message: Node) -> Content | None:
    goods = as_list(node.get("product_items"))
    total = sum(
        price * count
        for good in map(as_dict, goods)
        if (price := as_number(good.get("item_price"))) is not None
        and (count := as_count(good.get("quantity"))) is not None
        and abs(price) < 2**53
    )
    currency = as_text(as_dict(goods[0] if goods else None).get("currency"), 3)
    return Content(
        "text",
        lines(
            "Order",
            node.get("text"),
            counted(len(goods), "item", "items"),
            *items(goods, _good),
            f"Total: {currency or ''} {total:.2f}".replace("  ", " ") if total else None,
        ),
    )


def _good(good: Node) -> str | None:
    count, price = as_count(good.get("quantity")), as_number(good.get("item_price"))
    return row(
        good.get("product_retailer_id"),
        f"{count} × {good.get('currency', '')} {price}".replace("  ", " ") if count and price is not None else None,
    )


def _system(node: Node, message: Node) -> Content | None:
    return Content("system", as_text(node.get("body"), MAX_TEXT))


def _unsupported(node: Node, message: Node) -> Content | None:
    error = as_dict(next(iter(as_list(message.get("errors"))), None))
    view_once = as_flag(node.get("view_once")) or node.get("type") == "view_once"
    words = "View once: open it on the phone" if view_once else "WhatsApp does not pass on this kind of message"
    return Content("text", lines(words, as_dict(error.get("error_data")).get("details")))


_READERS: Final[dict[str, Callable[[Node, Node], Content | None]]] = {
    "text": _text,
    "location": _location,
    "contacts": _contacts,
    "interactive": _interactive,
    "button": _button,
    "order": _order,
    "system": _system,
    "unsupported": _unsupported,
    "unknown": _unsupported,
}
