"""Commands for sharing chats between agents: assign, close and reopen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.domain.events import render_chat
from app.domain.known import OfChat, Refusal
from app.domain.ledger import Ledger
from app.domain.merges import unite
from app.domain.models import Agent, Chat, ChatState


@dataclass(frozen=True, slots=True)
class AssignChat(OfChat):
    """Assign the chat to an agent, or to nobody. With `compare`, only if `expected` (None: nobody) is its assignee.

    The result is the chat, or None if nothing is stored of it.
    """

    chat_id: str
    assignee: Agent | None
    compare: bool = False
    expected: str | None = None

    def apply(self, ledger: Ledger) -> Chat | Refusal | None:
        unite(ledger, self.chat_id)
        chat = ledger.chat(ledger.names_of(self.chat_id)[0])
        if chat is None or chat.assignee == self.assignee:
            return chat
        holder = chat.assignee and chat.assignee.id
        if self.compare and holder != self.expected:
            return Refusal("conflict", "The chat is assigned to somebody else.", details={"chat": render_chat(chat)})
        return ledger.change_chat(replace(chat, assignee=self.assignee))


@dataclass(frozen=True, slots=True)
class SetChatState(OfChat):
    """Open or close the chat. The result is the chat, or None if nothing is stored of it."""

    chat_id: str
    state: ChatState

    def apply(self, ledger: Ledger) -> Chat | None:
        unite(ledger, self.chat_id)
        chat = ledger.chat(ledger.names_of(self.chat_id)[0])
        if chat is None or chat.state == self.state:
            return chat
        return ledger.change_chat(replace(chat, state=self.state))
