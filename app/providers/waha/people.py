"""WAHA's contacts, groups and chats, typing and presence, and the account's connection."""

from __future__ import annotations

from typing import Final

from app.domain.incoming import ConnectionSignal, ConnectionState
from app.domain.models import MAX_NAME
from app.providers.addresses import as_address, as_lid, best_of
from app.providers.baileys.signals import SCAN, read_one
from app.providers.collector import Collector
from app.providers.values import as_dict, as_list, as_number, as_text
from app.providers.words import Node, first

_STATES: Final[dict[str, tuple[ConnectionState, str | None]]] = {
    "WORKING": ("connected", None),
    "STARTING": ("connecting", None),
    "SCAN_QR_CODE": ("connecting", SCAN),
    "STOPPED": ("disconnected", "The session is stopped."),
    "FAILED": ("disconnected", "The session has failed."),
    "PASSKEY_REQUIRED": ("connecting", "WhatsApp asks for a passkey."),
    "PASSKEY_CONFIRMATION_REQUIRED": ("connecting", "WhatsApp asks to confirm a passkey."),
}


def read_presence(out: Collector, node: Node) -> None:
    chat = as_address(node.get("id"))
    if chat is None:
        out.skip("no_id")
        return
    for presence in map(as_dict, as_list(node.get("presences"))):
        read_one(out, chat, presence.get("participant") or chat, presence)


def read_session(out: Collector, node: Node) -> None:
    word = node.get("status")
    state = _STATES.get(word.upper()) if isinstance(word, str) else None
    if state is None:
        out.skip("no_change")
    else:
        out.signals.append(ConnectionSignal(*state))


def read_contact(out: Collector, node: Node) -> None:
    addresses = (node.get("id"), as_lid(node.get("lid")), node.get("phoneNumber"))
    out.learn(*addresses)
    given = first(node, "name", "shortName", longest=MAX_NAME)
    own = first(node, "pushName", "pushname", longest=MAX_NAME)
    out.name(best_of(*addresses), given or own, calls_itself=given is None)


def read_group(out: Collector, node: Node) -> None:
    group = as_dict(node.get("group")) or node
    address = as_address(group.get("id"))
    if address is None:
        out.skip("no_id")
        return
    for member in map(as_dict, as_list(group.get("participants")) + as_list(node.get("participants"))):
        out.learn(member.get("id"), member.get("pn"), as_lid(member.get("lid")))
    out.name(address, first(group, "subject", "name", longest=MAX_NAME))


def read_chat(out: Collector, node: Node) -> None:
    address = as_address(node.get("id"))
    out.name(address, as_text(node.get("name"), MAX_NAME))
    if address is None:
        out.skip("no_id")
    elif as_number(node.get("unreadCount")) == 0:
        out.read(address)
