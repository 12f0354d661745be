"""Contacts, groups and chats: names, aliases, and chats read on another device."""

from __future__ import annotations

from typing import Any

from app.domain.models import MAX_NAME
from app.providers.addresses import GROUP, LID, PERSON, as_address, as_lid, as_phone, best_of
from app.providers.collector import Collector
from app.providers.values import as_count, as_dict, as_list, as_text
from app.providers.words import Node, first


def entries_of(data: object, *names: str) -> list[Any]:
    """The items of a payload: a list or one item, as it is or under one of these names."""
    if isinstance(data, dict):
        data = next((data[name] for name in names if isinstance(data.get(name), list | dict)), data)
    return data if isinstance(data, list) else [data]


def read_contact(out: Collector, node: Node) -> None:
    """An item of `contacts.upsert`, `contacts.update`, `chats.phoneNumberShare` or `lid-mapping.update`."""
    addresses = _addresses(node)
    if not any(addresses):
        out.skip("no_id")
        return
    out.learn(*addresses)
    given = as_text(node.get("name"), MAX_NAME)  # from the account's address book
    own = first(node, "notify", "verifiedName", "pushName", longest=MAX_NAME)
    out.name(best_of(*addresses), given or own, calls_itself=given is None)


def _addresses(node: Node) -> tuple[object, ...]:
    return (
        node.get("id") or node.get("remoteJid"),
        as_lid(node.get("lid")),
        as_phone(node.get("phoneNumber")),
        node.get("jid"),
        as_phone(node.get("pn")),
    )


def read_group(out: Collector, node: Node) -> None:
    """An item of `groups.upsert` or `groups.update`."""
    address = as_address(node.get("id"))
    if address is None:
        out.skip("no_id")
        return
    read_members(out, node)
    out.name(address if address.endswith(GROUP) else None, as_text(node.get("subject"), MAX_NAME))


def read_members(out: Collector, node: Node) -> None:
    for member in as_list(node.get("participants")):
        if isinstance(member, dict):
            out.learn(*_addresses(member))


def read_chat(out: Collector, node: Node) -> None:
    """An item of `chats.upsert` or `chats.update`. `unreadCount` 0: another device has read it."""
    address = as_address(node.get("id") or node.get("remoteJid"))
    if address is None:
        out.skip("no_id")
        return
    others = (as_phone(node.get("pnJid")), as_lid(node.get("lidJid")), as_lid(node.get("accountLid")))
    if address.endswith((PERSON, LID)) and any(others):
        out.learn(address, *others)
        address = best_of(address, *others) or address
    out.name(address, first(node, "name", "subject", longest=MAX_NAME))
    if node.get("unreadCount") is not None and as_count(node.get("unreadCount")) == 0:
        out.read(address)


def read_mappings(out: Collector, data: object) -> None:
    """Pairs of a hidden and an open address: a list of `{"lid", "pn"}`, or an object of one for the other."""
    if isinstance(data, dict) and not {"lid", "pn"} & data.keys():
        for lid, phone in data.items():
            out.learn(as_lid(lid), as_phone(phone))
        return
    for pair in entries_of(data):
        out.learn(*_addresses(as_dict(pair)))
