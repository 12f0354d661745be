"""The rooms that events are sent to. Keys are tuples, so that no id, whatever is in it, can be taken for another.

A live stream of a whole session is in `session` alone; one of some chats is in `chats` and in a `chat` each. The kind
says how the stream wants its events, since each kind gets other bytes: `b` in batches, `r` with an offset for
Socket.IO's connection state recovery.
"""

from __future__ import annotations

from typing import Final

Room = tuple[str, ...]

KINDS: Final = ("", "b", "r", "br")


def kind(*, batch: bool, recovery: bool) -> str:
    return ("b" if batch else "") + ("r" if recovery else "")


def session(session_id: str, kind: str = "") -> Room:
    """Those who have the whole session."""
    return ("session", kind, session_id)


def chat(session_id: str, chat_id: str, kind: str = "") -> Room:
    """Those who named this chat."""
    return ("chat", kind, session_id, chat_id)


def chats(session_id: str, kind: str = "") -> Room:
    """Those who named any chats of the session; what concerns the session as such goes here and to `session`."""
    return ("chats", kind, session_id)


def of_session(session_id: str) -> list[Room]:
    """Those who have anything of the session, however they want it."""
    return [room(session_id, kind) for kind in KINDS for room in (session, chats)]


SERVICE: Final[Room] = ("service",)
"""Everybody who has a subscription, live or catching up."""
