"""The rooms that events are sent to. Keys are tuples, so that no id, whatever is in it, can be taken for another.

A live stream of a whole session is in `session` alone; one of some chats is in `chats` and in a `chat` each.
"""

from __future__ import annotations

Room = tuple[str, ...]


def session(session_id: str) -> Room:
    """Those who have the whole session."""
    return ("session", session_id)


def chat(session_id: str, chat_id: str) -> Room:
    """Those who named this chat."""
    return ("chat", session_id, chat_id)


def chats(session_id: str) -> Room:
    """Those who named any chats of the session; what concerns the session as such goes here and to `session`."""
    return ("chats", session_id)
