"""Typing, presence and the account's connection: `presence.update` and `connection.update`.

A QR code is a secret that gives control of the account. It is never stored.
"""

from __future__ import annotations

from typing import Final

from app.domain.incoming import ConnectionSignal, ConnectionState, PresenceSignal, TypingAction, TypingSignal
from app.domain.models import Sender
from app.providers.addresses import as_address, is_person
from app.providers.collector import Collector
from app.providers.values import as_dict, as_known_time, as_number, as_text
from app.providers.words import Node

MAX_PEOPLE: Final = 1_000
"""Maximum number of people in one presence.update."""
LOGGED_OUT: Final = 401
SCAN: Final = "A QR code is waiting to be scanned."

_TYPING: Final[dict[str, TypingAction]] = {
    "composing": "typing",
    "typing": "typing",
    "recording": "recording",
    "paused": "stopped",
}
_ONLINE: Final = ("available", "online")
_OFFLINE: Final = ("unavailable", "offline")
_STATES: Final[dict[str, ConnectionState]] = {
    "open": "connected",
    "connecting": "connecting",
    "close": "disconnected",
    "refused": "logged_out",
}


def read_presence(out: Collector, data: object) -> None:
    node = as_dict(data)
    chat_id = as_address(node.get("id"))
    people = as_dict(node.get("presences"))
    if chat_id is None:
        out.skip("no_id")
        return
    if not people:
        out.skip("no_change")
    for who, presence in list(people.items())[:MAX_PEOPLE]:
        read_one(out, chat_id, who, as_dict(presence))


def read_one(out: Collector, chat_id: str, who: object, presence: Node) -> None:
    """The presence of one person in a chat."""
    person = as_address(who)
    state = presence.get("lastKnownPresence")
    if person is None or not is_person(person):
        out.skip("bad_address")
    elif not isinstance(state, str):
        out.skip("no_change")
    elif (action := _TYPING.get(state)) is not None:
        out.signals.append(TypingSignal(chat_id, Sender(person, out.names.get(person)), action))
    elif state in _ONLINE or state in _OFFLINE:
        seen = as_known_time(presence.get("lastSeen"))
        sender = Sender(person, out.names.get(person))
        out.signals.append(PresenceSignal(chat_id, sender, "online" if state in _ONLINE else "offline", seen))
    else:
        out.skip("no_change")


def read_connection(out: Collector, data: object) -> None:
    """Also accepts Evolution's form, `{"state", "statusReason"}`."""
    node = as_dict(data)
    word = node.get("connection") or node.get("state")
    state = _STATES.get(word) if isinstance(word, str) else None
    if state is None:
        if node.get("qr"):
            out.signals.append(ConnectionSignal("connecting", SCAN))
        else:
            out.skip("no_change")
        return
    error = as_dict(as_dict(node.get("lastDisconnect")).get("error"))
    code = as_number(
        as_dict(error.get("output")).get("statusCode") or error.get("statusCode") or node.get("statusReason")
    )
    if state == "disconnected" and code == LOGGED_OUT:
        state = "logged_out"
    detail = SCAN if node.get("qr") else _detail(error) if state != "connected" else None
    out.signals.append(ConnectionSignal(state, detail))


def _detail(error: Node) -> str | None:
    payload = as_dict(as_dict(error.get("output")).get("payload"))
    return as_text(payload.get("message") or error.get("message"), 200)
