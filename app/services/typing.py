"""Who is typing in a chat: contacts, as their provider reports it, and agents, as their clients do.

Typing ends TYPING_SECONDS after it was last repeated, with `stopped`, with the person's message, and with the
connection that reported it or its right to send. An agent who types in two tabs is one person, and types until both
have stopped. A connection types in MAX_CHATS chats at most; beyond that its oldest typing ends.
"""

from __future__ import annotations

import time
from typing import Final

from app.auth import Principal
from app.domain.incoming import TypingAction, TypingSignal
from app.domain.models import Message, kind_of
from app.services.leases import SetKey
from app.services.sets import PART_SECONDS, Sets

TYPING: Final = "typing"
TYPING_SECONDS: Final = 12.0
MAX_CHATS: Final = 16
PROVIDER: Final = "provider"
"""The holder of what providers report."""
_ENDED_SECONDS: Final = TYPING_SECONDS + 2 * PART_SECONDS
"""How long it is remembered that somebody's message ended the typing, in case another server did not hear of it."""
_CONTACT: Final = "contact:"
_AGENT: Final = "agent:"


class Typing:
    def __init__(self, sets: Sets) -> None:
        self._sets = sets
        self._of: dict[str, dict[SetKey, str]] = {}
        """For each connection the sets it is in and its person, the newest last."""

    def agent(self, sid: str, principal: Principal, session_id: str, chat_id: str, action: TypingAction) -> None:
        """A connection reports what its agent does in the chat. The caller has checked the right."""
        key, person = SetKey(TYPING, session_id, chat_id), _AGENT + principal.sub
        of = self._of.setdefault(sid, {})
        of.pop(key, None)
        if action == "stopped":
            self._sets.leave(key, person, sid)
        else:
            of[key] = person
            value = {"id": principal.sub, "name": principal.name, "kind": "agent", "action": action}
            self._sets.say(key, person, sid, value, min(TYPING_SECONDS, principal.exp - time.time()))
        if len(of) > MAX_CHATS:
            oldest = next(iter(of))
            self._sets.leave(oldest, of.pop(oldest), sid)
        if not of:
            del self._of[sid]

    def contact(self, session_id: str, signal: TypingSignal) -> None:
        """A provider reports what a contact does."""
        sender = signal.sender
        key, person = SetKey(TYPING, session_id, signal.chat_id), _CONTACT + sender.id
        if signal.action == "stopped":
            self._sets.end(key, person, _ENDED_SECONDS)
        else:
            value = {"id": sender.id, "name": sender.name, "kind": "contact", "action": signal.action}
            self._sets.say(key, person, PROVIDER, value, TYPING_SECONDS)

    def message_came(self, message: Message) -> None:
        """Somebody's new message was stored: the writer has stopped typing."""
        key = SetKey(TYPING, message.session_id, message.chat_id)
        people = self._sets.people(key)
        if not people:
            return
        if message.author is not None:
            self._sets.end(key, _AGENT + message.author.id, _ENDED_SECONDS)
        elif not message.from_me:
            # In a chat with one person, whatever the person's address.
            alone = kind_of(message.chat_id) == "person"
            for person in [one for one in people if one.startswith(_CONTACT)]:
                if alone or person == _CONTACT + message.sender.id:
                    self._sets.end(key, person, _ENDED_SECONDS)

    def end(self, sid: str, session_id: str | None = None) -> None:
        """The connection has ended, or may no longer send in the session."""
        of = self._of.get(sid, {})
        for key in [one for one in of if session_id in (None, one.session_id)]:
            self._sets.leave(key, of.pop(key), sid)
        if not of:
            self._of.pop(sid, None)

    def has_agents(self, key: SetKey) -> bool:
        """Whether an agent on this server types there."""
        return self._sets.holds(key, but=PROVIDER)

    def sessions(self, sid: str) -> set[str]:
        """The sessions in which the connection has lately typed."""
        return {key.session_id for key in self._of.get(sid, ())}
