"""Buttons, lists, templates, native flows, carousels, and the answers to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from app.domain.models import MAX_NAME, MAX_TEXT
from app.providers.baileys import general
from app.providers.baileys.kinds import MAX_DEPTH, Content, Reader
from app.providers.baileys.media import READERS as MEDIA
from app.providers.values import as_count, as_dict, as_list, as_number, as_text
from app.providers.words import MAX_ITEMS, Node, amount_of, first, items, lines, preview_of, row

_TECHNICAL: Final = ("flow_token", "version", "flow_id", "saved_address_id")
"""Fields of a flow's answer that people did not fill in."""


def headed(header: Node, text: str | None) -> Content | None:
    """A text, possibly with a picture, video or file above it."""
    for name in ("imageMessage", "videoMessage", "documentMessage", "locationMessage"):
        node = header.get(name)
        if isinstance(node, dict) and (content := MEDIA[name](node)) is not None:
            media = content.media
            if media and media.preview is None and (preview := preview_of(header.get("jpegThumbnail"))):
                media = replace(media, preview=preview)
            return replace(content, text=lines(content.text, text), media=media)
    return Content("text", text) if text else None


def _field(*names: str) -> Reader:
    """A reader of the first of these fields that has text."""

    def reader(node: Node) -> Content | None:
        text = first(node, *names)
        return Content("text", text) if text is not None else None

    return reader


def _list(node: Node) -> Content | None:
    products = (product for section in _sections(node, "productListInfo") for product in _rows(section, "products"))
    goods = as_dict(node.get("productListInfo"))
    text = lines(
        node.get("title"),
        node.get("description"),
        *items(_flat(node.get("sections")), _row_text),
        *(lines(section.get("title")) for section in map(as_dict, as_list(goods.get("productSections"))[:MAX_ITEMS])),
        *items([*products], lambda product: first(product, "title", "productId")),
        node.get("footerText"),
    )
    return Content("text", text) if text else None


def _sections(node: Node, name: str) -> Iterable[Node]:
    return map(as_dict, as_list(as_dict(node.get(name)).get("productSections"))[:MAX_ITEMS])


def _rows(section: Node, name: str) -> list[object]:
    return as_list(section.get(name))[:MAX_ITEMS]


def _flat(sections: object) -> list[object]:
    rows = [one for section in as_list(sections)[:MAX_ITEMS] for one in _rows(as_dict(section), "rows")]
    return rows[:MAX_ITEMS]


def _row_text(node: Node) -> str | None:
    return row(first(node, "title", "rowId", "id"), node.get("description"))


def _list_answer(node: Node) -> Content | None:
    chosen = as_dict(node.get("singleSelectReply"))
    text = lines(node.get("title"), node.get("description")) or as_text(chosen.get("selectedRowId"), MAX_TEXT)
    return Content("text", text) if text else None


def _buttons(node: Node) -> Content | None:
    labels = items(node.get("buttons"), _button_label)
    return headed(node, lines(node.get("text"), node.get("contentText"), node.get("footerText"), *labels))


def _button_label(button: Node) -> str | None:
    label = as_text(as_dict(button.get("buttonText")).get("displayText"), MAX_NAME)
    return label or flow_label(as_dict(button.get("nativeFlowInfo"))) or as_text(button.get("buttonId"), MAX_NAME)


def _template(node: Node) -> Content | None:
    interactive = node.get("interactiveMessageTemplate")
    if isinstance(interactive, dict):
        return _interactive(interactive)
    filled = as_dict(node.get("hydratedTemplate") or node.get("hydratedFourRowTemplate") or node.get("fourRowTemplate"))
    words = ("hydratedTitleText", "hydratedContentText", "hydratedFooterText")
    return headed(
        filled, lines(*(filled.get(name) for name in words), *items(filled.get("hydratedButtons"), _template_label))
    )


def _template_label(button: Node) -> str | None:
    for kind, address in (("quickReplyButton", "id"), ("urlButton", "url"), ("callButton", "phoneNumber")):
        shown = as_dict(button.get(kind))
        if shown:
            label = first(shown, "displayText", longest=MAX_NAME)
            target = None if kind == "quickReplyButton" else shown.get(address)
            return row(label, target) or first(shown, address, longest=MAX_NAME)
    return None


def _structured(node: Node) -> Content | None:
    content = _template(as_dict(node.get("hydratedHsm")))
    text = lines(node.get("elementName"), *as_list(node.get("params"))[:MAX_ITEMS])
    return content or (Content("text", text) if text else None)


def _interactive(node: Node) -> Content | None:
    header, body, footer = (as_dict(node.get(name)) for name in ("header", "body", "footer"))
    flow, cards = as_dict(node.get("nativeFlowMessage")), as_dict(node.get("carouselMessage")).get("cards")
    shop = as_dict(node.get("shopStorefrontMessage") or node.get("collectionMessage"))
    product = as_dict(as_dict(header.get("productMessage")).get("product"))
    text = lines(
        header.get("title"),
        header.get("subtitle"),
        product.get("title"),
        body.get("text"),
        footer.get("text"),
        *items(flow.get("buttons"), flow_label),
        *(_card(as_dict(card)) for card in as_list(cards)[:MAX_ITEMS]),
        first(shop, "title", longest=MAX_NAME),
    )
    return headed(header, text or general.read(general.parameters(flow.get("messageParamsJson"))))


