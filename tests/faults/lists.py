"""The lists that a client has built, and their digest, which the fleet's JavaScript computes in the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

Part = tuple[str, str | None]
"""A session, and a chat of it or None: all of it."""
Digest = tuple[int, str]
"""How many messages, and a hash of all that is shown of them and of the chat."""
Stored = tuple[int, int]
"""How many messages of a chat are stored, and the number of the last of them."""


def digest(messages: Iterable[Mapping[str, Any]], chat: Mapping[str, Any] | None) -> Digest:
    """Of one chat: its messages in order, and what the list of chats says of it."""
    lines = [f"{m['seq']}\t{m['messageId']}\t{m['text']}\t{m['status']}\t{m['updatedSeq']}\n" for m in messages]
    if chat is not None:
        lines.append(f"{chat['lastSeq']}\t{chat['readSeq']}\t{chat['unreadCount']}\t{chat['updatedSeq']}\n")
    text = "".join(lines)
    return len(lines) - (chat is not None), hashlib.md5(text.encode()).hexdigest()


class Lists:
    """The events a client has received. Records violations: repeats, wrong order, and events of others."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = list(parts)
        self.whole = {session for session, chat in self.parts if chat is None}
        self.named = {(session, chat) for session, chat in self.parts if chat is not None}
        self.messages: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self.chats: dict[tuple[str, str], dict[str, Any]] = {}
        self.last: dict[str, int] = {}
        """The last number received of each session's stream."""
        self.violations: list[str] = []
        self.taken = 0

    def owns(self, session: str, chat: str) -> bool:
        return session in self.whole or (session, chat) in self.named

    def begin(self, session: str, seq: int) -> None:
        """The stream continues after this number."""
        self.last[session] = seq

    def take(self, name: str, data: dict[str, Any]) -> None:
        session, chat_id, seq = data["sessionId"], data["chatId"], data["seq"]
        self.taken += 1
        if not self.owns(session, chat_id):
            self.violations.append(f"not its own: {session} {chat_id} {seq}")
            return
        last = self.last.get(session)
        if last is not None and seq <= last:
            self.violations.append(f"again or out of order: {session} {seq} after {last}")
        if last is not None and session in self.whole and seq > last + 1:
            self.violations.append(f"a hole: {session} {seq} after {last}")
        self.last[session] = max(seq, last or 0)
        key = session, chat_id
        if "message" in data:
            message = data["message"]
            messages = self.messages.setdefault(key, {})
            known = messages.get(message["messageId"])
            # A loaded list may have the same number, but no earlier event can.
            if known is not None and known["seq"] != message["seq"]:
                self.violations.append(f"under two numbers: {session} {chat_id} {message['messageId']}")
            messages[message["messageId"]] = message
        self.chats[key] = data["chat"]

    def load(self, key: tuple[str, str], messages: Iterable[dict[str, Any]], chat: dict[str, Any] | None) -> None:
        """Merge lists from REST with the state from events: the later version of each counts."""
        mine = self.messages.setdefault(key, {})
        for message in messages:
            known = mine.get(message["messageId"])
            if known is None or known["updatedSeq"] <= message["updatedSeq"]:
                mine[message["messageId"]] = message
        self.messages[key] = dict(sorted(mine.items(), key=lambda one: one[1]["seq"]))
        if chat and (key not in self.chats or self.chats[key]["updatedSeq"] <= chat["updatedSeq"]):
            self.chats[key] = chat

    def has(self, stored: Mapping[tuple[str, str], Stored]) -> bool:
        """Whether it has everything stored of its subscriptions."""
        for key, (count, seq) in stored.items():
            mine = self.messages.get(key, {})
            if self.owns(*key) and (len(mine) < count or sum(m["seq"] <= seq for m in mine.values()) < count):
                return False
        return True

    def digests(self) -> dict[tuple[str, str], Digest]:
        keys = self.messages.keys() | self.chats.keys()
        return {key: digest(self.messages.get(key, {}).values(), self.chats.get(key)) for key in keys}
