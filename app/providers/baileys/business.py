"""Goods, orders and payments."""

from __future__ import annotations

from typing import Final

from app.domain.models import MAX_NAME
from app.providers.baileys import general
from app.providers.baileys.kinds import Content, Reader
from app.providers.baileys.rich import headed
from app.providers.values import as_dict, as_number, as_text
from app.providers.words import Node, amount, amount_of, counted, first, lines, time_line


def _order(node: Node) -> Content | None:
    total = amount(node.get("totalCurrencyCode"), node.get("totalAmount1000"))
    text = lines(
        node.get("orderTitle"),
        node.get("message"),
        counted(node.get("itemCount"), "item", "items"),
        f"Total: {total}" if total and as_number(node.get("totalAmount1000")) else None,
    )
    return Content("text", text or "Order")


def _product(node: Node) -> Content | None:
    product, catalog = as_dict(node.get("product")), as_dict(node.get("catalog"))
    currency = product.get("currencyCode")
    price = amount(currency, product.get("priceAmount1000")) if product.get("priceAmount1000") else None
    sale = amount(currency, product.get("salePriceAmount1000")) if product.get("salePriceAmount1000") else None
    text = lines(
        product.get("title"),
        product.get("description"),
        f"{sale} (instead of {price})" if sale and price else sale or price,
        product.get("url"),
        catalog.get("title"),
        catalog.get("description"),
        node.get("body"),
        node.get("footer"),
    )
    return headed({"imageMessage": product.get("productImage") or catalog.get("catalogImage")}, text)


def _invoice(node: Node) -> Content | None:
    return Content("text", lines("Invoice", node.get("note")))


def _note(node: Node) -> str | None:
    message = as_dict(node.get("noteMessage"))
    return first(message, "conversation") or first(as_dict(message.get("extendedTextMessage")), "text")


def _payment(node: Node) -> Content:
    return Content("system", lines("Payment", _note(node)))


def _payment_request(node: Node) -> Content:
    money = as_dict(node.get("amount"))
    total = amount_of(money.get("currencyCode"), money) if money else None
    if total is None and node.get("amount1000"):
        total = amount(node.get("currencyCodeIso4217"), node.get("amount1000"))
    until = time_line("Until", node.get("expiryTimestamp"))
    return Content("system", lines("Request for payment", total, _note(node), until))


def _words(words: str, *names: str) -> Reader:
    """A reader with this text, followed by the first of these fields."""

    def reader(node: Node) -> Content:
        return Content("system", lines(words, first(node, *names, longest=MAX_NAME) if names else None))

    return reader


def _payment_invitation(node: Node) -> Content:
    return Content("system", lines("Invitation to set up payments", time_line("Until", node.get("expiryTimestamp"))))


def _request_phone_number(node: Node) -> Content:
    return Content("system", "Requested the phone number")


def _payment_link(node: Node) -> Content | None:
    text = as_text(general.read(node), MAX_NAME)
    return Content("text", text) if text else None


READERS: Final[dict[str, Reader]] = {
    "orderMessage": _order,
    "productMessage": _product,
    "invoiceMessage": _invoice,
    "sendPaymentMessage": _payment,
    "requestPaymentMessage": _payment_request,
    "declinePaymentRequestMessage": _words("The request for payment was declined"),
    "cancelPaymentRequestMessage": _words("The request for payment was cancelled"),
    "paymentInviteMessage": _payment_invitation,
    "paymentLinkMetadata": _payment_link,
    "requestPhoneNumberMessage": _request_phone_number,
}
