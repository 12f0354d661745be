"""The rooms that events are sent to. Keys are tuples, so that ids with any characters stay distinct.

A live stream of a whole session is only in `session`; a stream of some chats is in `chats`, and in `chat` for each
chat. The kind says which bytes the stream gets: `b` in batches, `r` with an offset for Socket.IO's connection state
recovery.
"""

from __future__ import annotations

from typing import Final

Room = tuple[str, ...]

KINDS: Final = ("", "b", "r", "br")


def kind(*, batch: bool, recovery: bool) -> str:
    return ("b" if batch else "") + ("r" if recovery else "")


def session(session_id: str, kind: str = "") -> Room:
    """Streams of the whole session."""
    return ("session", kind, session_id)


def chat(session_id: str, chat_id: str, kind: str = "") -> Room:
    """Streams that named this chat."""
    return ("chat", kind, session_id, chat_id)


def chats(session_id: str, kind: str = "") -> Room:
    """Streams that named any chats of the session. Events about the session go here and to `session`."""
    return ("chats", kind, session_id)


def of_session(session_id: str) -> list[Room]:
    """All streams of the session, of any kind."""
    return [room(session_id, kind) for kind in KINDS for room in (session, chats)]


SERVICE: Final[Room] = ("service",)
"""All connections with a subscription, live or catching up."""


def who(session_id: str, chat_id: str | None = None) -> Room:
    """Connections with a subscription to the whole session, or to this chat of it, live or catching up. The sets of
    `app.services.sets` go here."""
    return ("who", session_id) if chat_id is None else ("who", session_id, chat_id)


def account(session_id: str) -> Room:
    """Connections with any subscription in the session, live or catching up."""
    return ("account", session_id)