def _card(node: Node) -> str | None:
    """A card of a carousel, in a few lines."""
    content = _interactive({name: value for name, value in node.items() if name != "carouselMessage"})
    return f"— {content.text}" if content and content.text else None


def flow_label(button: Node) -> str | None:
    """A button of a native flow: its label and target, the rows of a list, or a payment."""
    parameters = general.parameters(button.get("buttonParamsJson") or button.get("paramsJson"))
    label = first(parameters, "display_text", "title", "flow_cta", "name", longest=MAX_NAME)
    link = as_dict(parameters.get("link"))
    target = first(parameters, "url", "copy_code", "phone_number", longest=MAX_NAME) or link.get("url")
    rows = [_row_text(as_dict(one)) for one in _flat(parameters.get("sections"))]
    payment = _payment(parameters)
    return row(label, target, payment, *rows) or as_text(button.get("name"), MAX_NAME)


def _payment(parameters: Node) -> str | None:
    """A payment button: the goods, the total, and the PIX key."""
    order, currency = as_dict(parameters.get("order")), parameters.get("currency")
    goods = [
        row(good.get("name"), amount_of(currency, good.get("amount")), f"× {count}" if count else None)
        for good in map(as_dict, as_list(order.get("items"))[:MAX_ITEMS])
        # A shared PIX key comes with an empty order.
        if (count := as_count(good.get("quantity"))) or good.get("name")
    ]
    keys = []
    for setting in map(as_dict, as_list(parameters.get("payment_settings"))[:MAX_ITEMS]):
        pix = as_dict(setting.get("pix_static_code") or setting.get("pix_dynamic_code"))
        if pix:
            keys.append(row("PIX", pix.get("merchant_name"), pix.get("key"), pix.get("code")))
    due = parameters.get("total_amount")
    total = amount_of(currency, due) if as_number(as_dict(due).get("value", due)) else None
    status = as_text(order.get("status"), MAX_NAME) if goods else None
    return row(*goods, total, status, *keys)


def _interactive_answer(node: Node) -> Content | None:
    flow = as_dict(node.get("nativeFlowResponseMessage"))
    parameters = general.parameters(flow.get("paramsJson"))
    body = as_text(as_dict(node.get("body")).get("text"), MAX_TEXT)
    text = lines(body, *answers(parameters)) or as_text(flow.get("name"), MAX_NAME)
    return Content("text", text) if text else None


def answers(parameters: Node, depth: int = 0) -> Iterable[str]:
    """A person's answers: the label or id of a choice, or each field of a form."""
    if chosen := row(first(parameters, "title", "display_text", longest=MAX_NAME), parameters.get("description")):
        yield chosen
        return
    if len(parameters) <= 2 and (chosen := as_text(parameters.get("id"), MAX_NAME)):
        yield chosen
        return
    for name, value in list(parameters.items())[:MAX_ITEMS]:
        if name in _TECHNICAL:
            continue
        if isinstance(value, dict):
            yield from answers(value, depth + 1) if depth < MAX_DEPTH else ()
        else:
            given = [words for one in as_list(value)[:MAX_ITEMS] or [value] if (words := _given(one))]
            if given:
                yield f"{name}: {', '.join(given)}"


def _given(value: object) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str | int | float) and value != "" else None


def _rich_answer(node: Node) -> Content | None:
    """An assistant's answer with its parts, such as tables and code."""
    parts: list[object] = []
    for part in map(as_dict, as_list(node.get("submessages"))[:MAX_ITEMS]):
        known = len(parts)
        parts.append(part.get("messageText"))
        table = as_dict(part.get("tableMetadata"))
        parts.append(table.get("title"))
        parts += [row(*as_list(as_dict(one).get("items"))) for one in as_list(table.get("rows"))[:MAX_ITEMS]]
        code = as_dict(part.get("codeMetadata"))
        parts += [as_dict(block).get("codeContent") for block in as_list(code.get("codeBlocks"))[:MAX_ITEMS]]
        if not any(parts[known:]):
            parts.append(general.read(part))
    text = lines(*parts) or general.read(node)
    return Content("text", text) if text else None


READERS: Final[dict[str, Reader]] = {
    "extendedTextMessage": _field("text", "matchedText", "title"),
    "buttonsMessage": _buttons,
    "buttonsResponseMessage": _field("selectedDisplayText", "selectedButtonId"),
    "templateMessage": _template,
    "templateButtonReplyMessage": _field("selectedDisplayText", "selectedId"),
    "highlyStructuredMessage": _structured,
    "listMessage": _list,
    "listResponseMessage": _list_answer,
    "interactiveMessage": _interactive,
    "interactiveResponseMessage": _interactive_answer,
    "richResponseMessage": _rich_answer,
}
